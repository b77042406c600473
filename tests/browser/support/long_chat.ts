// A conversation of 500 messages, for the journeys and the measurements of a long one.
import { expect, type Page } from '@playwright/test';
import type { Server } from './server';

export const longChat = 500;

const hex = (n: number, salt: string): string => (salt + n.toString(16)).padStart(32, '0');

/** Makes the conversation through the wire; returns its id. `salt`: hex digits, its own name. */
export async function makeLongChat(page: Page, server: Server, salt: string): Promise<string> {
  const conversation = hex(0, salt);
  const path = Array.from({ length: longChat - 1 }, (_, i) => ({
    id: hex(i + 1, salt),
    parent: i === 0 ? null : hex(i, salt),
    role: i % 2 === 0 ? 'user' : 'assistant',
    content:
      i === longChat - 2
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
      answer: hex(longChat, salt),
      model: 'scripted',
      thinking: 'default',
    },
  });
  expect(reply.status()).toBe(202);
  return conversation;
}

/** Opens a conversation as the sidebar does, without loading the page again. */
export async function openChat(page: Page, id: string): Promise<void> {
  await page.evaluate((path) => {
    history.pushState(null, '', path);
    window.dispatchEvent(new PopStateEvent('popstate'));
  }, `/c/${id}`);
}
