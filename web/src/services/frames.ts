/**
 * One commit a frame. Work given to `commit` runs together in the next animation frame; if that
 * took longer than 4 ms the next commits come every 2nd, 4th, 8th frame, until it is quick again.
 * A hidden page has no animation frames: everything is committed once on return.
 */
import { batch } from '@preact/signals';

const budgetMs = 4;
const skipMax = 8;

const work = new Map<object, () => void>();
let scheduled = false;
let every = 1;
let skipped = 0;

function frame(): void {
  if (++skipped < every) {
    requestAnimationFrame(frame);
    return;
  }
  skipped = 0;
  scheduled = false;
  const jobs = [...work.values()];
  work.clear();
  const started = performance.now();
  batch(() => jobs.forEach((job) => job()));
  // Preact renders in a microtask that was queued by the batch: this one runs after it.
  queueMicrotask(() => {
    const spent = performance.now() - started;
    every = spent > budgetMs ? Math.min(skipMax, every * 2) : Math.max(1, every >> 1);
  });
}

/** Runs `job` in the next commit; a later job of the same owner takes its place. */
export function commit(owner: object, job: () => void): void {
  work.set(owner, job);
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(frame);
}
