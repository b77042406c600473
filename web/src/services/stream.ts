/**
 * One stream per browser, shared by its tabs.
 *
 *   tab ── want {generation: n} ──▶ leader ── GET /site/events?follow=… ──▶ gate
 *   tab ◀──────── frames ────────── leader
 *
 * The leader holds a Web Lock and the only stream; it beats every 5 s. A visible follower that
 * hears nothing for 12 s steals the lock; the old leader sees its lock broken and closes its
 * stream. It passes on the frames of the generations that another tab follows. They are numbered:
 * each tab drops what it has and asks again for what it lacks, so changing leaders or reopening
 * loses and doubles nothing. Without Web Locks every visible tab is its own leader.
 */
import { newId } from '../base/ids';
import { readStream } from './sse';
import type { Frame, GenerationFrame, Pull } from './wire';

const beatMs = 5_000;
const leaderSilenceMs = 12_000;
const streamSilenceMs = 25_000;
const backoffFirstMs = 500;
const backoffMaxMs = 15_000;
const clockJumpMs = 5_000;
const tickMs = 1_000;
const wantsLifeMs = 30_000;
const gapPatienceMs = 1_500;

export type LinkState = 'connecting' | 'open' | 'lost' | 'signed_out';

type Message =
  | { t: 'want'; tab: string; follow: Record<string, number>; lacking: boolean }
  | { t: 'bye'; tab: string }
  | { t: 'frame'; frame: Frame }
  | { t: 'beat'; leader: string; link: LinkState }
  | { t: 'page'; body: unknown };

export interface StreamEvents {
  onFrame(frame: GenerationFrame): void;
  onState(what: 'conversations' | 'models' | 'signed_out'): void;
  onPull(pull: Pull | null): void;
  onLink(state: LinkState): void;
  onPage(body: unknown): void; // another tab's message (a generation was started there)
}

export class Stream {
  private readonly tab = newId();
  private readonly channel = new BroadcastChannel('nautile');
  private readonly follow = new Map<string, number>(); // generation → last n that this tab has
  private readonly wants = new Map<string, { follow: Record<string, number>; at: number }>();
  private leading = false;
  private giveUpLead: (() => void) | null = null;
  private waitForLead: AbortController | null = null;
  private reader: AbortController | null = null;
  private opened = new Map<string, number>(); // generation → last n seen on the open stream
  private lastByte = 0;
  private lastBeat = performance.now();
  private lastTick = Date.now();
  private lastGap = -gapPatienceMs;
  private failures = 0;
  private retryTimer = 0;
  private link: LinkState = 'connecting';
  private closed = false;
  private readonly timers: number[] = [];

  constructor(private readonly events: StreamEvents) {
    this.channel.onmessage = (event: MessageEvent<Message>) => this.hear(event.data);
    this.timers.push(window.setInterval(() => this.tick(), tickMs));
    const wake = (): void => this.wake();
    document.addEventListener('visibilitychange', wake);
    window.addEventListener('pageshow', (event) => event.persisted && this.wake());
    window.addEventListener('online', wake);
    window.addEventListener('pagehide', () => this.say({ t: 'bye', tab: this.tab }));
    this.queueForLead(false);
    this.announceWants();
  }

  /** Follows a generation from frame `n` on (0: from its beginning). */
  add(generation: string, n: number): void {
    this.follow.set(generation, n);
    this.announceWants();
  }

  drop(generation: string): void {
    this.follow.delete(generation);
    this.announceWants();
  }

  /** Says something to the other tabs of this browser. */
  tell(body: unknown): void {
    this.say({ t: 'page', body });
  }

  close(): void {
    this.closed = true;
    this.say({ t: 'bye', tab: this.tab });
    this.timers.forEach((timer) => window.clearInterval(timer));
    this.stopReading();
    this.waitForLead?.abort();
    this.giveUpLead?.();
    this.channel.close();
  }

  // ---- leading -----------------------------------------------------------------------------

  private queueForLead(steal: boolean): void {
    if (!('locks' in navigator)) {
      if (document.visibilityState === 'visible') this.lead();
      return;
    }
    this.waitForLead?.abort();
    this.waitForLead = new AbortController();
    const options: LockOptions = steal ? { steal: true } : { signal: this.waitForLead.signal };
    const held = (): Promise<void> =>
      new Promise((release) => {
        this.giveUpLead = () => release();
        this.lead();
      });
    navigator.locks.request('nautile-stream', options, held).catch(() => {
      // Stolen while we were frozen, or our waiting was replaced by a theft.
      if (this.leading) this.loseLead();
    });
  }

  private lead(): void {
    if (this.closed) return this.giveUpLead?.();
    this.leading = true;
    this.beat();
    this.reopen();
  }

  private loseLead(): void {
    this.leading = false;
    this.giveUpLead = null;
    this.stopReading();
    this.lastBeat = performance.now();
    if (!this.closed) this.queueForLead(false);
  }

  private tick(): void {
    const now = Date.now();
    const jumped = now - this.lastTick > tickMs + clockJumpMs;
    this.lastTick = now;
    if (jumped) return this.wake();
    const mono = performance.now();
    if (this.leading) {
      if (mono - this.lastBeat >= beatMs) this.beat();
      if (this.reader !== null && mono - this.lastByte > streamSilenceMs) {
        this.setLink('lost');
        this.reopen();
      }
    } else if (document.visibilityState === 'visible' && mono - this.lastBeat > leaderSilenceMs) {
      this.lastBeat = mono;
      this.queueForLead(true);
    }
  }

  /** After sleep, a return to the page or a new network an open socket is never trusted. */
  private wake(): void {
    if (document.visibilityState === 'hidden') return;
    this.lastTick = Date.now();
    if (!('locks' in navigator) && !this.leading) this.lead();
    else if (this.leading) this.confirmLead();
    else this.announceWants();
  }

  private confirmLead(): void {
    this.failures = 0;
    if (performance.now() - this.lastByte > 2_000 || this.link !== 'open') this.reopen();
  }

  private beat(): void {
    this.lastBeat = performance.now();
    this.say({ t: 'beat', leader: this.tab, link: this.link });
    for (const [tab, want] of this.wants) {
      if (this.lastBeat - want.at > wantsLifeMs) this.wants.delete(tab);
    }
  }

  // ---- the stream --------------------------------------------------------------------------

  private stopReading(): void {
    window.clearTimeout(this.retryTimer);
    this.reader?.abort();
    this.reader = null;
  }

  /** What all tabs together still need: for each generation the lowest n. */
  private needs(): Map<string, number> {
    const needs = new Map(this.follow);
    for (const { follow } of this.wants.values()) {
      for (const [generation, n] of Object.entries(follow)) {
        needs.set(generation, Math.min(n, needs.get(generation) ?? Infinity));
      }
    }
    return needs;
  }

  private reopen(): void {
    this.stopReading();
    if (!this.leading || this.closed) return;
    const reader = new AbortController();
    this.reader = reader;
    this.opened = this.needs();
    this.lastByte = performance.now();
    const follow = [...this.opened].map(([generation, n]) => `${generation}:${n}`).join(',');
    const url = follow === '' ? '/site/events' : `/site/events?follow=${follow}`;
    const mine = (): boolean => this.reader === reader;
    void readStream(
      url,
      reader.signal,
      () => mine() && this.onOpen(),
      (frame) => mine() && this.onWire(frame),
    ).then((end) => mine() && this.onClosed(end.status, end.retryAfterS));
  }

  private onOpen(): void {
    this.lastByte = performance.now();
    this.failures = 0;
    this.setLink('open');
  }

  private onWire(frame: Frame): void {
    this.lastByte = performance.now();
    if (frame.kind === 'ping') return;
    if ('generation' in frame) this.opened.set(frame.generation, frame.n);
    // Telling the other tabs costs a slow phone more than reading: not what none of them follows.
    if (!('generation' in frame) || this.isWanted(frame.generation)) {
      this.say({ t: 'frame', frame });
    }
    this.take(frame);
  }

  private isWanted(generation: string): boolean {
    for (const { follow } of this.wants.values()) if (generation in follow) return true;
    return false;
  }

  private onClosed(status: number, retryAfterS: number | null): void {
    this.reader = null;
    if (status === 401) {
      this.setLink('signed_out');
      return;
    }
    this.setLink('lost');
    const base = Math.min(backoffMaxMs, backoffFirstMs * 2 ** this.failures++);
    const wait = Math.max((retryAfterS ?? 0) * 1000, base * (0.7 + 0.6 * Math.random()));
    this.retryTimer = window.setTimeout(() => this.reopen(), wait);
  }

  private setLink(link: LinkState): void {
    if (this.link !== link) {
      this.link = link;
      this.events.onLink(link);
    }
    if (this.leading) this.beat();
  }

  // ---- between tabs ------------------------------------------------------------------------

  private say(message: Message): void {
    if (!this.closed || message.t === 'bye') this.channel.postMessage(message);
  }

  private announceWants(): void {
    if (this.leading) this.reopenIfLacking();
    else this.sayWants(true);
  }

  private reopenIfLacking(): void {
    for (const [generation, n] of this.needs()) {
      const seen = this.opened.get(generation);
      if (seen === undefined || seen > n) return this.reopen();
    }
  }

  private hear(message: Message): void {
    if (message.t === 'page') return this.events.onPage(message.body);
    if (message.t === 'beat') {
      const newLeader = performance.now() - this.lastBeat > beatMs + 2_000;
      this.lastBeat = performance.now();
      if (!this.leading && message.link !== this.link) this.setLink(message.link);
      if (newLeader || this.follow.size > 0) this.sayWants(false);
    } else if (message.t === 'frame') {
      this.lastBeat = performance.now();
      if (!this.leading) this.take(message.frame);
    } else if (message.t === 'want' && this.leading) {
      const before = this.wants.get(message.tab)?.follow ?? {};
      this.wants.set(message.tab, { follow: message.follow, at: performance.now() });
      if (message.lacking || this.standsStill(before, message.follow)) this.reopenIfLacking();
    } else if (message.t === 'want') {
      this.wants.set(message.tab, { follow: message.follow, at: performance.now() });
    } else if (message.t === 'bye') {
      this.wants.delete(message.tab);
    }
  }

  private sayWants(lacking: boolean): void {
    const follow = Object.fromEntries(this.follow);
    if (!this.leading) this.say({ t: 'want', tab: this.tab, follow, lacking });
  }

  /** A number reported twice, or a generation that is not open: that follower lacks frames. */
  private standsStill(before: Record<string, number>, now: Record<string, number>): boolean {
    return Object.entries(now).some(([generation, n]) => {
      const seen = this.opened.get(generation);
      return seen === undefined || (before[generation] === n && seen > n);
    });
  }

  /** Frames are missing: asks once, then waits for them, however many later ones come meanwhile. */
  private askForGap(): void {
    if (performance.now() - this.lastGap < gapPatienceMs) return;
    this.lastGap = performance.now();
    this.announceWants();
  }

  /** A frame for this tab: in order, once. */
  private take(frame: Frame): void {
    if (frame.kind === 'ping') return;
    if (frame.kind === 'state') return this.events.onState(frame.what);
    if (frame.kind === 'pull') return this.events.onPull(frame.pull);
    const have = this.follow.get(frame.generation);
    if (have === undefined) return;
    if (frame.kind === 'gone') {
      this.follow.delete(frame.generation);
      return this.events.onFrame(frame);
    }
    if (frame.n <= have) return;
    if (frame.n > have + 1) return this.askForGap();
    this.follow.set(frame.generation, frame.n);
    this.events.onFrame(frame);
    if (frame.kind === 'end') this.drop(frame.generation);
  }
}
