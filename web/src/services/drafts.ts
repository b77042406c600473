/**
 * Drafts survive a reload, and nothing typed lies readable on the disk: each is AES-GCM under the
 * draft key that the server gives to a signed-in page and that the page holds in memory only.
 * Without a key drafts live in memory. A record: {id, iv, data, at}; older than 7 days is erased.
 * Ids: "new" and conversations' ids for what stands in the box; `unsentName` for a message that has
 * left the box and that the server has not taken yet.
 * What the page calls kept is on the disk first: it waits for `writeDraft` or `draftsWritten`.
 */
const databaseName = 'nautile';
const storeName = 'drafts';
const keptMs = 7 * 24 * 3600 * 1000;

interface Sealed {
  id: string;
  iv: Uint8Array<ArrayBuffer>;
  data: ArrayBuffer;
  at: number;
}

const memory = new Map<string, string>();
let draftKey: CryptoKey | null = null;
let database: Promise<IDBDatabase> | null = null;

function openDatabase(): Promise<IDBDatabase> {
  database ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(databaseName, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(storeName, { keyPath: 'id' });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('storage refused'));
  });
  return database;
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('storage refused'));
  });
}

async function records(mode: IDBTransactionMode): Promise<IDBObjectStore> {
  return (await openDatabase()).transaction(storeName, mode).objectStore(storeName);
}

/** Changes the records; resolves when the change would survive the page. */
async function change(how: (records: IDBObjectStore) => void): Promise<void> {
  const store = await records('readwrite');
  how(store);
  await new Promise<void>((resolve, reject) => {
    store.transaction.oncomplete = () => resolve();
    store.transaction.onabort = () =>
      reject(store.transaction.error ?? new Error('storage refused'));
  });
}

function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array((hex.match(/../g) ?? []).map((pair) => parseInt(pair, 16)));
}

/** Takes the key (hex of 32 bytes) and reads back what was written under it. */
export async function unlockDrafts(keyHex: string | undefined): Promise<void> {
  if (keyHex === undefined || !('subtle' in crypto)) return;
  try {
    draftKey = await crypto.subtle.importKey('raw', fromHex(keyHex), 'AES-GCM', false, [
      'encrypt',
      'decrypt',
    ]);
    const all = (await settled((await records('readonly')).getAll())) as Sealed[];
    for (const sealed of all) await readBack(sealed);
  } catch {
    draftKey = null;
  }
}

async function readBack(sealed: Sealed): Promise<void> {
  if (Date.now() - sealed.at > keptMs) return change((all) => all.delete(sealed.id));
  if (memory.has(sealed.id)) return;
  try {
    const name = new TextEncoder().encode(sealed.id);
    const how = { name: 'AES-GCM', iv: sealed.iv, additionalData: name };
    const plain = await crypto.subtle.decrypt(how, draftKey!, sealed.data);
    memory.set(sealed.id, new TextDecoder().decode(plain));
  } catch {
    // Another member's draft: not ours to read, and not ours to erase.
  }
}

/** Text for the box of a conversation; `unsent` is where it was kept until the box has it. */
export interface DraftRequest {
  conversation: string;
  text: string;
  unsent: string;
}

export function unsentName(conversation: string): string {
  return `unsent:${conversation}`;
}

export function readDraft(id: string): string {
  return memory.get(id) ?? '';
}

/** One sealing after the other; what was erased or changed meanwhile is not written. */
let writing: Promise<void> = Promise.resolve();

/**
 * Resolves when the draft is on the disk, or in memory only where storage is refused. A draft of
 * the name `replaced` is forgotten now and erased when this one is written.
 */
export function writeDraft(id: string, text: string, replaced = ''): Promise<void> {
  const known = readDraft(id) === text;
  const over = memory.delete(replaced);
  if (text === '') memory.delete(id);
  else memory.set(id, text);
  // Also what is forgotten already: it may still wait to be erased, and this is the last word.
  if (text === '') void erase(id);
  else if (!known) writing = writing.then(() => seal(id, text));
  if (over) writing = writing.then(() => erase(replaced));
  return writing;
}

export function draftsWritten(): Promise<void> {
  return writing;
}

async function erase(id: string): Promise<void> {
  if (draftKey === null || memory.has(id)) return;
  try {
    await change((all) => all.delete(id));
  } catch {
    // Storage refused: nothing was written either.
  }
}

async function seal(id: string, text: string): Promise<void> {
  if (draftKey === null || readDraft(id) !== text) return;
  try {
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const bytes = new TextEncoder();
    const how = { name: 'AES-GCM', iv, additionalData: bytes.encode(id) };
    const data = await crypto.subtle.encrypt(how, draftKey, bytes.encode(text));
    if (readDraft(id) !== text) return;
    await change((all) => all.put({ id, iv, data, at: Date.now() } satisfies Sealed));
  } catch {
    // Storage refused: the draft is still in memory.
  }
}

/** Signing out: the page forgets; the sealed records wait for the next sign-in. */
export function lockDrafts(): void {
  memory.clear();
  draftKey = null;
}
