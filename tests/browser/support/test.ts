// The fixtures: a server of one's own, a page that is signed in, and the eyes that watch every
// page for errors, foreign requests and reports of the page's policy.
import { test as base, expect, type Page } from '@playwright/test';
import { Server } from './server';

interface Watched {
  errors: string[];
  foreign: string[];
}

interface Fixtures {
  serverArgs: string[];
  server: Server;
  watched: Watched;
  chat: Page; // signed in, at an empty chat
}

/** Resource errors are expected where a journey provokes a refusal; nothing else is. */
const harmless = /Failed to load resource|Service Worker registration blocked/;

export function watch(page: Page, origin: string, watched: Watched): void {
  page.on('pageerror', (error) => watched.errors.push(String(error)));
  page.on('console', (message) => {
    const bad = message.type() === 'error' || message.type() === 'warning';
    if (bad && !harmless.test(message.text())) watched.errors.push(message.text());
  });
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(origin) && !url.startsWith('blob:')) watched.foreign.push(url);
  });
}

export const test = base.extend<Fixtures>({
  serverArgs: [[], { option: true }],
  server: async ({ serverArgs }, use) => {
    const server = await Server.scripted(serverArgs);
    await use(server);
    await server.close();
  },
  watched: async ({}, use) => {
    const watched: Watched = { errors: [], foreign: [] };
    await use(watched);
    expect(watched.errors).toEqual([]);
    expect(watched.foreign).toEqual([]);
  },
  chat: async ({ page, server, watched }, use) => {
    watch(page, server.origin, watched);
    await enter(page, server);
    await use(page);
  },
});

/** Sets the server up through its own endpoint and opens the chat. */
export async function enter(page: Page, server: Server): Promise<void> {
  const reply = await page.request.post(`${server.origin}/site/setup`, {
    headers: { origin: server.origin },
    data: { code: server.code, mode: 'just_me' },
  });
  expect(reply.status()).toBe(200);
  await page.goto(server.origin);
  await expect(page.locator('#box')).toBeVisible();
}

export async function send(page: Page, text: string): Promise<void> {
  await page.locator('#box').fill(text);
  await page.locator('.send').click();
}

export const answers = (page: Page) => page.locator('.message.assistant');
export const lastAnswer = (page: Page) => answers(page).last();

const stopDeafMs = 400; // after Send became Stop a click is taken for a double click on Send

/** Waits until the button that sent is one that stops. */
export async function canStop(page: Page): Promise<void> {
  await expect(page.locator('.send.stop')).toBeVisible();
  const from = await page.evaluate(() => performance.now());
  await page.waitForFunction((ms) => performance.now() > ms, from + stopDeafMs);
}

/** The answer has ended: its actions are there, and all of its text is shown. */
export async function ended(page: Page, timeout?: number): Promise<void> {
  await expect(lastAnswer(page).locator('.actions[data-busy="false"]')).toBeVisible({ timeout });
  await expect(lastAnswer(page).locator('.prose[data-busy="false"]')).toBeAttached();
}

/** The script that plays stands at a `gate`: the rest comes now. */
export async function openGate(page: Page, server: Server): Promise<void> {
  const headers = { origin: server.origin };
  const reply = await page.request.get(`${server.origin}/site/session`);
  const { running } = (await reply.json()) as { running: { generation: string }[] };
  expect(running).toHaveLength(1);
  const opened = await page.request.post(
    `${server.origin}/site/generations/${running[0]!.generation}/answer`,
    { headers, data: {} },
  );
  expect(opened.status()).toBe(204);
}

/**
 * Remembers every text that elements of `selector` show from now on, however briefly, and returns
 * a question to it: what is seen must not depend on when a test looks.
 */
export async function remember(page: Page, selector: string): Promise<() => Promise<string>> {
  await page.evaluate((wanted) => {
    const all = window as never as { seen?: Map<string, Set<string>> };
    const texts = new Set<string>();
    (all.seen ??= new Map()).set(wanted, texts);
    const note = (): void => {
      for (const found of document.querySelectorAll(wanted)) texts.add(found.textContent ?? '');
    };
    const what = { childList: true, subtree: true, characterData: true };
    new MutationObserver(note).observe(document.body, what);
    note();
  }, selector);
  return () =>
    page.evaluate(
      (wanted) =>
        [...(window as never as { seen: Map<string, Set<string>> }).seen.get(wanted)!].join('\n'),
      selector,
    );
}

/** Stops all of the page's script, as in a frozen tab; returns how to let it go on. */
export async function freeze(page: Page): Promise<() => Promise<void>> {
  const session = await page.context().newCDPSession(page);
  const stands = new Promise<void>((resolve) => session.once('Debugger.paused', () => resolve()));
  await session.send('Debugger.enable');
  await session.send('Debugger.pause'); // at the next line that the page runs
  await stands;
  return async () => {
    await session.send('Debugger.resume');
    await session.send('Debugger.disable');
  };
}

/** The newest answer's text as the server keeps it. */
export async function stored(page: Page, server: Server): Promise<string> {
  const id = new URL(page.url()).pathname.split('/')[2];
  const reply = await page.request.get(`${server.origin}/site/conversations/${id}`);
  const { messages } = (await reply.json()) as { messages: { role: string; content: string }[] };
  return messages.filter((node) => node.role === 'assistant').pop()?.content ?? '';
}

/** Words only: what a person reads, without the layout's white space. */
export const words = (text: string): string => text.replace(/\s+/g, ' ').trim();

export { expect };
