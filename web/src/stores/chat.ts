/** Everything that can be done with conversations: send, edit, ask again, stop, branch, delete. */
import { batch, computed, signal } from '@preact/signals';
import { newId } from '../base/ids';
import { titleOf } from '../base/words';
import { t } from '../i18n';
import { api, ApiError } from '../services/api';
import { type DraftRequest, readDraft, unsentName, writeDraft } from '../services/drafts';
import { forgotten, sendPictures } from '../services/pictures';
import { Stream, type LinkState } from '../services/stream';
import type {
  DrawWish,
  GenerationFrame,
  GenerationRequest,
  Model,
  WireNode,
} from '../services/wire';
import { announce, announceError } from './announce';
import { Conversation, type Attempt, type Trouble } from './conversation';
import { Live } from './live';
import { drawingModel, newSeed, putChips } from './pictures';
import { prefs } from './prefs';
import { sizeOf, troubleOf, troubleWords } from './refusals';
import { hearPull } from './pulls';
import { navigate, route } from './router';
import {
  conversations,
  dropConversation,
  gate,
  leave,
  model,
  modelOf,
  models,
  session,
  touchConversation,
} from './session';

const cachedMax = 8;
const stopConfirmMs = 2_000;
const bannerAfterMs = 2_000;
const listSettleMs = 300;
const summaryTriesMax = 16;
const summaryTextMin = 100; // characters of a message: less is no use
const requestFrameBytes = 4_096; // of a request, beside its path

export const budgets = { short: 1024, normal: 4096, long: 16384, none: undefined };

const cache = new Map<string, Conversation>();
const generations = new Map<string, { conversation: Conversation; live: Live; whole: boolean }>();
let stream: Stream | null = null;

export const link = signal<LinkState>('connecting');
export const offline = signal(false); // said to the reader: not before 2 s
export const draftRequest = signal<DraftRequest | null>(null);
export const readyElsewhere = signal(false);

let blank = new Conversation(newId());
const blankVersion = signal(0);

let shown = blank; // the last one whose page was open: the settings lead back to it

/** The conversation that the address names; a new one has its id from the start. */
export const current = computed<Conversation>(() => {
  blankVersion.value;
  const at = route.value;
  if (at.page !== 'chat') return blank;
  return (shown = at.conversation === null ? blank : get(at.conversation));
});

function get(id: string): Conversation {
  const known = cache.get(id);
  if (known !== undefined) {
    cache.delete(id);
    cache.set(id, known);
    return known;
  }
  const made = new Conversation(id);
  remember(made);
  void load(made);
  return made;
}

function remember(conversation: Conversation): void {
  cache.set(conversation.id, conversation);
  for (const [id, old] of cache) {
    if (cache.size <= cachedMax) break;
    const busy = old.live.peek() !== null || old.attempt.peek() !== null;
    if (id !== conversation.id && !busy) cache.delete(id);
  }
}

export function newChat(): void {
  if (blank.path.peek().length > 0) {
    blank = new Conversation(newId());
    blankVersion.value++;
  }
  navigate('/');
}

export function backToChat(): void {
  navigate(shown.path.peek().length > 0 ? `/c/${shown.id}` : '/');
}

/** False if the server has no such conversation. */
async function load(conversation: Conversation): Promise<boolean> {
  conversation.state.value = 'loading';
  try {
    conversation.merge(await api.conversation(conversation.id));
    followRunning(conversation);
    const text = readUnsent(conversation);
    if (text !== '') toBox(conversation, text);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const missing = error.status === 404;
    // What the page still holds is worth more than a server that forgot it.
    if (conversation.path.peek().length > 0) conversation.state.value = 'loaded';
    else conversation.state.value = missing ? 'missing' : 'unreachable';
    if (missing) startOver(conversation);
    return !missing;
  }
  return true;
}

/** What left the box before a reload and never reached the server. */
function readUnsent(conversation: Conversation): string {
  if (conversation.attempt.peek() !== null || conversation.waiting.peek() !== null) return '';
  return readDraft(unsentName(conversation.id));
}

/** Gives a text of one conversation to its box, or to another's. */
function toBox(from: Conversation, text: string, to = from): void {
  draftRequest.value = { conversation: to.id, text, unsent: unsentName(from.id) };
}

/** A first message that was refused stood on its page only: it goes to the box of a new chat. */
function startOver(conversation: Conversation): void {
  if (conversation.path.peek().length > 0 || conversation !== current.peek()) return;
  const text = readUnsent(conversation);
  if (text === '') return;
  const typed = readDraft(conversation.id);
  newChat();
  const both = typed === '' ? text : `${text}\n\n${typed}`;
  toBox(conversation, both, blank);
}

export function reload(): void {
  void load(current.peek());
}

/** Joins the answers that the server is writing for this conversation. */
function followRunning(conversation: Conversation): void {
  for (const running of session.value?.running ?? []) {
    if (running.conversation !== conversation.id || generations.has(running.generation)) continue;
    const open = conversation.path
      .peek()
      .find((node) => node.role === 'assistant' && node.end === undefined);
    const answer = running.answer ?? open?.id;
    if (answer !== undefined) follow(conversation, running.generation, answer, '', false);
  }
}

function follow(
  conversation: Conversation,
  generation: string,
  answer: string,
  already: string,
  whole: boolean,
): void {
  const live = new Live(generation, conversation.id, answer, already);
  conversation.lives.set(answer, live);
  generations.set(generation, { conversation, live, whole });
  conversation.changed();
  stream?.add(generation, 0);
}

// ---- sending -------------------------------------------------------------------------------

function lastNode(conversation: Conversation): WireNode | undefined {
  const path = conversation.path.peek();
  return path[path.length - 1];
}

function userNode(
  parent: string | null,
  content: string,
  pictures: { id: string }[] = [],
): WireNode {
  const node: WireNode = {
    id: newId(),
    parent,
    role: 'user',
    content,
    created_unix_ms: Date.now(),
  };
  return pictures.length > 0 ? { ...node, pictures } : node;
}

/** What goes with a text. */
export interface Beside {
  pictures?: string[];
  draw?: DrawWish | null;
}

/** Sends `text` at the end of the visible branch. Resolves true once the text is safe elsewhere. */
export async function send(
  conversation: Conversation,
  text: string,
  { pictures = [], draw = null }: Beside = {},
): Promise<boolean> {
  if (!(await conversation.ready())) return false;
  const unsent = conversation.attempt.peek();
  if (unsent !== null && unsent.trouble === null) return false;
  if (unsent !== null) discardUnsent(conversation);
  const shown = pictures.map((id) => ({ id }));
  const question = userNode(lastNode(conversation)?.id ?? null, text, shown);
  return ask(conversation, question, newId(), draw);
}

/** A new version of a question: a sibling branch; nothing is destroyed. */
export function editQuestion(conversation: Conversation, node: WireNode, text: string): void {
  if (conversation.attempt.peek()?.question === node.id) discardUnsent(conversation);
  const question = userNode(node.parent, text, node.pictures);
  void ask(conversation, question, newId(), drawnBelow(conversation, node.id));
}

/** What was asked to be drawn by the answer `id`, or by one of the question `id`. */
function drawnBelow(conversation: Conversation, id: string): DrawWish | null {
  for (const node of conversation.tree.nodes.values()) {
    if ((node.id === id || node.parent === id) && node.drawing !== undefined) {
      return { pictures: node.drawing.pictures.length };
    }
  }
  return null;
}

/** The same words once more: with the seed of before, or more of them. */
export function drawAgain(conversation: Conversation, answer: WireNode, wish: DrawWish): void {
  const question = answer.parent === null ? undefined : conversation.tree.nodes.get(answer.parent);
  if (question !== undefined) void ask(conversation, question, newId(), wish);
}

/** A new version of an answer. */
export function askAgain(conversation: Conversation, answer: WireNode): void {
  const question = answer.parent === null ? undefined : conversation.tree.nodes.get(answer.parent);
  if (question === undefined) return;
  void ask(conversation, question, newId(), drawnBelow(conversation, answer.id));
}

/** Goes on where an answer was cut: the same node grows. */
export async function goOn(conversation: Conversation, answer: WireNode): Promise<void> {
  const { id } = answer;
  const attempt: Attempt = { key: newId(), question: id, answer: id, draw: null, trouble: null };
  await post(conversation, attempt);
}

async function ask(
  conversation: Conversation,
  question: WireNode,
  answer: string,
  wish: DrawWish | null = null,
): Promise<boolean> {
  // The seed is chosen here, so that the page can say it while the picture is drawn.
  const draw = wish === null ? null : { ...wish, seed: wish.seed ?? newSeed() };
  const attempt: Attempt = { key: newId(), question: question.id, answer, draw, trouble: null };
  const known = conversation.tree.nodes.has(question.id);
  return post(conversation, attempt, known ? undefined : question);
}

/** Sends an attempt. The question joins the tree when it is accepted, or when it is refused. */
async function post(
  conversation: Conversation,
  attempt: Attempt,
  question?: WireNode,
): Promise<boolean> {
  const chosen = attempt.draw === null ? modelOf(conversation.model.peek()) : drawingModel.peek();
  conversation.attempt.value = { ...attempt, trouble: null };
  const text = (question ?? conversation.tree.nodes.get(attempt.question))?.content ?? '';
  try {
    if (chosen === null) throw new ApiError(404, 'model', '', null, {});
    if (link.peek() === 'lost') throw new ApiError(0, 'offline', '', null, {});
    const path = pathOf(conversation, attempt, question);
    checkSize(text, path);
    const { generation } = await generate({
      key: attempt.key,
      conversation: conversation.id,
      path,
      answer: attempt.answer,
      model: chosen.id,
      ...(attempt.draw === null ? thinkingOf(chosen) : { thinking: 'default', draw: attempt.draw }),
    });
    accepted(conversation, attempt, question, generation, chosen);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) {
      conversation.attempt.value = null;
      return false;
    }
    await refused(conversation, attempt, question, troubleOf(error, text));
  }
  return true;
}

/** Asks for an answer; what the server does not have of the path's pictures goes before. */
async function generate(request: GenerationRequest): Promise<{ generation: string }> {
  const ids = request.path.flatMap((node) => (node.pictures ?? []).map(({ id }) => id));
  await sendPictures(ids);
  try {
    return await api.generate(request);
  } catch (error) {
    const gone = error instanceof ApiError && error.reason === 'picture';
    if (!gone || !forgotten((error.body.missing ?? []) as string[])) throw error;
    await sendPictures(ids);
    return api.generate(request);
  }
}

/** What the server would refuse by its size alone is not sent to it. */
function checkSize(text: string, path: WireNode[]): void {
  const limits = session.peek()?.limits;
  if (limits === undefined) return;
  const whole = sizeOf(JSON.stringify(path)) + requestFrameBytes;
  const reason = sizeOf(text) > limits.message_bytes_max ? 'size' : 'conversation';
  if (reason === 'conversation' && whole <= limits.request_bytes_max) return;
  throw new ApiError(413, reason, '', null, {});
}

function pathOf(conversation: Conversation, attempt: Attempt, question?: WireNode): WireNode[] {
  if (question === undefined) return conversation.sentPath(attempt.question);
  const before = question.parent === null ? [] : conversation.sentPath(question.parent);
  return [...before, question];
}

function thinkingOf(asked: Model): Pick<GenerationRequest, 'thinking' | 'thinking_tokens_max'> {
  const kind = asked.thinking;
  const { think, budget } = prefs.peek();
  const thinking = kind === 'optional' ? think : 'default';
  const limit = budgets[budget];
  const limited = limit !== undefined && kind !== 'never' && thinking !== 'off';
  return limited ? { thinking, thinking_tokens_max: limit } : { thinking };
}

function place(conversation: Conversation, question: WireNode | undefined): void {
  if (question === undefined) return;
  conversation.tree.add(question);
  conversation.pinned.value = question.id;
}

function adopt(conversation: Conversation): void {
  if (!cache.has(conversation.id)) remember(conversation);
  if (conversation.state.peek() === 'new') conversation.state.value = 'loaded';
  if (conversation === current.peek()) navigate(`/c/${conversation.id}`, path() === '/');
  if (conversation === blank) {
    blank = new Conversation(newId());
    blankVersion.value++;
  }
}
const path = (): string => location.pathname;

function accepted(
  conversation: Conversation,
  attempt: Attempt,
  question: WireNode | undefined,
  generation: string,
  { id: modelId, drawn_side: side = 0 }: Model,
): void {
  batch(() => {
    conversation.attempt.value = null;
    void writeDraft(unsentName(conversation.id), conversation.waiting.peek() ?? '');
    place(conversation, question);
    const known = conversation.tree.nodes.get(attempt.answer);
    const goingOn = attempt.question === attempt.answer;
    const already = goingOn ? (known?.content ?? '') : '';
    if (!goingOn) {
      const parent = attempt.question;
      const answer: WireNode = {
        id: attempt.answer,
        parent,
        role: 'assistant',
        content: '',
        model: modelId,
        created_unix_ms: Date.now(),
      };
      if (attempt.draw !== null) answer.drawing = { side, pictures: blanks(attempt.draw) };
      conversation.tree.add(answer);
      conversation.pinned.value = parent;
    }
    if (conversation.title.peek() === '') {
      conversation.title.value = titleOf(conversation.tree.path()[0]?.content ?? '');
    }
    const { id } = conversation;
    const title = conversation.title.peek();
    touchConversation({ id, title, updated_unix_ms: Date.now(), model: modelId });
    follow(conversation, generation, attempt.answer, already, true);
    noteRunning(generation, id, attempt.answer);
    adopt(conversation);
  });
  const { id } = conversation;
  stream?.tell({ started: { generation, conversation: id, answer: attempt.answer } });
}

function blanks({ pictures, seed = 0 }: DrawWish): { id: null; seed: number }[] {
  return Array.from({ length: pictures }, (_, i) => ({ id: null, seed: seed + i }));
}

async function refused(
  conversation: Conversation,
  attempt: Attempt,
  question: WireNode | undefined,
  trouble: Trouble,
): Promise<void> {
  // The page is about to say that it is kept.
  if (question !== undefined) await writeDraft(unsentName(conversation.id), question.content);
  batch(() => {
    place(conversation, question);
    conversation.changed();
    conversation.attempt.value = { ...attempt, trouble };
    adopt(conversation);
  });
  announceError(troubleWords(trouble));
  if (trouble.retryAt > 0)
    window.setTimeout(() => retryDue(conversation, attempt.key), trouble.retryAt - Date.now());
}

function retryDue(conversation: Conversation, key: string): void {
  const now = conversation.attempt.peek();
  if (now?.key === key && now.trouble !== null) void retry(conversation);
}

/** Tries the unsent message again, with the ids it had. */
export async function retry(conversation: Conversation): Promise<void> {
  const attempt = conversation.attempt.peek();
  if (attempt !== null && attempt.trouble !== null) await post(conversation, attempt);
}

function discardUnsent(conversation: Conversation): void {
  leaveUnsent(conversation);
  void writeDraft(unsentName(conversation.id), '');
}

/** Takes a message that was not sent out of the conversation; its text stays kept. */
function leaveUnsent(conversation: Conversation): void {
  const attempt = conversation.attempt.peek();
  if (attempt === null) return;
  const node = conversation.tree.nodes.get(attempt.question);
  const answered = conversation.tree.nodes.has(attempt.answer);
  conversation.attempt.value = null;
  if (node !== undefined && node.role === 'user' && !answered && isLeaf(conversation, node)) {
    conversation.tree.remove(node.id);
    conversation.changed();
  }
}

function isLeaf(conversation: Conversation, node: WireNode): boolean {
  return conversation.tree.size(node.id) === 1;
}

/** Gives the unsent text back to the box and takes the message out of the conversation. */
export function takeBack(conversation: Conversation): void {
  const attempt = conversation.attempt.peek();
  const node = attempt === null ? undefined : conversation.tree.nodes.get(attempt.question);
  const text = node?.content ?? '';
  if (node?.pictures !== undefined) {
    putChips(
      conversation,
      node.pictures.map(({ id }) => id),
    );
  }
  leaveUnsent(conversation);
  toBox(conversation, text);
}

// ---- while an answer is written ------------------------------------------------------------

export async function stop(live: Live): Promise<void> {
  if (live.ending.peek() !== null || live.stopping.peek() !== 'no') return;
  live.stopping.value = 'asked';
  announce(t('stopping'));
  window.setTimeout(() => {
    if (live.ending.peek() === null && live.stopping.peek() === 'asked') {
      live.stopping.value = 'unconfirmed';
    }
  }, stopConfirmMs);
  try {
    await api.stop(live.generation);
  } catch {
    // Not confirmed: the end frame decides, and after 2 s the page says that it has not come.
  }
}

export async function answerNow(live: Live): Promise<void> {
  try {
    await api.answerNow(live.generation);
  } catch (error) {
    if (error instanceof ApiError) announceError(t('fault', { id: String(error.status) }));
  }
}

/** Lets one message wait for the end of the running answer. */
export function waitInLine(conversation: Conversation, text: string): void {
  conversation.waiting.value = text;
  void writeDraft(unsentName(conversation.id), text);
}

/** Gives the waiting message back to the box. */
export function takeBackWaiting(conversation: Conversation): void {
  const text = conversation.waiting.peek();
  if (text === null) return;
  conversation.waiting.value = null;
  toBox(conversation, text);
}

function onFrame(frame: GenerationFrame): void {
  const known = generations.get(frame.generation);
  if (known === undefined) return;
  const { conversation, live } = known;
  if (frame.kind === 'gone') return void lost(conversation, live);
  live.take(frame);
  if (frame.kind === 'drawn') drawn(conversation, live, frame);
  if (frame.kind === 'end') ended(conversation, live, known.whole);
}

function drawn(conversation: Conversation, live: Live, frame: GenerationFrame): void {
  const node = conversation.tree.nodes.get(live.answer);
  const { id, picture, seed } = frame;
  if (node?.drawing === undefined || id === undefined) return;
  const { side, pictures } = node.drawing;
  const put = (old: { id: string | null; seed: number }, i: number): typeof old =>
    i === (picture ?? 0) ? { id, seed: seed ?? old.seed } : old;
  node.drawing = { side, pictures: pictures.map(put) };
  conversation.changed();
}

/**
 * The server does not know the generation any more: it ended long ago, or the server was restarted
 * and forgot it. Its copy of the conversation decides; without one, what the page has is kept.
 */
async function lost(conversation: Conversation, live: Live): Promise<void> {
  generations.delete(live.generation);
  const node = conversation.tree.nodes.get(live.answer);
  if (node !== undefined) {
    node.content = live.text.peek();
    if (live.reasoning.peek() !== '') node.reasoning = live.reasoning.peek();
  }
  live.cut();
  conversation.changed();
  const known = await load(conversation);
  if (node === undefined || node.end !== undefined) return;
  // The server that wrote it has forgotten the whole conversation: it is not the one of before.
  node.end = known ? 'engine_died' : 'server_stopped';
  conversation.changed();
  sayEnd(node.end);
}

function ended(conversation: Conversation, live: Live, whole: boolean): void {
  const ending = live.ending.peek()!;
  const node = conversation.tree.nodes.get(live.answer);
  if (node !== undefined) {
    node.content = live.text.peek();
    if (live.reasoning.peek() !== '') node.reasoning = live.reasoning.peek();
    node.end = ending.reason;
    if (ending.contextFull) node.context_full = true;
    if (ending.usage !== undefined) node.usage = ending.usage;
  }
  generations.delete(live.generation);
  noLongerRunning(live.generation);
  conversation.changed();
  sayEnd(ending.reason);
  // An answer that was joined while it ran may have begun with words that its frames do not carry.
  if (!whole) void load(conversation);
  const fine =
    ending.reason === 'stop' || ending.reason === 'length' || ending.reason === 'cancelled';
  if (fine) void sendWaiting(conversation);
  else takeBackWaiting(conversation);
}

async function sendWaiting(conversation: Conversation): Promise<void> {
  const next = conversation.waiting.peek();
  if (next === null) return;
  conversation.waiting.value = null;
  if (await send(conversation, next)) return;
  toBox(conversation, next);
}

function noteRunning(generation: string, conversation: string, answer: string): void {
  const now = session.peek();
  if (now === null || now.running.some((r) => r.generation === generation)) return;
  session.value = { ...now, running: [...now.running, { generation, conversation, answer }] };
}

/** Ended here, though a list that the server made a moment earlier may still name them. */
const over = new Set<string>();

function noLongerRunning(generation: string): void {
  over.add(generation);
  const now = session.peek();
  if (now === null) return;
  session.value = { ...now, running: now.running.filter((r) => r.generation !== generation) };
}

function sayEnd(reason: string): void {
  if (reason === 'cancelled') announce(t('stopped'));
  else if (reason === 'engine_died') announceError(t('cut'));
  else if (reason === 'server_stopped') announceError(t('cut.server'));
  else if (reason === 'failed') announceError(t('failed'));
  else announce(t('ready'));
  if (document.visibilityState === 'hidden') readyElsewhere.value = true;
}

// ---- the branch ----------------------------------------------------------------------------

export function chooseVersion(conversation: Conversation, id: string): void {
  conversation.tree.choose(id);
  conversation.changed();
}

export async function deleteVersion(conversation: Conversation, id: string): Promise<void> {
  for (const live of conversation.lives.values()) {
    if (conversation.tree.pathTo(live.answer).some((node) => node.id === id)) await stop(live);
  }
  if (conversation.attempt.peek()?.question !== id) await api.removeNode(conversation.id, id);
  else discardUnsent(conversation);
  conversation.tree.remove(id);
  conversation.changed();
}

export async function renameConversation(id: string, title: string): Promise<void> {
  await api.rename(id, title);
  const known = cache.get(id);
  if (known !== undefined) known.title.value = title;
  conversations.value = conversations.value.map((c) => (c.id === id ? { ...c, title } : c));
}

export async function deleteConversations(ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const open = cache.get(id);
    const live = open?.live.peek();
    if (live) await stop(live);
    await api.remove(id).catch((error: unknown) => {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
    });
    if (current.peek().id === id) newChat();
    cache.delete(id);
    dropConversation(id);
    void writeDraft(id, '');
    void writeDraft(unsentName(id), '');
  }
}

// ---- a full context: three ways on ---------------------------------------------------------

/** The model no longer reads the oldest `exchanges`; nothing is deleted. */
export async function leaveOutOldest(conversation: Conversation, exchanges: number): Promise<void> {
  conversation.leftOut.value += exchanges;
  conversation.changed();
  if (conversation.attempt.peek() !== null) return retry(conversation);
  const last = lastNode(conversation);
  if (last?.role === 'assistant') return goOn(conversation, last);
}

/** Puts what fits of the conversation, readable, into a new chat that begins with its summary. */
export async function goOnWithSummary(conversation: Conversation): Promise<void> {
  const attempt = conversation.attempt.peek();
  const pending = attempt?.trouble
    ? (conversation.tree.nodes.get(attempt.question)?.content ?? '')
    : '';
  const path = conversation.path
    .peek()
    .filter((node) => node.id !== attempt?.question && node.drawing === undefined);
  const fresh = new Conversation(newId());
  remember(fresh);
  fresh.state.value = 'loaded';
  navigate(`/c/${fresh.id}`);
  let from = attempt?.trouble
    ? Math.min(path.length - 1, attempt.trouble.drop * 2)
    : path.length >> 2;
  let kept = Infinity; // characters of a message: its end
  for (let tries = 0; tries < summaryTriesMax; tries++) {
    const read = path.slice(Math.max(0, from));
    await ask(fresh, userNode(null, summaryRequest(read, from > 0, kept)), newId());
    const kind = fresh.attempt.peek()?.trouble?.kind;
    if (kind !== 'full' && kind !== 'alone' && kind !== 'long') break;
    if (from < path.length - 1) from += Math.max(1, (path.length - from) >> 1);
    else kept = Math.min(kept, ...read.map((node) => node.content.length)) >> 1;
    if (kept < summaryTextMin) break;
    discardUnsent(fresh);
  }
  if (pending === '') return;
  leaveUnsent(conversation);
  toBox(conversation, pending, fresh);
}

function summaryRequest(path: readonly WireNode[], cut: boolean, kept: number): string {
  const lines = path.map((node) => {
    const who = node.role === 'user' ? t('sum.user') : t('sum.assistant');
    const { content } = node;
    // Never half of a character.
    const end = content.slice(-kept).replace(/^[\udc00-\udfff]/, '');
    return `${who}\n${content.length > kept ? `… ${end}` : content}`;
  });
  const head = cut || kept < Infinity ? `${t('sum.ask')}\n${t('sum.cut')}` : t('sum.ask');
  return `${head}\n\n${lines.join('\n\n')}`;
}

/** The next larger model that reads more than the present one, and `tokens` at least. */
export function widerModel(tokens: number): Model | null {
  const now = model.value;
  if (now === null) return null;
  const least = Math.max(tokens, now.context_tokens + 1);
  const wider = models.value.filter((m) => m.context_tokens >= least);
  return wider.sort((a, b) => a.context_tokens - b.context_tokens)[0] ?? null;
}

// ---- the stream ----------------------------------------------------------------------------

let bannerTimer = 0;
function onLink(state: LinkState): void {
  link.value = state;
  window.clearTimeout(bannerTimer);
  if (state === 'lost') {
    bannerTimer = window.setTimeout(() => {
      offline.value = true;
      announceError(t('offline'));
    }, bannerAfterMs);
  } else if (state === 'open') {
    offline.value = false;
    for (const conversation of cache.values()) {
      if (conversation.attempt.peek()?.trouble?.kind === 'offline') void retry(conversation);
    }
    void refreshList();
  } else if (state === 'signed_out') {
    void refreshList();
  }
}

let listTimer = 0;
async function refreshList(): Promise<void> {
  window.clearTimeout(listTimer);
  await new Promise((resolve) => (listTimer = window.setTimeout(resolve, listSettleMs)));
  try {
    const state = await api.session();
    if (state.state !== 'ready') return leaveOrAsk();
    for (const id of over) if (!state.running.some((r) => r.generation === id)) over.delete(id);
    session.value = { ...state, running: state.running.filter((r) => !over.has(r.generation)) };
    conversations.value = state.conversations;
    models.value = state.models;
    for (const conversation of cache.values()) await rejoin(conversation);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

/** Another browser may have written here: take its messages and follow its answer. */
async function rejoin(conversation: Conversation): Promise<void> {
  const running = session.value?.running ?? [];
  const strange = running.some(
    (r) => r.conversation === conversation.id && !generations.has(r.generation),
  );
  const state = conversation.state.peek();
  if (strange || state === 'unreachable') await load(conversation);
}

function leaveOrAsk(): void {
  if (gate.peek() === 'ready') leave();
}

function onPage(body: unknown): void {
  const started = (body as { started?: { generation: string; conversation: string } }).started;
  if (started === undefined) {
    if ((body as { left?: boolean }).left) leave();
    return;
  }
  const conversation = cache.get(started.conversation);
  if (conversation === undefined || generations.has(started.generation)) return;
  const { generation, conversation: id } = started;
  const answer = (body as { started: { answer: string } }).started.answer;
  noteRunning(generation, id, answer);
  void load(conversation);
}

/** Opens the browser's one stream; called once the session is ready. */
export function connect(): void {
  if (stream !== null) return;
  stream = new Stream({
    onFrame,
    onLink,
    onPage,
    onPull: hearPull,
    onState: (what) => {
      if (what === 'signed_out') leave();
      else void refreshList();
    },
  });
  // A conversation that was here before the stream waits for its answer already.
  for (const generation of generations.keys()) stream.add(generation, 0);
  for (const conversation of cache.values()) followRunning(conversation);
}

export function tellSignedOut(): void {
  stream?.tell({ left: true });
}
