// Times, sizes and memory of the page beside their budgets. Not a test: it says what it found and
// never fails for a number, because numbers depend on what else the machine does. `run` starts it.
import { gzipSync } from 'node:zlib';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CDPSession, Page } from '../../tests/browser/node_modules/@playwright/test';
import { longChat, makeLongChat, openChat } from '../../tests/browser/support/long_chat';
import { siteDir } from '../../tests/browser/support/places';
import type { Server } from '../../tests/browser/support/server';
import {
  canStop,
  ended,
  enter,
  expect,
  freeze,
  lastAnswer,
  send,
  test,
} from '../../tests/browser/support/test';

test.use({ serverArgs: ['--context', '1000000'] });

const slowCpu = 4;
const last = `[aria-posinset="${longChat}"]`;

interface Row {
  what: string;
  unit: string;
  budget: number;
  measured: number;
}

/** What is noted in the page while keys are pressed, in ms. */
interface Probe {
  keys: number[];
  tasks: number[];
  painted: Map<number, number>; // by interaction; those under 16 ms are not told
}

interface Timing extends PerformanceEntry {
  interactionId: number;
}

const rows: Row[] = [];
const note = (what: string, unit: string, budget: number, measured: number): void =>
  void rows.push({ what, unit, budget, measured });

test.afterAll(() => {
  const line = (cells: string[]): string =>
    `${cells[0]!.padEnd(68)}${cells[1]!.padStart(10)}${cells[2]!.padStart(10)}  ${cells[3]!}`;
  console.log(`\n${line(['', 'budget', 'measured', ''])}`);
  for (const { what, unit, budget, measured } of rows) {
    const digits = measured < 10 && !Number.isInteger(measured) ? 2 : 0;
    const cells = [what, `${budget}`, measured.toFixed(digits), unit];
    console.log(line(cells) + (measured > budget ? '  OVER' : ''));
  }
});

async function throttle(page: Page, rate: number): Promise<CDPSession> {
  const session = await page.context().newCDPSession(page);
  await session.send('Emulation.setCPUThrottlingRate', { rate });
  return session;
}

function share(values: number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
}

/** The value of every performance entry of a kind since the page was opened. */
function entries(page: Page, type: string, field: string): Promise<number[]> {
  return page.evaluate(
    ([kind, name]) =>
      new Promise<number[]>((resolve) => {
        const out: number[] = [];
        new PerformanceObserver((list) => {
          const found = list.getEntries() as never as Record<string, number>[];
          for (const entry of found) out.push(entry[name!]!);
        }).observe({ type: kind!, buffered: true });
        setTimeout(() => resolve(out), 500);
      }),
    [type, field] as const,
  );
}

test('first load', async ({ chat, server }) => {
  const packed = (pattern: RegExp): number =>
    readdirSync(join(siteDir, 'assets'))
      .filter((name) => pattern.test(name))
      .map((name) => gzipSync(readFileSync(join(siteDir, 'assets', name)), { level: 9 }).length)
      .reduce((sum, size) => sum + size, 0) / 1024;
  note('script of the first load, gzip', 'KiB', 90, packed(/^(?:index|worker)-.*\.js$/));
  note('style of the first load, gzip', 'KiB', 12, packed(/^index-.*\.css$/));
  for (const [rate, budget] of [
    [1, 1000],
    [slowCpu, 2000],
  ] as const) {
    const session = await throttle(chat, rate);
    const paints: number[] = [];
    for (let i = 0; i < 5; i++) {
      await chat.goto('about:blank');
      await chat.goto(server.origin);
      await expect(chat.locator('#box')).toBeVisible();
      paints.push(Math.max(...(await entries(chat, 'largest-contentful-paint', 'startTime'))));
    }
    note(`largest paint, CPU ÷ ${rate}, median of 5`, 'ms', budget, share(paints, 0.5));
    const shifts = await entries(chat, 'layout-shift', 'value');
    note(`layout shift, CPU ÷ ${rate}`, '', 0, shifts.reduce((sum, x) => sum + x, 0));
    await session.send('Emulation.setCPUThrottlingRate', { rate: 1 });
  }
});

test('a long chat', async ({ chat, server }) => {
  const ids: string[] = [];
  for (let i = 0; i < 20; i++) ids.push(await makeLongChat(chat, server, `c${10 + i}`));
  const opened: number[] = [];
  for (const id of ids.slice(0, 9)) {
    await chat.evaluate((end) => {
      const fetched = window.fetch;
      let start = 0;
      const all = window as never as { opened: Promise<number> };
      window.fetch = async (...args) => {
        const reply = await fetched(...args);
        if (String(args[0]).includes('/conversations/')) start = performance.now();
        return reply;
      };
      all.opened = new Promise((resolve) => {
        const look = (): void => {
          if (start > 0 && document.querySelector(end) !== null) {
            window.fetch = fetched;
            resolve(performance.now() - start);
          } else {
            requestAnimationFrame(look);
          }
        };
        look();
      });
    }, last);
    await openChat(chat, id);
    opened.push(await chat.evaluate(() => (window as never as { opened: Promise<number> }).opened));
    await openChat(chat, '');
  }
  const middle = share(opened, 0.5);
  note('500 messages: from the reply to the last screen, median of 9', 'ms', 300, middle);

  for (const id of ids) {
    await openChat(chat, id);
    await expect(chat.locator(last)).toBeVisible();
  }
  const session = await throttle(chat, slowCpu);
  await session.send('HeapProfiler.collectGarbage');
  await session.send('Performance.enable');
  const { metrics } = await session.send('Performance.getMetrics');
  const heap = metrics.find((m) => m.name === 'JSHeapUsedSize')!.value;
  note('heap after 20 chats of 500 messages', 'MiB', 80, heap / 1024 / 1024);

  await send(chat, '/script stream 3000 tokens at 60/s');
  await expect(lastAnswer(chat).locator('.prose')).toContainText(/(\S+ ){10}/);
  await chat.evaluate(() => {
    const all = window as never as Probe;
    all.keys = [];
    all.tasks = [];
    all.painted = new Map();
    new PerformanceObserver((list) => {
      for (const { interactionId: id, duration } of list.getEntries() as Timing[]) {
        if (id > 0) all.painted.set(id, Math.max(duration, all.painted.get(id) ?? 0));
      }
    }).observe({ type: 'event', durationThreshold: 16 } as PerformanceObserverInit);
    new PerformanceObserver((list) => {
      for (const task of list.getEntries()) all.tasks.push(task.duration);
    }).observe({ type: 'longtask' });
    document.addEventListener(
      'keydown',
      (event) =>
        requestAnimationFrame(() =>
          setTimeout(() => all.keys.push(performance.now() - event.timeStamp)),
        ),
      { capture: true },
    );
  });
  for (let round = 0; round < 4; round++) {
    await chat.locator('#box').fill('');
    await chat.keyboard.type('the quick brown fox jumps over it', { delay: 60 });
  }
  const { keys, tasks, painted } = await chat.evaluate(() => {
    const all = window as never as Probe;
    return { keys: all.keys, tasks: all.tasks, painted: [...all.painted.values()] };
  });
  const name = `a key at 60 tokens/s in 500 messages, CPU ÷ ${slowCpu}`;
  // The browser's own word for it (Event Timing, in steps of 8 ms: what INP is made of) ...
  note(`${name}, painted, p98`, 'ms', 50, share(painted, 0.98));
  // ... and a clock in the page, which also counts what comes before its timer gets its turn.
  note(`${name}, median`, 'ms', 50, share(keys, 0.5));
  note(`${name}, p98`, 'ms', 50, share(keys, 0.98));
  note(`long tasks meanwhile, longest`, 'ms', 50, Math.max(0, ...tasks));
  await chat.keyboard.press('Escape');
  await ended(chat);
});

test('stopping', async ({ chat, server }) => {
  const said: number[] = [];
  const still: number[] = [];
  for (let i = 0; i < 5; i++) {
    await send(chat, '/script stream 9000 tokens at 200/s');
    await expect(lastAnswer(chat).locator('.prose')).toContainText(/(\S+ ){40}/);
    await canStop(chat);
    const start = Date.now();
    said.push(
      await chat.evaluate(async () => {
        const button = document.querySelector<HTMLButtonElement>('.send.stop')!;
        const changed = new Promise<number>((resolve) => {
          const seen = new MutationObserver(() => resolve(performance.now()));
          seen.observe(button, { childList: true, subtree: true, characterData: true });
        });
        const from = performance.now();
        button.click();
        return (await changed) - from;
      }),
    );
    still.push((await stoodStill(chat, server)) - start);
    await ended(chat);
  }
  note('from the click to "Stopping…", longest of 5', 'ms', 50, Math.max(...said));
  const longest = Math.max(...still);
  note('from the click to the last step of the engine, longest of 5', 'ms', 300, longest);
});

/** When the engine's counter of steps moved for the last time (200 steps a second until then). */
async function stoodStill(page: Page, server: Server): Promise<number> {
  const headers = { authorization: `Bearer ${server.key}` };
  let before = -1;
  let moved = Date.now();
  while (Date.now() - moved < 500) {
    const reply = await page.request.get(`${server.origin}/metrics`, { headers });
    const counted = /^nautile:engine_steps_total(?:\{.*\})? (\d+)/m.exec(await reply.text());
    const now = Number(counted![1]);
    if (now !== before) moved = Date.now();
    before = now;
  }
  return moved;
}

test('the leading tab is frozen', async ({ browser, server }) => {
  const context = await browser.newContext({ serviceWorkers: 'block' });
  const leader = await context.newPage();
  await enter(leader, server);
  await send(leader, '/script stream 9000 tokens at 30/s');
  await expect(leader).toHaveURL(/\/c\//);
  const other = await context.newPage();
  await other.goto(leader.url());
  await expect(other.locator('.prose').last()).toContainText(/(\S+ ){5}/);
  const stolen = other.waitForRequest((request) => request.url().includes('/site/events'));
  await freeze(leader);
  const start = Date.now();
  await stolen;
  note('another tab takes the stream of a frozen one', 's', 15, (Date.now() - start) / 1000);
  await context.close();
});
