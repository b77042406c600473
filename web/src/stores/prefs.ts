/** The browser's choices as a signal, applied to the document as soon as they change. */
import { effect, signal } from '@preact/signals';
import { loadPrefs, savePrefs, type Prefs } from '../services/prefs';

export const prefs = signal<Prefs>(loadPrefs());

export function setPrefs(change: Partial<Prefs>): void {
  prefs.value = { ...prefs.value, ...change };
  savePrefs(prefs.value);
}

export const darkQuery = window.matchMedia('(prefers-color-scheme: dark)');
export const coarse = window.matchMedia('(pointer: coarse)');
const systemDark = signal(darkQuery.matches);
darkQuery.addEventListener('change', () => (systemDark.value = darkQuery.matches));

effect(() => {
  const { theme, compact } = prefs.value;
  const dark = theme === 'dark' || (theme === 'system' && systemDark.value);
  const root = document.documentElement;
  root.dataset.theme = dark ? 'dark' : 'light';
  root.toggleAttribute('data-compact', compact);
  const bar = document.querySelector('meta[name="theme-color"]');
  bar?.setAttribute('content', dark ? '#09171f' : '#f6fafb');
});
