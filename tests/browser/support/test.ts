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

/** The answer has ended: its actions are there. */
export async function ended(page: Page, timeout = 30_000): Promise<void> {
  await expect(lastAnswer(page).locator('.actions[data-busy="false"]')).toBeVisible({ timeout });
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
