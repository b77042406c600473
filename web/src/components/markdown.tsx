/**
 * A text of the conversation, parsed by the worker. A text that grows is fed to the worker as it
 * comes and committed once a frame; a finished one is parsed once and its tree kept (5 MiB, LRU).
 */
import { batch, effect, useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { commit } from '../services/frames';
import { LiveText, parseWhole } from '../services/text';
import type { Live } from '../stores/live';
import type { Block } from '../text/tree';
import { Blocks } from './prose';

const keptBytesMax = 5 * 1024 * 1024;
const bytesPerCharacter = 6; // a tree's size, roughly, by its text

const kept = new Map<string, { text: string; blocks: Block[] }>();
let keptBytes = 0;

function keep(id: string, text: string, blocks: Block[]): void {
  forget(id);
  kept.set(id, { text, blocks });
  keptBytes += text.length * bytesPerCharacter;
  for (const old of kept.keys()) {
    if (keptBytes <= keptBytesMax) break;
    forget(old);
  }
}

function forget(id: string): void {
  const old = kept.get(id);
  if (old === undefined) return;
  kept.delete(id);
  keptBytes -= old.text.length * bytesPerCharacter;
}

function recall(id: string, text: string): Block[] | null {
  const known = kept.get(id);
  if (known === undefined || known.text !== text) return null;
  kept.delete(id);
  kept.set(id, known);
  return known.blocks;
}

interface MarkdownProps {
  id: string;
  text: string;
  live: Live | null; // the answer's making, if this page saw it
}

export function Markdown({ id, text, live }: MarkdownProps) {
  const growing = live !== null;
  const blocks = useSignal<Block[] | null>(recall(id, text));
  // The whole text is there, parsed, or plain for good.
  const settled = useSignal(blocks.peek() !== null && live?.ending.peek() !== null);
  const followed = useRef(false);

  useEffect(() => {
    if (live === null || (live.ending.peek() !== null && blocks.peek() !== null)) return;
    followed.current = true;
    settled.value = false;
    return followLive(
      id,
      live,
      (next) => (blocks.value = next),
      () => (settled.value = true),
    );
  }, [live]);

  useEffect(() => {
    if (growing || followed.current) return;
    const known = recall(id, text);
    if (known !== null) {
      blocks.value = known;
      settled.value = true;
      return;
    }
    let gone = false;
    void parseWhole(text).then((made) => {
      const tree = made ?? [{ t: 'html', v: text } as Block];
      keep(id, text, tree);
      if (gone) return;
      batch(() => {
        blocks.value = tree;
        settled.value = true;
      });
    });
    return () => void (gone = true);
  }, [id, text, growing]);

  if (blocks.value === null)
    return (
      <div class="prose" data-busy={!settled.value}>
        {growing ? null : <p class="plain">{text}</p>}
      </div>
    );
  return (
    <div class="prose" data-busy={!settled.value}>
      <Blocks blocks={blocks.value} />
    </div>
  );
}

/** Feeds a growing answer to the worker until it has ended; returns how to stop. */
function followLive(
  id: string,
  live: Live,
  show: (blocks: Block[]) => void,
  whole: () => void, // all of the text has been shown
): () => void {
  let blocks: Block[] = [];
  let stopped = false;
  const owner = {};
  const growing = new LiveText((from, next, append) => {
    if (append !== '') {
      const last = blocks[blocks.length - 1];
      if (last?.t === 'code') blocks = [...blocks.slice(0, -1), { ...last, v: last.v + append }];
    } else if (next.length > 0 || from < blocks.length) {
      blocks = [...blocks.slice(0, from), ...next];
    } else {
      return;
    }
    if (!stopped) commit(owner, () => show(blocks));
  });
  const feed = (): void => {
    if (document.visibilityState === 'visible') growing.set(live.shown.peek());
  };
  const stopFeeding = effect(() => {
    live.shown.value;
    if (live.ending.value === null) return feed();
    const text = live.text.peek();
    void growing.finish(text).then(() => {
      keep(id, text, blocks);
      if (!stopped) commit(growing, whole);
    });
  });
  document.addEventListener('visibilitychange', feed);
  return () => {
    stopped = true;
    stopFeeding();
    document.removeEventListener('visibilitychange', feed);
  };
}
