// Journey 11: 500 messages, 60 tokens a second, a CPU four times slower.
import type { CDPSession, Page } from '@playwright/test';
import { ended, expect, lastAnswer, send, test } from './support/test';
import type { Server } from './support/server';

test.use({ serverArgs: ['--context', '1000000'] });

const calibratedMs = 60; // the loop below on an idle core of the machine that this was written on

/** How much slower this machine is now than an idle one: the budgets are for an idle one. */
async function slowness(page: Page): Promise<number> {
  const ms = await page.evaluate(() => {
    const start = performance.now();
    let x = 1;
    for (let i = 0; i < 3e7; i++) x = (x * 1103515245 + 12345) | 0;
    return performance.now() - start + (x === 7 ? 1 : 0);
  });
  return Math.max(1, ms / calibratedMs);
}

const hex = (n: number, salt: string): string => (salt + n.toString(16)).padStart(32, '0');

/** A conversation of 500 messages, made through the wire. */
async function seed(page: Page, server: Server, salt: string): Promise<string> {
  const conversation = hex(0, salt);
  const path = Array.from({ length: 499 }, (_, i) => ({
    id: hex(i + 1, salt),
    parent: i === 0 ? null : hex(i, salt),
    role: i % 2 === 0 ? 'user' : 'assistant',
    content:
      i === 498
        ? '/script stream 3 tokens'
        : `Message **${i}** with \`code\` and some words. `.repeat(5),
    created_unix_ms: 1_700_000_000_000 + i,
  }));
  const reply = await page.request.post(`${server.origin}/site/generations`, {
    headers: { origin: server.origin },
    data: {
      key: hex(1, `e${salt}`),
      conversation,
      path,
      answer: hex(500, salt),
      model: 'scripted',
      thinking: 'default',
    },
  });
  expect(reply.status()).toBe(202);
  return conversation;
}

async function throttle(page: Page, rate: number): Promise<CDPSession> {
  const session = await page.context().newCDPSession(page);
  await session.send('Emulation.setCPUThrottlingRate', { rate });
  return session;
}

test('500 messages open last screen first, and few of them are mounted', async ({
  chat,
  server,
}) => {
  const id = await seed(chat, server, 'a');
  const slow = await slowness(chat);
  await chat.goto(server.origin);
  await chat.evaluate(() => {
    const open = window as never as { opened: Promise<number> };
    let start = 0;
    const fetched = window.fetch.bind(window);
    window.fetch = async (...args) => {
      const reply = await fetched(...args);
      if (String(args[0]).includes('/conversations/')) start = performance.now();
      return reply;
    };
    open.opened = new Promise((resolve) => {
      const look = (): void => {
        const last = document.querySelector('[aria-posinset="500"]');
        if (last !== null) resolve(performance.now() - start);
        else requestAnimationFrame(look);
      };
      look();
    });
  });
  await chat.locator(`a[href="/c/${id}"]`).click();
  const ms = await chat.evaluate(() => (window as never as { opened: Promise<number> }).opened);
  expect(ms).toBeLessThan(300 * slow);
  await expect(chat.locator('[aria-posinset="500"]')).toBeInViewport();
  expect(await chat.locator('.turns > li').count()).toBeLessThanOrEqual(60);

  // Far up: other messages are mounted, and the one that is read does not move while they settle.
  await chat.locator('.scroller').hover();
  for (let i = 0; i < 10; i++) await chat.mouse.wheel(0, -1500);
  await expect(chat.locator('[aria-posinset="500"]')).toHaveCount(0);
  expect(await chat.locator('.turns > li').count()).toBeLessThanOrEqual(60);
  await chat.keyboard.press('Home');
});

test('typing stays quick while an answer streams at 60 tokens a second', async ({
  chat,
  server,
}) => {
  test.setTimeout(120_000);
  const id = await seed(chat, server, 'b');
  await chat.goto(`${server.origin}/c/${id}`);
  await expect(chat.locator('[aria-posinset="500"]')).toBeVisible();
  const slow = await slowness(chat);
  await throttle(chat, 4);
  await send(chat, '/script stream 2000 tokens at 60/s');
  await expect(lastAnswer(chat).locator('.prose')).toContainText(/(\S+ ){10}/);
  await chat.evaluate(() => {
    const times: number[] = ((window as never as { times: number[] }).times = []);
    document.addEventListener(
      'keydown',
      (event) => {
        // From the key to the end of the frame that shows it.
        requestAnimationFrame(() =>
          setTimeout(() => times.push(performance.now() - event.timeStamp)),
        );
      },
      { capture: true },
    );
  });
  await chat.locator('#box').pressSequentially('the quick brown fox jumps over it', { delay: 60 });
  const times = await chat.evaluate(() => (window as never as { times: number[] }).times);
  expect(times.length).toBeGreaterThan(25);
  const sorted = [...times].sort((a, b) => a - b);
  const p98 = sorted[Math.floor(sorted.length * 0.98) - 1]!;
  // One frame of the display (17 ms) is in the number besides the 50 ms of the interaction.
  expect(p98).toBeLessThan((50 + 17) * slow * 1.5);
  await expect(chat.locator('#box')).toHaveValue('the quick brown fox jumps over it');
  await chat.keyboard.press('Escape');
  await ended(chat);
});

test('the heap after twenty chats', async ({ chat, server }) => {
  test.setTimeout(120_000);
  for (let i = 0; i < 20; i++) {
    const id = await seed(chat, server, `c${i.toString(16).padStart(2, '0')}`);
    await chat.evaluate((path) => {
      history.pushState(null, '', path);
      window.dispatchEvent(new PopStateEvent('popstate'));
    }, `/c/${id}`);
    await expect(chat.locator('[aria-posinset="500"]')).toBeVisible();
  }
  const session = await chat.context().newCDPSession(chat);
  await session.send('HeapProfiler.enable');
  await session.send('HeapProfiler.collectGarbage');
  await session.send('Performance.enable');
  const { metrics } = await session.send('Performance.getMetrics');
  const heap = metrics.find((m) => m.name === 'JSHeapUsedSize')!.value;
  expect(heap).toBeLessThan(80 * 1024 * 1024);
});
