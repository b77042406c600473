/**
 * Calls to the gate's site endpoints. Every failure is an ApiError with a status (0: no connection)
 * and, where the server gave one, a reason and a time to wait. A 401 asks `onSignedOut`, which
 * shows the sign-in over the page; when it resolves true the request is repeated once.
 */
import { inOrder } from '../base/in_order';
import type {
  Catalogue,
  GenerationRequest,
  Pull,
  PullRules,
  Session,
  Summary,
  WireConversation,
  WireNode,
} from './wire';

const timeoutMs = 20_000;
const pictureTimeoutMs = 120_000;
const catalogueTimeoutMs = 45_000; // the server measures its memory's speed for it

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly reason: string,
    message: string,
    readonly retryAfterS: number | null,
    readonly body: Record<string, unknown>,
  ) {
    super(message);
  }
}

let onSignedOut: () => Promise<boolean> = async () => false;
export function setSignedOutHandler(handler: () => Promise<boolean>): void {
  onSignedOut = handler;
}

async function failure(response: Response): Promise<ApiError> {
  let body: Record<string, unknown> = {};
  try {
    body = (await response.json()) as Record<string, unknown>;
  } catch {
    // Not JSON: a proxy's page. The status says enough.
  }
  const error = (body.error ?? {}) as { message?: string; code?: string };
  const reason = String(body.reason ?? error.code ?? '');
  const wait = Number(response.headers.get('retry-after'));
  const after = response.headers.has('retry-after') && wait >= 0 ? wait : null;
  return new ApiError(response.status, reason, error.message ?? response.statusText, after, body);
}

async function send(
  method: string,
  path: string,
  body: unknown,
  keepalive: boolean,
  waitMs = timeoutMs,
): Promise<Response> {
  const init: RequestInit = { method, credentials: 'same-origin', cache: 'no-store', keepalive };
  const isPicture = body instanceof Blob;
  if (isPicture) {
    init.headers = { 'content-type': 'application/octet-stream' };
    init.body = body;
  } else if (method !== 'GET') {
    init.headers = { 'content-type': 'application/json' };
    if (body !== undefined) init.body = JSON.stringify(body);
  }
  init.signal = AbortSignal.timeout(isPicture ? pictureTimeoutMs : waitMs);
  try {
    return await fetch(`/site/${path}`, init);
  } catch (error) {
    throw new ApiError(0, 'offline', String(error), null, {});
  }
}

/** A response that is not JSON. */
async function fetchBlob(path: string): Promise<Blob> {
  const response = await send('GET', path, undefined, false);
  if (!response.ok) throw await failure(response);
  try {
    return await response.blob();
  } catch (error) {
    throw new ApiError(0, 'offline', String(error), null, {});
  }
}

async function call<T>(
  method: string,
  path: string,
  body?: unknown,
  mayRepeat = true,
  waitMs = timeoutMs,
): Promise<T> {
  const response = await send(method, path, body, false, waitMs);
  if (response.status === 401 && mayRepeat && (await onSignedOut())) {
    return call<T>(method, path, body, false, waitMs);
  }
  if (!response.ok) throw await failure(response);
  if (response.status === 204) return undefined as T;
  try {
    return (await response.json()) as T;
  } catch (error) {
    throw new ApiError(0, 'offline', String(error), null, {});
  }
}

const id = encodeURIComponent;

export const api = {
  session: inOrder(() => call<Session>('GET', 'session', undefined, false)),
  setup: (code: string) => call<Session>('POST', 'setup', { code, mode: 'just_me' }, false),
  signIn: (code: string) => call<Session>('POST', 'signin', { code }, false),
  signOut: () => call<void>('POST', 'signout', {}, false),
  conversations: () => call<{ conversations: Summary[] }>('GET', 'conversations'),
  conversation: (key: string) => call<WireConversation>('GET', `conversations/${id(key)}`),
  rename: (key: string, title: string) =>
    call<void>('PATCH', `conversations/${id(key)}`, { title }),
  remove: (key: string) => call<void>('DELETE', `conversations/${id(key)}`),
  removeNode: (key: string, node: string) =>
    call<void>('DELETE', `conversations/${id(key)}/nodes/${id(node)}`),
  search: (text: string) =>
    call<{ conversations: Summary[] }>('POST', 'conversations/search', { text }),
  generate: (request: GenerationRequest) =>
    call<{ generation: string; conversation: string }>('POST', 'generations', request),
  picture: (key: string) => fetchBlob(`attachments/${id(key)}`),
  sendPicture: (key: string, picture: Blob) =>
    call<void>('PUT', `attachments/${id(key)}`, picture),
  stop: (generation: string) => call<void>('DELETE', `generations/${id(generation)}`),
  answerNow: (generation: string) => call<void>('POST', `generations/${id(generation)}/answer`, {}),
  catalogue: inOrder(() =>
    call<Catalogue>('GET', 'catalogue', undefined, true, catalogueTimeoutMs),
  ),
  startPull: (ref: string) =>
    call<PullRules & { current: Pull | null }>('POST', 'pulls', { ref }),
  dismissPull: () => call<void>('DELETE', 'pulls/ended'),
  pausePull: () => call<void>('DELETE', 'pulls/current'),
  measure: (path: WireNode[], model: string) =>
    call<{ tokens: number; context_tokens: number }>('POST', 'measure', { path, model }),
};
