/** How much of the context the visible branch fills: measured by the server, not guessed. */
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

async function ask(): Promise<void> {
  const mine = ++round;
  const conversation = current.peek();
  const chosen = model.peek();
  const path = conversation.path.peek();
  const last = path[path.length - 1];
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
    const writing = conversation.live.value !== null;
    window.clearTimeout(timer);
    if (gate.value !== 'ready' || offline.value || writing) return;
    timer = window.setTimeout(() => void ask(), settleMs);
  });
}
