// Journey 11: what keeps a long conversation quick, as structure: how much is mounted, what a
// frame touches, what stays behind. Times and their budgets are measured by bench/site, by hand.
import type { CDPSession, Page } from '@playwright/test';
import { longChat, makeLongChat, openChat } from './support/long_chat';
import { ended, expect, lastAnswer, openGate, send, test, words } from './support/test';

test.use({ serverArgs: ['--context', '1000000'] });

const mountedMax = 60;
const nodesMax = 6000; // of the whole page, at 60 mounted messages of the kind made here
const heapBytesMax = 80 * 1024 * 1024; // site.md; measured after a collection: about 5 MiB
const last = `[aria-posinset="${longChat}"]`;

test('500 messages open last screen first, and few of them are ever mounted', async ({
  chat,
  server,
}) => {
  const id = await makeLongChat(chat, server, 'a');
  await chat.goto(server.origin);
  await chat.evaluate((end) => {
    const seen = { most: 0, firstHasLast: null as boolean | null };
    (window as never as { mounted: typeof seen }).mounted = seen;
    new MutationObserver(() => {
      const count = document.querySelectorAll('.turns > li').length;
      seen.most = Math.max(seen.most, count);
      if (count > 0) seen.firstHasLast ??= document.querySelector(end) !== null;
    }).observe(document.body, { childList: true, subtree: true });
  }, last);
  await chat.locator(`a[href="/c/${id}"]`).click();
  await expect(chat.locator(last)).toBeInViewport();

  // Far up: other messages are mounted, and those at the end are not any more.
  await chat.locator('.scroller').hover();
  for (let i = 0; i < 10; i++) await chat.mouse.wheel(0, -1500);
  await expect(chat.locator(last)).toHaveCount(0);
  await chat.keyboard.press('Home');
  await chat.locator('.scroller').evaluate((view) => (view.scrollTop = 0));
  await expect(chat.locator('[aria-posinset="1"]')).toBeInViewport();
  const seen = await chat.evaluate(
    () => (window as never as { mounted: { most: number; firstHasLast: boolean } }).mounted,
  );
  expect(seen.firstHasLast).toBe(true);
  expect(seen.most).toBeGreaterThan(5);
  expect(seen.most).toBeLessThanOrEqual(mountedMax);
  expect(await chat.evaluate(() => document.querySelectorAll('*').length)).toBeLessThan(nodesMax);
});

/** Counts, from now on, what each change of the page touches; `read` takes what was counted. */
async function watchChanges(page: Page): Promise<() => Promise<Changes>> {
  await page.evaluate(() => {
    const out = {
      commits: 0,
      doubled: 0,
      frozen: [] as string[],
      composer: 0,
      elsewhere: [] as string[],
    };
    (window as never as { changes: typeof out }).changes = out;
    const answer = [...document.querySelectorAll('.message.assistant')].pop()!;
    const composer = document.querySelector('.composer')!;
    let frame = -1;
    new MutationObserver((list) => {
      let committed = false;
      for (const change of list) {
        const at = change.target;
        if (composer.contains(at)) {
          out.composer++;
        } else if (!answer.contains(at)) {
          // The room under a short answer may change; when there is none left the pill comes.
          const element = at instanceof Element ? at : at.parentElement!;
          const mayChange = element.matches('.spacer, .scroll-box');
          if (!mayChange) out.elsewhere.push(element.outerHTML.slice(0, 120));
        } else {
          committed = true;
          const prose = answer.querySelector('.prose')!;
          const blocks = [...prose.children];
          // Only the block that grows and the one that begins after it may be touched.
          const block = blocks.findIndex((child) => child.contains(at));
          if (block >= 0 && block < blocks.length - 2) out.frozen.push(blocks[block]!.outerHTML);
        }
      }
      if (!committed) return;
      out.commits++;
      const now = Number(document.timeline.currentTime);
      if (now === frame) out.doubled++;
      frame = now;
    }).observe(document.body, {
      childList: true,
      subtree: true,
      characterData: true,
      attributes: true,
    });
  });
  return () => page.evaluate(() => (window as never as { changes: Changes }).changes);
}

interface Changes {
  commits: number; // changes of the answer
  doubled: number; // of these, second ones in the same frame
  frozen: string[]; // finished blocks that were touched
  composer: number;
  elsewhere: string[];
}

test('a streamed answer touches its last block, once a frame, and nothing else', async ({
  chat,
  server,
}) => {
  const id = await makeLongChat(chat, server, 'b');
  await chat.goto(`${server.origin}/c/${id}`);
  await expect(chat.locator(last)).toBeVisible();
  const script = '/script stream 20 tokens; gate; stream 400 tokens at 120/s; gate; stream 5';
  // The ring moves once for an answer, when its prompt has been measured: before the gate opens.
  const measured = chat.waitForResponse((reply) => {
    if (!reply.url().endsWith('/site/measure')) return false;
    const { path } = reply.request().postDataJSON() as { path: { content: string }[] };
    return path[path.length - 1]!.content === script;
  });
  await send(chat, script);
  await measured;
  await expect(lastAnswer(chat).locator('.prose')).toContainText(/(\S+ ){19}/);
  await chat.locator('#box').fill('typed before');
  await expect(chat.locator('#box')).toBeFocused();
  await chat.locator('#box').evaluate((box: HTMLTextAreaElement) => box.setSelectionRange(3, 5));

  const changes = await watchChanges(chat);
  await openGate(chat, server);
  const shown = async (): Promise<number> =>
    words(await lastAnswer(chat).locator('.prose').innerText()).split(' ').length;
  await expect.poll(shown).toBe(420);
  const streamed = await changes();
  expect(streamed.commits).toBeGreaterThan(5);
  expect(streamed.doubled).toBe(0);
  expect(streamed.frozen).toEqual([]);
  expect(streamed.elsewhere).toEqual([]);
  expect(streamed.composer).toBe(0);
  const kept = await chat
    .locator('#box')
    .evaluate((box: HTMLTextAreaElement) => [box.value, box.selectionStart, box.selectionEnd]);
  expect(kept).toEqual(['typed before', 3, 5]);
  expect(await chat.locator('.turns > li').count()).toBeLessThanOrEqual(mountedMax);

  // And a key touches the box alone.
  const typed = await watchChanges(chat);
  await chat.keyboard.press('End');
  await chat.keyboard.type(' and after');
  await expect(chat.locator('#box')).toHaveValue('typed before and after');
  const { commits, elsewhere, composer } = await typed();
  expect([commits, elsewhere, composer]).toEqual([0, [], 0]); // the box grows by itself
  await chat.keyboard.press('Escape');
  await ended(chat);
});

test('a key that is held down goes before the text, which goes on', async ({ chat, server }) => {
  await send(chat, '/script stream 5 tokens; gate; stream 60 tokens at 60/s; gate');
  await expect(lastAnswer(chat).locator('.prose')).toContainText(/(\S+ ){4}/);
  await chat.evaluate(() => {
    const held = { frameMs: 0, commits: [] as number[], on: true };
    (window as never as { held: typeof held }).held = held;
    // In each frame before the commit, which is asked for by a frame of the stream.
    const press = (): void => {
      if (held.on) requestAnimationFrame(press);
      held.frameMs = performance.now();
      window.dispatchEvent(new KeyboardEvent('keydown', { key: 'Shift', repeat: true }));
    };
    press();
    const answer = [...document.querySelectorAll('.message.assistant .prose')].pop()!;
    // By the frame: how long the text takes to be drawn is no part of the gap.
    new MutationObserver(() => held.commits.push(held.frameMs)).observe(answer, {
      childList: true,
      subtree: true,
      characterData: true,
    });
  });
  await openGate(chat, server);
  const shown = async (): Promise<number> =>
    words(await lastAnswer(chat).locator('.prose').innerText()).split(' ').length;
  await expect.poll(shown).toBe(65);
  const commits = await chat.evaluate(() => {
    const { held } = window as never as { held: { commits: number[]; on: boolean } };
    held.on = false;
    return held.commits;
  });
  const gaps = commits.slice(1).map((at, i) => at - commits[i]!);
  expect(gaps.length).toBeGreaterThan(1);
  expect(Math.min(...gaps)).toBeGreaterThan(100); // of the 150 that a commit waits at most
  await openGate(chat, server);
  await ended(chat);
});

interface Held {
  nodes: number;
  listeners: number;
  heap: number;
}

async function held(session: CDPSession): Promise<Held> {
  // Twice: what is freed by the first collection's callbacks goes with the second.
  for (let i = 0; i < 2; i++) await session.send('HeapProfiler.collectGarbage');
  const { metrics } = await session.send('Performance.getMetrics');
  const of = (name: string): number => metrics.find((m) => m.name === name)!.value;
  return { nodes: of('Nodes'), listeners: of('JSEventListeners'), heap: of('JSHeapUsedSize') };
}

test('twenty long chats leave nothing behind', async ({ chat, server }) => {
  const ids: string[] = [];
  for (let i = 0; i < 20; i++) {
    ids.push(await makeLongChat(chat, server, `c${i.toString(16).padStart(2, '0')}`));
  }
  const session = await chat.context().newCDPSession(chat);
  await session.send('HeapProfiler.enable');
  await session.send('Performance.enable');
  const visit = async (id: string): Promise<Held> => {
    await openChat(chat, id);
    await expect(chat.locator(last)).toBeVisible();
    await expect(chat.locator('.prose[data-busy="true"]')).toHaveCount(0);
    return held(session);
  };
  const seen: Held[] = [];
  for (const id of ids) seen.push(await visit(id));
  // From the tenth on every cache of the page is full: nothing may grow with the number of chats.
  const [early, late] = [seen[9]!, seen[19]!];
  test.info().annotations.push({ type: 'held', description: JSON.stringify([early, late]) });
  expect(late.nodes).toBeLessThan(early.nodes * 1.1);
  expect(late.listeners).toBeLessThan(early.listeners * 1.1);
  expect(late.heap).toBeLessThan(heapBytesMax);
});
