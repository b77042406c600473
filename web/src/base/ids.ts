/** Ids are chosen by the page: 16 random bytes as hex, so that a retry repeats nothing. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
