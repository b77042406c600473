/**
 * One commit a frame. Work given to `commit` runs together in the next animation frame; if that
 * took longer than 4 ms the next commits come every 2nd, 4th, 8th frame, until it is quick again.
 * While keys are pressed they go first: no commit in the frame of a key, and fewer of them where
 * they cost more. A hidden page has no animation frames: everything is committed once on return.
 */
import { batch } from '@preact/signals';

const budgetMs = 4;
const frameMs = 1000 / 60;
const skipMax = 8;
const typingMs = 500; // since the last key
const keyFrameMs = 30; // from a key until what it changed is on the screen of a slow machine
const typingGapMsMax = 150; // a key that is held down stops no stream
const typingShare = 20; // while keys come, commits take one part in so many of the time

const work = new Map<object, () => void>();
let scheduled = false;
let every = 1;
let spentMs = 0;
let committedAt = 0;
let keyAt = -typingMs;

window.addEventListener('keydown', () => (keyAt = performance.now()), { capture: true });

/** How long a commit has to wait yet. */
function waitMs(): number {
  const now = performance.now();
  const gapMs = now - committedAt;
  if (now - keyAt >= typingMs) return (every - 1) * frameMs - gapMs;
  const restMs = Math.max(spentMs * typingShare - gapMs, keyFrameMs - (now - keyAt));
  return Math.min(typingGapMsMax - gapMs, restMs);
}

/** A frame that nothing is done in costs, too: until a commit is due none is asked for. */
function schedule(): void {
  const wait = waitMs();
  if (wait > 0) window.setTimeout(() => requestAnimationFrame(frame), wait);
  else requestAnimationFrame(frame);
}

function frame(): void {
  if (waitMs() > 0) return schedule();
  const started = performance.now();
  scheduled = false;
  committedAt = started;
  const jobs = [...work.values()];
  work.clear();
  batch(() => jobs.forEach((job) => job()));
  // Preact renders in a microtask that was queued by the batch: this one runs after it.
  queueMicrotask(() => {
    spentMs = performance.now() - started;
    every = spentMs > budgetMs ? Math.min(skipMax, every * 2) : Math.max(1, every >> 1);
  });
}

/** Runs `job` in the next commit; a later job of the same owner takes its place. */
export function commit(owner: object, job: () => void): void {
  work.set(owner, job);
  if (scheduled) return;
  scheduled = true;
  schedule();
}
