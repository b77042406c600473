/**
 * Pictures as bytes: what kind they are, and the addresses under which the page shows them. An
 * address (blob:) lives as long as something shows it, and a while longer for what scrolls back.
 */
import { api, ApiError } from './api';

const keptUnusedMax = 32;
const sniffBytes = 12;

const own = new Map<string, Blob>(); // of this page: sent again if the server has forgotten them
const onServer = new Set<string>();

interface Shown {
  url: Promise<string | null>;
  users: number;
}
const shown = new Map<string, Shown>(); // the latest use last

const types: [string, RegExp][] = [
  ['image/png', /^\x89PNG\r\n\x1a\n/],
  ['image/jpeg', /^\xff\xd8\xff/],
  ['image/webp', /^RIFF[^]{4}WEBP/],
];

/** By the first bytes, whatever a name says; "": none that the server reads. */
export async function kindOf(blob: Blob): Promise<string> {
  const bytes = new Uint8Array(await blob.slice(0, sniffBytes).arrayBuffer());
  const text = String.fromCharCode(...bytes);
  return types.find(([, start]) => start.test(text))?.[0] ?? '';
}

export function keepPicture(id: string, blob: Blob): void {
  own.set(id, blob);
}

export function sizeOfPicture(id: string): number {
  return own.get(id)?.size ?? 0;
}

async function blobOf(id: string): Promise<Blob | null> {
  const known = own.get(id);
  if (known !== undefined) return known;
  try {
    const blob = await api.picture(id);
    own.set(id, blob);
    onServer.add(id);
    return blob;
  } catch (error) {
    if (error instanceof ApiError) return null;
    throw error;
  }
}

/** Its address, or null if there is no such picture any more. Give it back with `release`. */
export function acquire(id: string): Promise<string | null> {
  const known = shown.get(id);
  shown.delete(id);
  const url = known?.url ?? blobOf(id).then((blob) => (blob ? URL.createObjectURL(blob) : null));
  shown.set(id, { url, users: (known?.users ?? 0) + 1 });
  return url;
}

export function release(id: string): void {
  const known = shown.get(id);
  if (known === undefined) return;
  known.users--;
  const unused = [...shown].filter(([, one]) => one.users === 0);
  for (const [old, one] of unused.slice(0, Math.max(0, unused.length - keptUnusedMax))) {
    shown.delete(old);
    void one.url.then((url) => url !== null && URL.revokeObjectURL(url));
  }
}

/** Sends what the server has not got yet. What it has forgotten stays its own to say. */
export async function sendPictures(ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const blob = own.get(id);
    if (blob === undefined || onServer.has(id)) continue;
    await api.sendPicture(id, blob);
    onServer.add(id);
  }
}

/** The server has not got these. True if all of them can be sent again. */
export function forgotten(ids: readonly string[]): boolean {
  for (const id of ids) onServer.delete(id);
  return ids.length > 0 && ids.every((id) => own.has(id));
}

export async function savePicture(id: string, name: string): Promise<void> {
  const url = await acquire(id);
  if (url !== null) {
    const link = document.createElement('a');
    link.href = url;
    link.download = name;
    link.click();
  }
  release(id);
}
