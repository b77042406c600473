/**
 * What this browser remembers in the clear: choices of looks, never text. boot.js reads the theme
 * and the language from the same key before the first paint.
 */
export interface Prefs {
  theme: 'system' | 'light' | 'dark';
  language: 'auto' | 'en' | 'fr';
  enter: 'send' | 'newline';
  compact: boolean;
  wrapCode: boolean | null; // null: by the width of the screen
  showThinking: boolean;
  readAloud: boolean;
  model: string | null;
  think: 'default' | 'on' | 'off';
  budget: 'short' | 'normal' | 'long' | 'none';
  sidebar: boolean;
}

const key = 'nautile.prefs';

const defaults: Prefs = {
  theme: 'system',
  language: 'auto',
  enter: 'send',
  compact: false,
  wrapCode: null,
  showThinking: false,
  readAloud: false,
  model: null,
  think: 'default',
  budget: 'none',
  sidebar: true,
};

export function loadPrefs(): Prefs {
  try {
    const stored = JSON.parse(localStorage.getItem(key) ?? '{}') as Partial<Prefs>;
    return { ...defaults, ...stored };
  } catch {
    return { ...defaults };
  }
}

export function savePrefs(prefs: Prefs): void {
  try {
    localStorage.setItem(key, JSON.stringify(prefs));
  } catch {
    // Storage refused (private window, full disk): the choice lasts as long as the page.
  }
}
