/**
 * Reads that overlap may be answered in another order than they were asked in. None gives an older
 * answer than one that was given already: who was overtaken gets the newer one.
 */
export function inOrder<T>(read: () => Promise<T>): () => Promise<T> {
  let asked = 0;
  let newest: { n: number; answer: T } | null = null;
  return async () => {
    const n = ++asked;
    const answer = await read();
    if (newest === null || newest.n < n) newest = { n, answer };
    return newest.answer;
  };
}
