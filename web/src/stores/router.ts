/** Our own router: the path as a signal. Addresses carry ids only, never words. */
import { computed, signal } from '@preact/signals';

export const path = signal(location.pathname);

export type Route =
  | { page: 'chat'; conversation: string | null }
  | { page: 'setup' }
  | { page: 'signin' }
  | { page: 'settings'; section: string }
  | { page: 'models' }
  | { page: 'unknown' };

export const route = computed<Route>(() => {
  const parts = path.value.split('/').filter(Boolean);
  if (parts.length === 0) return { page: 'chat', conversation: null };
  if (parts[0] === 'c' && /^[0-9a-f]{8,64}$/.test(parts[1] ?? '') && parts.length === 2) {
    return { page: 'chat', conversation: parts[1]! };
  }
  if (parts[0] === 'setup') return { page: 'setup' };
  if (parts[0] === 'signin') return { page: 'signin' };
  if (parts[0] === 'settings') return { page: 'settings', section: parts[1] ?? 'appearance' };
  // Not /models: that is the API's list, at the root as DeepSeek has it.
  if (parts[0] === 'catalogue' && parts.length === 1) return { page: 'models' };
  return { page: 'unknown' };
});

export function navigate(to: string, replace = false): void {
  if (to === path.value) return;
  if (replace) history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  path.value = to;
}

window.addEventListener('popstate', () => (path.value = location.pathname));
