/**
 * The build of the page. Everything is a file of its own origin: no inlined assets (the page's
 * policy blocks data: addresses), no polyfills that would need an inline script.
 */
import { readFileSync } from 'node:fs';
import { defineConfig, type Plugin } from 'vite';

/** KaTeX names three formats of each font; only woff2 is shipped. */
function woff2Only(): Plugin {
  return {
    name: 'woff2-only',
    enforce: 'pre',
    transform(code, id) {
      if (!/katex.*\.css/.test(id)) return null;
      return code.replace(/,\s*url\([^)]*\.(?:woff|ttf)\)\s*format\(["'][a-z]+["']\)/g, '');
    },
  };
}

/** Writes sw.js with the list of this build's files: the shell and the hashed assets, no more. */
function serviceWorker(): Plugin {
  return {
    name: 'service-worker',
    apply: 'build',
    generateBundle(_options, bundle) {
      const first = Object.keys(bundle).filter((name) =>
        /^assets\/(?:index|worker|fr|en)-/.test(name),
      );
      const files = first.filter((name) => /\.(?:js|css)$/.test(name)).map((name) => `/${name}`);
      const source = readFileSync(new URL('./sw.js', import.meta.url), 'utf8');
      const version = JSON.stringify(files.join(' '));
      this.emitFile({
        type: 'asset',
        fileName: 'sw.js',
        source: source.replace('__FILES__', JSON.stringify(files)).replace('__VERSION__', version),
      });
    },
  };
}

export default defineConfig({
  plugins: [woff2Only(), serviceWorker()],
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none' },
  // The browser build of this package decodes by innerHTML: there is no document in a worker, and
  // the page's policy would refuse it.
  resolve: {
    alias: {
      'decode-named-character-reference': new URL(
        './node_modules/decode-named-character-reference/index.js',
        import.meta.url,
      ).pathname,
    },
  },
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    cssCodeSplit: true,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    sourcemap: false,
  },
});
