/**
 * The page's side of the text worker. One request is in flight at a time: what streams first, then
 * what is on screen, then colours. A parse that takes longer than `parseMaxMs` is killed with its
 * worker and its text stays plain: a hostile text may cost itself its looks, never the page. The
 * time is counted in ticks of this thread, so that a machine that is busy with other things, where
 * both threads wait, kills nothing.
 */
import { scriptUrl } from '../base/policy';
import type { Reply, Request } from '../text/protocol';
import type { Block, Piece } from '../text/tree';
import workerUrl from '../text/worker?worker&url';

const parseMaxMs = 250;
const parseMaxMsPerKib = 20;
const holdMs = 300;
const tickMs = 10;
const startsMax = 3; // a worker that cannot even start: the texts stay plain
const wholePatience = 4; // a text that is complete is parsed once: it may take longer

export type TreeSink = (from: number, blocks: Block[], append: string) => void;

interface Job {
  request: Request;
  rank: number; // 0 streaming, 1 history, 2 colours
  done: (reply: Reply | null) => void; // null: killed
}

let worker: Worker | null = null;
let ready = false;
let failedStarts = 0;
let current: Job | null = null;
let watch = 0;
let nextDoc = 1;
const queue: Job[] = [];

function start(): void {
  worker = new Worker(scriptUrl(workerUrl), { type: 'module', name: 'text' });
  ready = false;
  worker.onmessage = (event: MessageEvent<Reply>) => {
    if (event.data.kind === 'ready') {
      ready = true;
      failedStarts = 0;
      return pump();
    }
    const job = current;
    finishCurrent();
    job?.done(event.data);
    pump();
  };
  worker.onerror = () => {
    if (!ready) failedStarts++;
    kill();
  };
}

function finishCurrent(): void {
  window.clearInterval(watch);
  current = null;
}

function kill(): void {
  const job = current;
  worker?.terminate();
  finishCurrent();
  if (failedStarts < startsMax) start();
  job?.done(null);
  pump();
}

function sizeOf(request: Request): number {
  if ('text' in request) return request.text.length;
  return 'code' in request ? request.code.length : 0;
}

function pump(): void {
  if (worker === null) start();
  if (failedStarts >= startsMax) {
    for (const job of queue.splice(0)) job.done(null);
    return;
  }
  if (!ready || current !== null || queue.length === 0) return;
  let best = 0;
  for (let i = 1; i < queue.length; i++) if (queue[i]!.rank < queue[best]!.rank) best = i;
  const job = queue.splice(best, 1)[0]!;
  current = job;
  // The colours' chunk is loaded on first use: that is waiting, not computing.
  const { kind } = job.request;
  const patience = kind === 'highlight' ? 20 : kind === 'grow' ? 1 : wholePatience;
  const limit = patience * (parseMaxMs + (parseMaxMsPerKib * sizeOf(job.request)) / 1024);
  let ticks = 0;
  if (kind !== 'forget') {
    watch = window.setInterval(() => ++ticks * tickMs > limit && kill(), tickMs);
  }
  worker!.postMessage(job.request);
  if (job.request.kind === 'forget') {
    finishCurrent();
    pump();
  }
}

function submit(request: Request, rank: number): Promise<Reply | null> {
  return new Promise((done) => {
    queue.push({ request, rank, done });
    pump();
  });
}

export function warmUp(): void {
  if (worker === null) start();
}

/** Parses a text that is complete; null: too costly, show it plain. */
export async function parseWhole(text: string): Promise<Block[] | null> {
  const reply = await submit({ kind: 'parse', doc: nextDoc++, text }, 1);
  return reply?.kind === 'tree' ? reply.blocks : null;
}

export async function highlight(language: string, code: string): Promise<Piece[] | null> {
  const reply = await submit({ kind: 'highlight', doc: nextDoc++, language, code }, 2);
  return reply?.kind === 'pieces' ? reply.pieces : null;
}

/** A text that grows: always the newest state is parsed, never a backlog. */
export class LiveText {
  private readonly doc = nextDoc++;
  private text = '';
  private sent = '';
  private sentHold = false;
  private busy = false;
  private plain = false;
  private changedAt = 0;
  private holdTimer = 0;
  private finishing: (() => void) | null = null;

  constructor(private readonly sink: TreeSink) {}

  set(text: string): void {
    this.text = text;
    this.changedAt = performance.now();
    this.step();
  }

  /** The text is complete; resolves when its final tree has been handed out. */
  finish(text: string): Promise<void> {
    this.text = text;
    window.clearTimeout(this.holdTimer);
    return new Promise((resolve) => {
      this.finishing = resolve;
      this.step();
    });
  }

  private step(): void {
    if (this.busy) return;
    if (this.finishing !== null) return void this.last(this.finishing);
    const hold = performance.now() - this.changedAt < holdMs;
    if (this.text === this.sent && this.sentHold === hold) return;
    void this.grow(hold);
  }

  private async grow(hold: boolean): Promise<void> {
    this.busy = true;
    this.sent = this.text;
    this.sentHold = hold;
    if (this.plain) {
      this.showPlain();
    } else {
      const reply = await submit({ kind: 'grow', doc: this.doc, text: this.sent, hold }, 0);
      if (reply?.kind === 'update') {
        this.sink(reply.update.from, reply.update.blocks, reply.update.append);
        if (reply.update.held) this.showHeldLater();
      } else {
        this.plain = true;
        this.showPlain();
      }
    }
    this.busy = false;
    if (this.text !== this.sent || this.finishing !== null) this.step();
  }

  private showPlain(): void {
    this.sink(0, [{ t: 'html', v: this.text }], '');
  }

  private showHeldLater(): void {
    window.clearTimeout(this.holdTimer);
    this.holdTimer = window.setTimeout(() => this.step(), holdMs + 10);
  }

  private async last(resolve: () => void): Promise<void> {
    this.busy = true;
    this.finishing = null;
    if (this.plain) {
      // The worker was killed over this text while it grew: it gets one more try as a whole.
      const blocks = await parseWhole(this.text);
      if (blocks === null) this.showPlain();
      else this.sink(0, blocks, '');
    } else {
      const reply = await submit({ kind: 'finish', doc: this.doc, text: this.text }, 0);
      if (reply?.kind === 'update') this.sink(reply.update.from, reply.update.blocks, '');
      else this.showPlain();
    }
    resolve();
  }
}
