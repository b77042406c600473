/** What is open over the page. One thing at a time. */
import { signal } from '@preact/signals';
import { batch } from '@preact/signals';

export interface Question {
  title: string;
  text: string;
  confirm: string;
  danger: boolean;
  field?: { label: string; value: string };
  act: (value: string) => Promise<void> | void;
}

export const overlay = signal<'none' | 'palette' | 'keys' | 'find'>('none');
export const question = signal<Question | null>(null);
export const drawer = signal(false); // the sidebar on a phone
export const toast = signal('');

const toastMs = 6_000;
let toastTimer = 0;

export function ask(what: Question): void {
  question.value = what;
}

export function say(text: string): void {
  window.clearTimeout(toastTimer);
  toast.value = text;
  toastTimer = window.setTimeout(() => (toast.value = ''), toastMs);
}

export function closeAll(): void {
  batch(() => {
    overlay.value = 'none';
    question.value = null;
    drawer.value = false;
  });
}
