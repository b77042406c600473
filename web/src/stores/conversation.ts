/** One conversation as the page holds it: its tree, what is written now, what was not sent. */
import { computed, signal, type ReadonlySignal } from '@preact/signals';
import type { DrawWish, WireConversation, WireNode } from '../services/wire';
import type { Live } from './live';
import { leaveOut, Tree } from './tree';

export type TroubleKind =
  | 'offline'
  | 'rate'
  | 'engine'
  | 'full'
  | 'model'
  | 'quota'
  | 'disk'
  | 'long' // more bytes than the server takes
  | 'alone' // full, and the message alone is what does not fit
  | 'blind' // pictures, and the model does not see
  | 'pictures' // more of them than are read in one conversation
  | 'picture' // one that neither the server nor this page has any more
  | 'crowded' // more messages than the server keeps in one conversation
  | 'fault';

/** Why a message could not be sent, with the numbers that the words need. */
export interface Trouble {
  kind: TroubleKind;
  code: string;
  over: number; // full: tokens too many
  drop: number; // full: oldest exchanges to leave out
  context: number; // full: tokens that the model reads
  bytes: number; // long: what it has
  bytesMax: number; // long: what the server takes; 0: it did not say
  retryAt: number; // rate, engine: when it goes out by itself (Date.now clock); 0: never
}

/** A message on its way: the same ids and key every time, so that a retry never answers twice. */
export interface Attempt {
  key: string;
  question: string;
  answer: string;
  draw: DrawWish | null; // the answer is pictures
  trouble: Trouble | null; // null: the request is under way
}

export class Conversation {
  readonly title = signal('');
  readonly tree = new Tree();
  readonly version = signal(0);
  readonly state = signal<'new' | 'loading' | 'loaded' | 'missing' | 'unreachable'>('new');
  readonly lives = new Map<string, Live>(); // answer node → its making
  readonly attempt = signal<Attempt | null>(null);
  readonly waiting = signal<string | null>(null); // one message waits for the running answer
  readonly leftOut = signal(0); // oldest exchanges that the model no longer reads
  readonly pinned = signal<string | null>(null); // the question that was put at the top of the view

  readonly path: ReadonlySignal<WireNode[]> = computed(() => {
    this.version.value;
    return this.tree.path();
  });

  readonly chosenModel = signal<string | null>(null); // by the person, here

  /** Who is asked next: the chosen one, or who wrote the newest answer, pictures aside; on any
   * branch, so that looking at an older version changes nothing. Null: nobody yet. */
  readonly model: ReadonlySignal<string | null> = computed(() => {
    if (this.chosenModel.value !== null) return this.chosenModel.value;
    this.version.value;
    let newest: WireNode | null = null;
    for (const node of this.tree.nodes.values()) {
      if (node.model === undefined || node.drawing !== undefined) continue;
      if (newest === null || node.created_unix_ms >= newest.created_unix_ms) newest = node;
    }
    return newest?.model ?? null;
  });

  /** The answer that is being written on the visible branch. */
  readonly live: ReadonlySignal<Live | null> = computed(() => {
    this.version.value;
    for (const live of this.lives.values()) {
      if (live.ending.value === null) return live;
    }
    return null;
  });

  constructor(readonly id: string) {}

  changed(): void {
    this.version.value++;
  }

  /** What the model will read when `question` is asked. */
  sentPath(question: string): WireNode[] {
    return leaveOut(this.tree.pathTo(question), this.leftOut.value);
  }

  /** The first node of the visible path that the model reads. */
  firstRead(): WireNode | undefined {
    return leaveOut(this.path.value, this.leftOut.value)[0];
  }

  /** Takes the server's copy. What is being written or could not be sent here stays. */
  merge(wire: WireConversation): void {
    this.title.value = wire.title;
    const theirs = new Set(wire.messages.map((node) => node.id));
    const unsent = this.attempt.value?.question;
    for (const id of [...this.tree.nodes.keys()]) {
      if (!theirs.has(id) && id !== unsent && !this.isLive(id)) this.tree.remove(id);
    }
    for (const node of wire.messages) {
      if (!this.isLive(node.id) || !this.tree.nodes.has(node.id)) this.tree.add(node);
    }
    this.state.value = 'loaded';
    this.changed();
  }

  /** Waits while it is fetched; then, whether it is known what a new message comes after. */
  async ready(): Promise<boolean> {
    await new Promise<void>((resolve) => {
      const leave = this.state.subscribe((state) => {
        if (state === 'loading') return;
        queueMicrotask(() => leave());
        resolve();
      });
    });
    return this.state.peek() !== 'unreachable' || this.path.peek().length > 0;
  }

  isLive(id: string): boolean {
    const live = this.lives.get(id);
    return live !== undefined && live.ending.value === null;
  }
}
