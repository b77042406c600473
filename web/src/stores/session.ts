/** Who is here and what the server offers: filled by the one call at start. */
import { computed, signal } from '@preact/signals';
import { api, ApiError, setSignedOutHandler } from '../services/api';
import { draftsWritten, lockDrafts, unlockDrafts } from '../services/drafts';
import type { Model, ReadySession, Session, Summary, Unusable } from '../services/wire';
import { prefs } from './prefs';
import { takeRules } from './pulls';
import { navigate } from './router';

export type Gate = 'loading' | 'unreachable' | 'setup' | 'signin' | 'ready';

export const gate = signal<Gate>('loading');
export const session = signal<ReadySession | null>(null);
export const conversations = signal<Summary[]>([]);
export const models = signal<Model[]>([]);
/** Set while the sign-in stands over the page: resolves when the person is signed in again. */
export const signInAgain = signal<((signedIn: boolean) => void) | null>(null);
export const justSetUp = signal(false);

/** The one that the open conversation goes on with; null: the one chosen last anywhere. */
export const conversationModel = signal<string | null>(null);

/** The model with this id, or the one that takes its place. */
export function modelOf(id: string | null): Model | null {
  const list = models.value;
  const find = (of: string | null | undefined): Model | undefined => list.find((m) => m.id === of);
  const other = find(prefs.value.model) ?? find(session.value?.default_model) ?? list[0];
  return find(id) ?? other ?? null;
}

/** The one that is asked next in the conversation that is open. */
export const model = computed<Model | null>(() => modelOf(conversationModel.value));

export const unusable = computed<Unusable[]>(() => session.value?.unusable ?? []);

export function modelName(id: string | undefined): string {
  return models.value.find((m) => m.id === id)?.name ?? id ?? '';
}

async function enter(state: Session): Promise<void> {
  if (state.state !== 'ready') {
    gate.value = state.state;
    if (state.state === 'setup') navigate('/setup', true);
    else navigate('/signin', true);
    return;
  }
  await unlockDrafts(state.draft_key);
  session.value = state;
  conversations.value = state.conversations;
  models.value = state.models;
  takeRules(state.pull);
  gate.value = 'ready';
  if (!justSetUp.value && /^\/(setup|signin)/.test(location.pathname)) navigate('/', true);
}

/** Reads the session; called at start, after signing in and when the server says it changed. */
export async function readSession(): Promise<void> {
  try {
    await enter(await api.session());
  } catch (error) {
    if (gate.value === 'loading') gate.value = 'unreachable';
    if (!(error instanceof ApiError)) throw error;
  }
}

export async function setUp(code: string): Promise<void> {
  await api.setup(code);
  justSetUp.value = true;
  await readSession();
}

export async function signIn(code: string): Promise<void> {
  await api.signIn(code);
  await readSession();
}

export async function signOut(): Promise<void> {
  await draftsWritten();
  await api.signOut();
  leave();
}

/** This browser is signed out: the page forgets what it holds. */
export function leave(): void {
  lockDrafts();
  location.assign('/signin');
}

let asking: Promise<boolean> | null = null;
export function askToSignIn(): Promise<boolean> {
  asking ??= new Promise<boolean>((resolve) => {
    signInAgain.value = (signedIn) => {
      signInAgain.value = null;
      asking = null;
      resolve(signedIn);
    };
  });
  return asking;
}
setSignedOutHandler(askToSignIn);

export function touchConversation(summary: Summary): void {
  const others = conversations.value.filter((c) => c.id !== summary.id);
  conversations.value = [summary, ...others];
}

export function dropConversation(id: string): void {
  conversations.value = conversations.value.filter((c) => c.id !== id);
}
