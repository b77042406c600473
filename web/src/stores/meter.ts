/**
 * How much of the context the visible branch fills: measured by the server, not guessed. While an
 * answer is written it is what the model was given to read; null: not known (yet).
 */
import { effect, signal } from '@preact/signals';
import { api, ApiError } from '../services/api';
import { current, offline } from './chat';
import { gate, model } from './session';

const settleMs = 700;

export interface Measure {
  tokens: number;
  context: number;
}

export const measure = signal<Measure | null>(null);

let timer = 0;
let round = 0;
let shownFor = ''; // the conversation that `measure` is about
let askedFor = ''; // the generation whose prompt was measured

async function ask(): Promise<void> {
  const mine = ++round;
  const conversation = current.peek();
  const chosen = model.peek();
  const path = conversation.path.peek();
  const live = conversation.live.peek();
  askedFor = live?.generation ?? '';
  // An answer that is being written has been read by nobody yet.
  const until = path.findIndex((node) => node.id === live?.answer);
  const last = path[(until > 0 ? until : path.length) - 1];
  if (chosen === null || last === undefined) {
    measure.value = chosen === null ? null : { tokens: 0, context: chosen.context_tokens };
    return;
  }
  try {
    const reply = await api.measure(conversation.sentPath(last.id), chosen.id);
    if (mine === round) measure.value = { tokens: reply.tokens, context: reply.context_tokens };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (mine === round) measure.value = null;
  }
}

export function startMeter(): void {
  effect(() => {
    const conversation = current.value;
    conversation.version.value;
    conversation.leftOut.value;
    model.value;
    const live = conversation.live.value;
    window.clearTimeout(timer);
    if (shownFor !== conversation.id) {
      shownFor = conversation.id;
      round++;
      measure.value = null;
    }
    if (gate.value !== 'ready' || offline.value || live?.generation === askedFor) return;
    timer = window.setTimeout(() => void ask(), settleMs);
  });
}
