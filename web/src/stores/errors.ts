/** What the server's modules say of an error, in the language of the page. */
import { language } from '../i18n';
import type { ErrorParts } from '../services/wire';

/** The three parts of an error in the language of the page. */
export function inLanguage(error: ErrorParts): { what: string; why: string; next: string } {
  return language.value === 'fr' ? (error.fr ?? error) : error;
}

export function sentences(error: ErrorParts): string {
  const { what, why, next } = inLanguage(error);
  const first = why === '' ? what : `${what} (${lowered(why)})`;
  return [first, next].filter(Boolean).join('. ') + '.';
}

function lowered(text: string): string {
  return /^[A-ZÀ-Þ][a-zà-ÿ']/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text;
}
