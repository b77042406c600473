/**
 * An answer while it is being made: what its frames say, as signals. `text` and `reasoning` are the
 * whole text so far. The seconds of thinking are the server's.
 */
import { batch, signal, type Signal } from '@preact/signals';
import { t } from '../i18n';
import type { EndReason, GenerationFrame, Usage } from '../services/wire';
import { announce } from './announce';
import { sentences } from './errors';

export type Phase =
  | { k: 'waiting'; since: number }
  | { k: 'queue'; position: number; first: number; low: number; high: number }
  | { k: 'load'; model: string; remaining: number; fraction: number }
  | { k: 'read'; done: number; total: number }
  | { k: 'thinking'; ms: number }
  | { k: 'answering' }
  | { k: 'drawing'; row: number; rows: number; leftMs: number }
  | { k: 'ended' };

export interface Ending {
  reason: EndReason;
  contextFull: boolean;
  usage: Usage | undefined;
  message: string;
}

/** The rows of a picture that have come so far: RGBA, what is missing transparent. */
export interface Sketch {
  rows: number;
  done: number;
  pixels: Uint8ClampedArray<ArrayBuffer>;
}

const rowsForAGuess = 3; // of how long the rest takes

export class Live {
  readonly phase: Signal<Phase> = signal({ k: 'waiting', since: performance.now() });
  readonly text: Signal<string>;
  readonly reasoning = signal('');
  readonly thinkingMs = signal(0);
  readonly stopping = signal<'no' | 'asked' | 'unconfirmed'>('no');
  readonly ending = signal<Ending | null>(null);
  readonly shown: Signal<string>; // `text`, frozen while a stop is being asked for
  private shownFirst = false;
  private readonly sketches = new Map<number, Signal<Sketch | null>>();
  private firstRowAt = 0;

  constructor(
    readonly generation: string,
    readonly conversation: string,
    readonly answer: string,
    already: string,
  ) {
    this.text = signal(already);
    this.shown = signal(already);
  }

  take(frame: GenerationFrame): void {
    batch(() => this.apply(frame));
  }

  private apply(frame: GenerationFrame): void {
    switch (frame.kind) {
      case 'queue':
        return this.queue(frame);
      case 'load': {
        const { model = '', remaining_ms = 0, fraction = 0 } = frame;
        this.phase.value = { k: 'load', model, remaining: remaining_ms, fraction };
        return;
      }
      case 'read':
        this.phase.value = { k: 'read', done: frame.done ?? 0, total: frame.total ?? 0 };
        return;
      case 'reasoning':
        if (this.phase.value.k !== 'thinking') announce(t('say.thinking'));
        this.reasoning.value += frame.text ?? '';
        this.thinkingMs.value = frame.ms ?? 0;
        this.phase.value = { k: 'thinking', ms: frame.ms ?? 0 };
        return;
      case 'answer':
        if (!this.shownFirst) announce(t('say.answering'));
        this.shownFirst = true;
        this.text.value += frame.text ?? '';
        if (this.stopping.value === 'no') this.shown.value = this.text.value;
        if (this.phase.value.k !== 'answering') this.phase.value = { k: 'answering' };
        return;
      case 'sketch':
        return this.row(frame);
      case 'drawn':
        return;
      case 'end':
        return this.end(frame);
      case 'gone':
        return;
    }
  }

  sketch(picture: number): Signal<Sketch | null> {
    let sketch = this.sketches.get(picture);
    if (sketch === undefined) this.sketches.set(picture, (sketch = signal<Sketch | null>(null)));
    return sketch;
  }

  private row(frame: GenerationFrame): void {
    const { picture = 0, row = 0, rows = 1, colours = '' } = frame;
    const into = this.sketch(picture);
    const pixels = into.peek()?.pixels ?? new Uint8ClampedArray(rows * rows * 4);
    const bytes = atob(colours);
    for (let x = 0; x < rows; x++) {
      const at = (row * rows + x) * 4;
      for (let c = 0; c < 3; c++) pixels[at + c] = bytes.charCodeAt(x * 3 + c);
      pixels[at + 3] = 255;
    }
    into.value = { rows, done: row + 1, pixels };
    if (picture === 0) this.progress(row + 1, rows);
  }

  private progress(done: number, rows: number): void {
    const now = performance.now();
    if (this.phase.value.k !== 'drawing') {
      this.firstRowAt = now;
      announce(t('say.drawing'));
    }
    if (done === Math.ceil(rows / 2)) announce(t('say.half'));
    const pace = done > 1 ? (now - this.firstRowAt) / (done - 1) : 0;
    const leftMs = done >= rowsForAGuess ? pace * (rows - done) : 0;
    this.phase.value = { k: 'drawing', row: done, rows, leftMs };
  }

  /** Nobody will say how it ended: it was cut. */
  cut(): void {
    const end = {
      reason: 'engine_died',
      contextFull: false,
      usage: undefined,
      message: '',
    } as const;
    batch(() => {
      this.shown.value = this.text.value;
      this.phase.value = { k: 'ended' };
      this.ending.value = end;
      this.stopping.value = 'no';
    });
  }

  private queue(frame: GenerationFrame): void {
    const position = frame.position ?? 1;
    const before = this.phase.value;
    const first = before.k === 'queue' ? Math.max(before.first, position) : position;
    if (before.k !== 'queue' || before.position !== position) {
      announce(position <= 1 ? t('next') : t('say.queue', { n: position }));
    }
    const { wait_ms_low = 0, wait_ms_high = 0 } = frame;
    this.phase.value = { k: 'queue', position, first, low: wait_ms_low, high: wait_ms_high };
  }

  private end(frame: GenerationFrame): void {
    const { usage, error, context_full = false, reason = 'failed' } = frame;
    const message = wordsOf(error);
    if (usage !== undefined && usage.thinking_ms > 0) this.thinkingMs.value = usage.thinking_ms;
    this.shown.value = this.text.value;
    this.phase.value = { k: 'ended' };
    this.ending.value = { reason, contextFull: context_full, usage, message };
    this.stopping.value = 'no';
  }
}

function wordsOf(error: GenerationFrame['error']): string {
  if (error === undefined || typeof error === 'string') return error ?? '';
  return error.parts === undefined ? (error.code ?? error.message) : sentences(error.parts);
}
