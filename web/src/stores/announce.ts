/** The two live regions. The transcript itself is silent: a live one would speak every token. */
import { signal } from '@preact/signals';

export const status = signal('');
export const alertText = signal('');

export function announce(text: string): void {
  status.value = text;
}

export function announceError(text: string): void {
  alertText.value = text;
}
