/**
 * The one Trusted Types policy of the page. A worker's address is a script sink: only paths that
 * the build made are let through. There is no policy for HTML: the page never makes any.
 */
interface ScriptUrlPolicy {
  createScriptURL(url: string): string;
}
interface PolicyFactory {
  createPolicy(name: string, rules: ScriptUrlPolicy): ScriptUrlPolicy;
}

const rules: ScriptUrlPolicy = {
  createScriptURL(url) {
    const path = new URL(url, location.origin);
    const built = path.pathname === '/sw.js' || /^\/assets\/[\w.-]+\.js$/.test(path.pathname);
    if (path.origin !== location.origin || !built) throw new TypeError('not a built script');
    return path.pathname;
  },
};

const factory = (globalThis as { trustedTypes?: PolicyFactory }).trustedTypes;
const policy = factory ? factory.createPolicy('nautile', rules) : rules;

export function scriptUrl(url: string): string {
  return policy.createScriptURL(url);
}
