/**
 * Drafts survive a reload, and nothing typed lies readable on the disk: each is AES-GCM under the
 * draft key that the server gives to a signed-in page and that the page holds in memory only.
 * Without a key drafts live in memory. A record: {id, iv, data, at}; older than 7 days is erased.
 * Ids: "new" and conversations' ids for what stands in the box; `unsentName` for a message that has
 * left the box and that the server has not taken yet.
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
  if (Date.now() - sealed.at > keptMs) return void (await records('readwrite')).delete(sealed.id);
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

export function unsentName(conversation: string): string {
  return `unsent:${conversation}`;
}

export function readDraft(id: string): string {
  return memory.get(id) ?? '';
}

/** One write after the other: sealing takes longer than erasing, and the last word must stand. */
let writing: Promise<void> = Promise.resolve();

export function writeDraft(id: string, text: string): Promise<void> {
  if ((memory.get(id) ?? '') === text) return writing;
  if (text === '') memory.delete(id);
  else memory.set(id, text);
  return (writing = writing.then(() => seal(id, text)));
}

async function seal(id: string, text: string): Promise<void> {
  if (draftKey === null) return;
  try {
    if (text === '') return void (await records('readwrite')).delete(id);
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const bytes = new TextEncoder();
    const how = { name: 'AES-GCM', iv, additionalData: bytes.encode(id) };
    const data = await crypto.subtle.encrypt(how, draftKey, bytes.encode(text));
    (await records('readwrite')).put({ id, iv, data, at: Date.now() } satisfies Sealed);
  } catch {
    // Storage refused: the draft is still in memory.
  }
}

/** Signing out: the page forgets; the sealed records wait for the next sign-in. */
export function lockDrafts(): void {
  memory.clear();
  draftKey = null;
}
