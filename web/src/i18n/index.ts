/** Two catalogues with the same keys; English is in the first load, French comes when asked for. */
import { computed, signal } from '@preact/signals';
import { prefs } from '../stores/prefs';
import en from './en';

export type Key = keyof typeof en;
export type Catalogue = Record<Key, string>;
export type Params = Record<string, string | number>;
export type Language = 'en' | 'fr';

export const language = computed<Language>(() => {
  const chosen = prefs.value.language;
  if (chosen !== 'auto') return chosen;
  return navigator.languages.find((tag) => /^(en|fr)\b/i.test(tag))?.slice(0, 2) === 'fr'
    ? 'fr'
    : 'en';
});

const catalogue = signal<Catalogue>(en);
const loaded = signal<Language>('en');

/** Loads the catalogue of the language in force; call before the first paint and on change. */
export async function loadLanguage(): Promise<void> {
  const wanted = language.value;
  const next: Catalogue = wanted === 'fr' ? (await import('./fr')).default : en;
  if (wanted !== language.value) return;
  catalogue.value = next;
  loaded.value = wanted;
  document.documentElement.lang = wanted;
}

export function fill(text: string, params: Params): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(params[name] ?? whole));
}

export function t(key: Key, params: Params = {}): string {
  return fill(catalogue.value[key], params);
}

export function number(value: number): string {
  return new Intl.NumberFormat(loaded.value).format(value);
}

export function decimal(value: number, digits: number): string {
  const how = { maximumFractionDigits: digits };
  return new Intl.NumberFormat(loaded.value, how).format(value);
}

/** "45 s", "3 min", "2 h". */
export function duration(ms: number): string {
  const seconds = Math.max(1, Math.round(ms / 1000));
  if (seconds < 100) return `${number(seconds)} s`;
  if (seconds < 5400) return `${number(Math.round(seconds / 60))} min`;
  return `${number(Math.round(seconds / 3600))} h`;
}

/** A guess is a range: "40–60 s". */
export function range(lowMs: number, highMs: number): string {
  if (highMs < 2000) return duration(highMs);
  const high = duration(highMs);
  const low = duration(lowMs);
  if (low === high) return high;
  const [lowNumber, lowUnit] = low.split(' ');
  return lowUnit === high.split(' ')[1] ? `${lowNumber}–${high}` : `${low} – ${high}`;
}

const unitsEnglish = ['B', 'kB', 'MB', 'GB', 'TB'];
const unitsFrench = ['o', 'ko', 'Mo', 'Go', 'To'];

/** In thousands, as exact as a limit needs it: "1,049 kB". */
export function kilobytes(count: number): string {
  const unit = loaded.value === 'fr' ? unitsFrench[1] : unitsEnglish[1];
  return `${number(Math.ceil(count / 1000))}\u00a0${unit}`;
}

export function bytes(count: number): string {
  const units = loaded.value === 'fr' ? unitsFrench : unitsEnglish;
  let unit = 0;
  let value = count;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${decimal(value, value < 10 ? 1 : 0)}\u00a0${units[unit]}`;
}
