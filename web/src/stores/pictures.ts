/** The pictures at the box, and whether the next message is one that is drawn. */
import { computed, signal, type Signal } from '@preact/signals';
import { newId } from '../base/ids';
import { bytes, number, t } from '../i18n';
import { keepPicture, kindOf, sizeOfPicture } from '../services/pictures';
import type { Model } from '../services/wire';
import { announceError } from './announce';
import type { Conversation } from './conversation';
import { model, models, session } from './session';

export interface Chip {
  id: string;
  name: string;
}

const boxes = new Map<string, Signal<Chip[]>>();

/** What is attached at the box of this conversation. */
export function chipsOf(conversation: Conversation): Signal<Chip[]> {
  let chips = boxes.get(conversation.id);
  if (chips === undefined) boxes.set(conversation.id, (chips = signal<Chip[]>([])));
  return chips;
}

export const drawMode = signal(false);
export const pictureProblem = signal('');

const firstThat = (able: (m: Model) => boolean): Model | null => {
  const now = model.value;
  if (now !== null && able(now)) return now;
  return models.value.find(able) ?? null;
};
export const seeingModel = computed(() => firstThat((m) => m.sees === true));
export const drawingModel = computed(() => firstThat((m) => (m.drawn_side ?? 0) > 0));

/** Pictures stand at the box, and the chosen model would not see them. */
export function blindTo(conversation: Conversation): boolean {
  return chipsOf(conversation).value.length > 0 && model.value?.sees !== true;
}

function problem(words: string): void {
  pictureProblem.value = words;
  announceError(words);
}

/** Why this picture cannot join those that are there, or nothing. */
function refusal(file: Blob, name: string, kind: string, there: readonly Chip[]): string {
  const limits = session.peek()?.limits;
  if (kind === '') return t('pic.kind', { name });
  if (limits === undefined) return '';
  if (file.size > limits.picture_bytes_max) {
    return t('pic.large', { name, n: bytes(file.size), m: bytes(limits.picture_bytes_max) });
  }
  if (there.length >= limits.pictures_max) return t('pic.many', { n: number(limits.pictures_max) });
  const sum = there.reduce((all, one) => all + sizeOfPicture(one.id), file.size);
  if (sum > limits.pictures_bytes_max) {
    return t('pic.all', { m: bytes(limits.pictures_bytes_max) });
  }
  return '';
}

/** Attaches files. What cannot be taken is said at once, the others stay. */
export async function addFiles(conversation: Conversation, files: Iterable<File>): Promise<void> {
  pictureProblem.value = '';
  if (seeingModel.peek() === null) return problem(t('pic.none'));
  const chips = chipsOf(conversation);
  for (const file of files) {
    const name = file.name || t('pic.pasted');
    const why = refusal(file, name, await kindOf(file), chips.peek());
    if (why !== '') {
      problem(why);
      continue;
    }
    const id = newId();
    keepPicture(id, file);
    chips.value = [...chips.peek(), { id, name }];
  }
  if (chips.peek().length > 0) drawMode.value = false;
}

/** A picture of the conversation itself is asked about. */
export function attachKnown(conversation: Conversation, id: string, name: string): void {
  const chips = chipsOf(conversation);
  if (chips.peek().some((one) => one.id === id)) return;
  drawMode.value = false;
  pictureProblem.value = '';
  chips.value = [...chips.peek(), { id, name }];
}

export function removeChip(conversation: Conversation, id: string): void {
  const chips = chipsOf(conversation);
  pictureProblem.value = '';
  chips.value = chips.peek().filter((one) => one.id !== id);
}

export function putChips(conversation: Conversation, ids: readonly string[]): void {
  chipsOf(conversation).value = ids.map((id, i) => ({ id, name: t('pic.alt', { n: i + 1 }) }));
}

const seedsBelow = 2 ** 31;

/** Small enough to be read, written down and typed. */
export function newSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]! % seedsBelow;
}
