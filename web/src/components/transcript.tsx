/**
 * The conversation and its scrolling.
 *
 * Sending puts the question at the top above a spacer; the answer grows into the empty space, and
 * the view holds still. Below the fold a pill appears; pressing it, or End, follows the end. Any
 * move of the reader upwards stops that at once; only a return to within 24 px of the end, or the
 * pill, starts it again. Over 200 messages only those within two screens are mounted; heights are
 * remembered, and the first visible message is the anchor: what changes above it is corrected in
 * the same frame.
 *
 * The focus stays in the conversation: where what had it goes (a button of a drawing that has
 * ended, the version that was left), the message in its place takes it.
 */
import { batch, computed, signal, type Signal } from '@preact/signals';
import { Component, createRef } from 'preact';
import { t } from '../i18n';
import type { WireNode } from '../services/wire';
import type { Conversation } from '../stores/conversation';
import { modelName } from '../stores/session';
import { Icon } from './icons';
import { Message } from './message';

const nearEndPx = 24;
const topGapPx = 12;
const windowOver = 200;
const mountedMax = 60;
const screensAround = 2;
const guessPx = 160;
const slackPx = 48; // below everything: a line that goes for a moment must not move the view
const inputAgeMs = 1200;
// A press whose end nobody tells (a menu of the system took it) counts as ended after this.
const pressMsMax = 1000;

interface Props {
  conversation: Conversation;
  path: WireNode[];
}

/** What had the focus, and which message of the path it belongs to. */
interface Focused {
  element: Element;
  index: number;
}

/** Comes and goes without drawing the conversation again. */
function Pill({ shown, onClick }: { shown: Signal<boolean>; onClick: () => void }) {
  if (!shown.value) return null;
  return (
    <button type="button" class="pill" onClick={onClick}>
      <Icon name="down" />
      {t('more')}
    </button>
  );
}

/** What others may ask of the transcript on the page: move by message, follow the end. */
export const transcript: { current: Transcript | null } = { current: null };

export class Transcript extends Component<Props> {
  private readonly scroller = createRef<HTMLDivElement>();
  private readonly list = createRef<HTMLOListElement>();
  private readonly space = createRef<HTMLDivElement>();
  private readonly heights = new Map<string, number>();
  private readonly below = signal(false);
  private readonly boxClass = computed(() => (this.below.value ? 'scroll-box more' : 'scroll-box'));
  private readonly range = signal({ from: 0, to: windowOver });
  private follow = true;
  private anchor: { id: string; top: number } | null = null;
  private lastInput = -inputAgeMs;
  private lastUp = -inputAgeMs;
  private lastTop = 0;
  private width = 0;
  private height = 0; // of the view, when it was last set right
  private end = 0; // of the text, then
  private guessed = 0; // 0: not yet
  private held = 0; // the timer of a press; 0: nothing in the view is pressed
  private pinnedSeen: string | null = null;
  private spacePx = -1;
  private observer: ResizeObserver | null = null;
  private focused: Focused | null = null;
  private readonly changes = new MutationObserver(() => this.keepFocus());

  override componentWillMount(): void {
    this.range.value = this.window();
  }

  override componentDidMount(): void {
    transcript.current = this;
    this.pinnedSeen = null;
    this.observer = new ResizeObserver(() => this.settle());
    this.observer.observe(this.list.current!);
    this.observer.observe(this.scroller.current!);
    this.changes.observe(this.list.current!, { childList: true, subtree: true });
    window.addEventListener('pointerup', this.onPointerEnd);
    window.addEventListener('pointercancel', this.onPointerEnd);
    this.follow = true;
    this.place();
  }

  override componentWillUnmount(): void {
    if (transcript.current === this) transcript.current = null;
    this.observer?.disconnect();
    this.changes.disconnect();
    window.removeEventListener('pointerup', this.onPointerEnd);
    window.removeEventListener('pointercancel', this.onPointerEnd);
    window.clearTimeout(this.held);
  }

  override componentDidUpdate(): void {
    this.place();
  }

  private get windowed(): boolean {
    return this.props.path.length > windowOver;
  }

  private get mounted(): boolean {
    return this.list.current !== null && this.scroller.current !== null;
  }

  private get view(): HTMLDivElement {
    return this.scroller.current!;
  }

  // ---- what is mounted ---------------------------------------------------------------------

  /**
   * The height of a message that was never mounted: the mean of the first that were. It stays what
   * it is, since an answer that grows would otherwise move all that stands above it in every frame.
   */
  private guess(): number {
    if (this.guessed > 0 || this.heights.size === 0) return this.guessed || guessPx;
    let sum = 0;
    for (const height of this.heights.values()) sum += height;
    return (this.guessed = sum / this.heights.size);
  }

  private tops(): number[] {
    const guess = this.guess();
    const tops = [0];
    for (const node of this.props.path) {
      tops.push(tops[tops.length - 1]! + (this.heights.get(node.id) ?? guess));
    }
    return tops;
  }

  private window(): { from: number; to: number } {
    const count = this.props.path.length;
    if (!this.windowed) return { from: 0, to: count };
    const tops = this.tops();
    const height = this.view?.clientHeight ?? 800;
    const at = this.follow || this.view === null ? tops[count]! - height : this.view.scrollTop;
    let from = 0;
    while (from < count - 1 && tops[from + 1]! < at - screensAround * height) from++;
    let to = from;
    while (to < count && tops[to]! < at + (1 + screensAround) * height) to++;
    if (to - from > mountedMax) {
      const first = tops.findIndex((top, i) => i > 0 && top > at) - 1;
      from = Math.max(from, first - mountedMax / 2);
      to = Math.min(to, from + mountedMax);
    }
    return { from, to };
  }

  // ---- keeping the view still --------------------------------------------------------------

  private item(id: string): HTMLElement | null {
    return this.list.current?.querySelector<HTMLElement>(`[data-id="${id}"]`) ?? null;
  }

  private measureItems(): void {
    if (this.width !== this.view.clientWidth) {
      this.width = this.view.clientWidth;
      this.heights.clear();
      this.guessed = 0;
    }
    for (const li of this.list.current!.children) {
      const id = (li as HTMLElement).dataset.id;
      if (id !== undefined) this.heights.set(id, li.getBoundingClientRect().height);
    }
  }

  private contentEnd(): number {
    const list = this.list.current!;
    return list.offsetTop + list.offsetHeight;
  }

  private setSpace(): void {
    const pinned = this.props.conversation.pinned.peek();
    const question = pinned === null ? null : this.item(pinned);
    let space = 0;
    if (question !== null) {
      const top = question.offsetTop - topGapPx;
      space = Math.max(0, this.view.clientHeight - (this.contentEnd() - top));
    }
    if (space === this.spacePx) return;
    this.spacePx = space;
    this.space.current!.style.height = `${space + slackPx}px`;
  }

  /** After a render: a new question goes to the top; otherwise the anchor stays where it was. */
  private place(): void {
    const pinned = this.props.conversation.pinned.peek();
    if (pinned !== null && pinned !== this.pinnedSeen && this.item(pinned) !== null) {
      this.pinnedSeen = pinned;
      this.follow = false;
      this.measureItems();
      this.setSpace();
      this.view.scrollTop = this.item(pinned)!.offsetTop - topGapPx;
      this.remember();
    }
    this.settle();
  }

  private settle(): void {
    if (!this.mounted) return;
    this.height = this.view.clientHeight;
    this.measureItems();
    this.setSpace();
    if (this.follow) {
      const end = this.contentEnd() - this.view.clientHeight;
      if (Math.abs(this.view.scrollTop - end) > 1) this.view.scrollTop = end;
    } else {
      this.restore();
    }
    this.end = this.contentEnd();
    this.lastTop = this.view.scrollTop;
    this.look();
  }

  private restore(): void {
    const li = this.anchor === null ? null : this.item(this.anchor.id);
    if (li === null) return;
    const moved =
      li.getBoundingClientRect().top - this.view.getBoundingClientRect().top - this.anchor!.top;
    if (Math.abs(moved) >= 1) this.view.scrollTop += moved;
  }

  /** Notes the first visible message and where it stands. */
  private remember(): void {
    if (!this.mounted) return;
    const top = this.view.getBoundingClientRect().top;
    for (const li of this.list.current!.children) {
      const box = li.getBoundingClientRect();
      const id = (li as HTMLElement).dataset.id;
      if (id === undefined || box.bottom <= top) continue;
      this.anchor = { id, top: box.top - top };
      return;
    }
  }

  private look(): void {
    if (!this.mounted) return;
    const past = this.contentEnd() - (this.view.scrollTop + this.view.clientHeight);
    const range = this.window();
    const old = this.range.peek();
    batch(() => {
      // Its strip would take the place of what is pressed: the release would be another's.
      if (this.held === 0) this.below.value = past > nearEndPx && !this.follow;
      if (range.from !== old.from || range.to !== old.to) this.range.value = range;
    });
  }

  // ---- the reader's moves ------------------------------------------------------------------

  /** Stops following. A drag may turn round and go down again; a wheel or a key upwards may not. */
  private readonly letGo = (mayReturn: boolean): void => {
    this.lastUp = performance.now();
    this.lastInput = mayReturn ? this.lastUp : -inputAgeMs;
    this.lastTop = this.view.scrollTop;
    this.follow = false;
    this.remember();
    this.look();
  };

  private readonly onWheel = (event: WheelEvent): void => {
    if (event.deltaY < 0) this.letGo(false);
    else this.lastInput = performance.now();
  };

  private readonly onPointerDown = (event: PointerEvent): void => {
    const onScrollbar = event.target === this.view && event.offsetX > this.view.clientWidth;
    if (onScrollbar) return this.letGo(true);
    window.clearTimeout(this.held);
    this.held = window.setTimeout(this.release, pressMsMax);
  };

  private readonly onPointerEnd = (): void => {
    if (this.held === 0) return;
    window.clearTimeout(this.held);
    this.held = window.setTimeout(this.release); // after the click
  };

  private readonly release = (): void => {
    this.held = 0;
    this.look();
  };

  private readonly onKeyDown = (event: KeyboardEvent): void => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (['PageUp', 'ArrowUp', 'Home'].includes(event.key)) this.letGo(false);
    else if (['PageDown', 'ArrowDown', ' '].includes(event.key)) this.lastInput = performance.now();
  };

  /**
   * The box under it gave room, or what stood at the end has gone, and the browser moved the text
   * up before the spacer could follow: nobody scrolled.
   */
  private movedByBrowser(): boolean {
    if (this.view.clientHeight !== this.height) return true;
    const byReader = performance.now() - this.lastUp < inputAgeMs;
    return !byReader && this.view.scrollTop < this.lastTop && this.contentEnd() !== this.end;
  }

  private readonly onScroll = (): void => {
    if (!this.mounted) return; // a late event of a list that is gone
    if (this.movedByBrowser()) return this.settle();
    const byReader = performance.now() - this.lastInput < inputAgeMs;
    const past = this.contentEnd() - (this.view.scrollTop + this.view.clientHeight);
    const down = this.view.scrollTop > this.lastTop;
    this.lastTop = this.view.scrollTop;
    const returned = byReader && down && past <= nearEndPx && this.spacePx <= 0;
    if (returned) this.follow = true;
    if (!this.follow) this.remember();
    this.look();
  };

  /** Follows the end from now on. */
  readonly followEnd = (): void => {
    this.follow = true;
    this.settle();
  };

  /** The pill goes as soon as it is pressed. */
  private readonly onPill = (): void => {
    this.view.focus({ preventScroll: true });
    this.followEnd();
  };

  // ---- the focus ---------------------------------------------------------------------------

  private readonly onFocusIn = ({ target }: FocusEvent): void => {
    const element = target as Element;
    const id = element.closest<HTMLElement>('li[data-id]')?.dataset.id;
    this.focused = { element, index: this.props.path.findIndex((node) => node.id === id) };
  };

  /** It went elsewhere, unless what had it is being taken off the page: that is not its choice. */
  private readonly onFocusOut = ({ target }: FocusEvent): void => {
    queueMicrotask(() => {
      const stays = (target as Element).isConnected;
      if (stays && this.focused?.element === target) this.focused = null;
    });
  };

  private keepFocus(): void {
    if (this.focused === null || this.focused.element.isConnected) return;
    const { path } = this.props;
    const node = path[Math.min(this.focused.index, path.length - 1)];
    this.focused = null;
    if (document.activeElement !== document.body || node === undefined) return;
    this.item(node.id)?.querySelector('article')?.focus({ preventScroll: true });
  }

  /** Shows message `index` at the top and focuses it. */
  goTo(index: number): void {
    const node = this.props.path[index];
    if (node === undefined) return;
    this.follow = false;
    this.anchor = null;
    if (this.item(node.id) === null) {
      this.view.scrollTop = this.tops()[index]!;
      this.look();
    }
    requestAnimationFrame(() => {
      const li = this.item(node.id);
      if (li === null) return;
      this.view.scrollTop = li.offsetTop - topGapPx;
      this.remember();
      this.look();
      li.querySelector('article')?.focus({ preventScroll: true });
    });
  }

  /** The index of the message that has the focus, or the first visible one. */
  index(): number {
    const focused = document.activeElement?.closest<HTMLElement>('li[data-id]')?.dataset.id;
    this.remember();
    const id = focused ?? this.anchor?.id;
    return this.props.path.findIndex((node) => node.id === id);
  }

  // ---- drawing -----------------------------------------------------------------------------

  /** Of each message that is drawn: the model that answered before it. */
  private modelsBefore(from: number, to: number): (string | undefined)[] {
    const { path } = this.props;
    let before: string | undefined;
    for (let i = from - 1; i >= 0 && before === undefined; i--) {
      if (path[i]!.role === 'assistant') before = path[i]!.model ?? '';
    }
    return path.slice(from, to).map((node) => {
      const earlier = before;
      if (node.role === 'assistant') before = node.model ?? '';
      return earlier;
    });
  }

  private marks(node: WireNode, isFirstRead: boolean, modelBefore: string | undefined) {
    const changed = node.role === 'assistant' && modelBefore && modelBefore !== node.model;
    return (
      <>
        {isFirstRead && <p class="mark full-line">{t('full.line')}</p>}
        {changed && <p class="mark">{t('model.mark', { model: modelName(node.model) })}</p>}
      </>
    );
  }

  override render({ conversation, path }: Props) {
    const range = this.range.value;
    const { from, to } = this.windowed ? range : { from: 0, to: path.length };
    const tops = this.windowed ? this.tops() : [];
    const before = this.windowed ? tops[from]! : 0;
    const after = this.windowed ? tops[path.length]! - tops[Math.min(to, path.length)]! : 0;
    const models = this.modelsBefore(from, to);
    const leftOut = conversation.leftOut.value > 0;
    const firstRead = leftOut ? conversation.firstRead()?.id : undefined;
    return (
      <div class={this.boxClass}>
        <div
          class="scroller"
          ref={this.scroller}
          tabIndex={0}
          role="region"
          aria-label={t('history')}
          onScroll={this.onScroll}
          onWheel={this.onWheel}
          onTouchMove={() => this.letGo(true)}
          onPointerDown={this.onPointerDown}
          onKeyDown={this.onKeyDown}
        >
          <ol
            class="turns"
            ref={this.list}
            aria-live="off"
            onFocusIn={this.onFocusIn}
            onFocusOut={this.onFocusOut}
            style={{ paddingTop: `${before}px`, paddingBottom: `${after}px` }}
          >
            {path.slice(from, to).map((node, i) => (
              <li key={node.id} data-id={node.id}>
                {this.marks(node, from + i > 0 && node.id === firstRead, models[i])}
                <Message
                  conversation={conversation}
                  node={node}
                  index={from + i}
                  count={path.length}
                  last={from + i >= path.length - 2}
                />
              </li>
            ))}
          </ol>
          <div class="spacer" ref={this.space} />
        </div>
        <Pill shown={this.below} onClick={this.onPill} />
      </div>
    );
  }
}
