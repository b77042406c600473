// Journey 12: whatever breaks, the text equals what the server sealed; nothing twice.
import {
  answers,
  ended,
  expect,
  freeze,
  lastAnswer,
  openGate,
  send,
  stored,
  test,
  words,
} from './support/test';

const shown = async (page: import('@playwright/test').Page): Promise<string> =>
  words(await lastAnswer(page).locator('.prose').innerText());

test('the engine dies: said, kept, continued in the same answer', async ({ chat, server }) => {
  await send(chat, '/script stream 40 tokens at 200/s; die');
  await expect(lastAnswer(chat).locator('.trouble')).toContainText(
    'The engine restarted during the answer. What was written is kept.',
  );
  await ended(chat);
  const before = await shown(chat);
  expect(before).toBe(words(await stored(chat, server)));
  // The engine needs a moment to come back; until then the page says so and tries by itself.
  await lastAnswer(chat).getByRole('button', { name: 'Continue' }).click();
  await expect.poll(() => shown(chat)).not.toBe(before);
  await expect(lastAnswer(chat).locator('.trouble')).toBeVisible();
  await ended(chat);
  expect(await shown(chat)).toBe(words(await stored(chat, server)));
  expect((await shown(chat)).startsWith(before)).toBe(true);
  await expect(answers(chat)).toHaveCount(1);
});

test('the server is killed: banner, text and draft kept, the chat goes on', async ({
  chat,
  server,
}) => {
  await send(chat, '/script stream 40 tokens; hold');
  await expect.poll(async () => (await shown(chat)).split(' ').length).toBe(40);
  const kept = await shown(chat);
  await server.kill();
  await expect(chat.locator('.banner')).toContainText('No connection to the server');
  expect(await shown(chat)).toBe(kept);
  await chat.locator('#box').fill('typed while it was away');
  await server.run();
  await expect(chat.locator('.banner')).toBeHidden();
  await expect(lastAnswer(chat).locator('.trouble.cut')).toContainText(
    'The server was stopped during the answer.',
  );
  expect(await shown(chat)).toBe(kept);
  await expect(chat.locator('#box')).toHaveValue('typed while it was away');
  await chat.keyboard.press('Control+Enter');
  await expect(answers(chat)).toHaveCount(2);
  await ended(chat);
  expect(await shown(chat)).toBe(words(await stored(chat, server)));
});

test('the server is stopped during an answer: said; a further question keeps it', async ({
  chat,
  server,
}) => {
  await send(chat, '/script stream 40 tokens; hold');
  await expect.poll(async () => (await shown(chat)).split(' ').length).toBe(40);
  const kept = await shown(chat);
  await server.kill('SIGTERM');
  await expect(lastAnswer(chat).locator('.trouble.cut')).toContainText(
    'The server was stopped during the answer. What was written is on this page only: ' +
      'a reload loses it, a further question keeps it.',
  );
  expect(await shown(chat)).toBe(kept);
  await server.run();
  await expect(chat.locator('.banner')).toBeHidden();
  await send(chat, '/script say after');
  await expect(answers(chat)).toHaveCount(2);
  await ended(chat);
  await chat.reload();
  await expect(answers(chat)).toHaveCount(2);
  expect(words(await answers(chat).first().locator('.prose').innerText())).toBe(kept);
});

test('nothing comes for half a minute: the same text, once', async ({ chat, server }) => {
  await send(chat, '/script stream 40 tokens; gate; stream 200 tokens at 400/s');
  await expect(lastAnswer(chat).locator('.prose')).toContainText(/(\S+ ){20}/);
  server.pause(); // the connection stays, silent: as dead as a network that went away
  await expect(chat.locator('.banner')).toBeVisible({ timeout: 120_000 });
  await expect(chat.getByRole('button', { name: 'Stop', exact: true })).toBeVisible();
  server.resume();
  await openGate(chat, server);
  await ended(chat);
  await expect(chat.locator('.banner')).toBeHidden();
  expect(await shown(chat)).toBe(words(await stored(chat, server)));
});

test('the tab is frozen, the clock jumps: nothing is missing afterwards', async ({
  chat,
  server,
}) => {
  await send(chat, '/script stream 20 tokens; gate; stream 300 tokens at 1000/s');
  await expect(lastAnswer(chat).locator('.prose')).toContainText(/(\S+ ){10}/);
  const thaw = await freeze(chat);
  await openGate(chat, server);
  await expect
    .poll(async () => (await stored(chat, server)).split(' ').length)
    .toBeGreaterThan(200);
  await thaw();
  await chat.evaluate(() => {
    const now = Date.now.bind(Date);
    Date.now = () => now() + 3_600_000;
  });
  await ended(chat);
  expect(await shown(chat)).toBe(words(await stored(chat, server)));
});

test('a reload in mid-answer takes it up from the beginning', async ({ chat, server }) => {
  await send(chat, '/script think 30 tokens; stream 40 tokens; gate; stream 100 tokens');
  await expect(lastAnswer(chat).locator('.prose')).toContainText(/(\S+ ){10}/);
  await chat.reload();
  await expect(lastAnswer(chat).locator('.prose')).toContainText(/(\S+ ){30}/);
  await expect(chat.locator('.head-button').last()).toContainText(/Context [1-9]\d*\s%/);
  await openGate(chat, server);
  await ended(chat);
  expect(await shown(chat)).toBe(words(await stored(chat, server)));
  await expect(chat.locator('.thinking-head')).toContainText('30 tokens');
});

test('sent before the conversation is here, it comes after its last message', async ({ chat }) => {
  await send(chat, '/script say first');
  await ended(chat);
  let go = (): void => {};
  const held = new Promise<void>((resolve) => (go = resolve));
  await chat.route('**/site/conversations/*', async (route) => {
    await held;
    await route.continue();
  });
  const asked = chat.waitForRequest('**/site/conversations/*');
  await chat.reload();
  await asked;
  await chat.locator('#box').fill('/script say second');
  await chat.locator('#box').press('Enter');
  await expect(chat.locator('#box')).toHaveValue('/script say second');
  go();
  await expect(answers(chat)).toHaveCount(2);
  await ended(chat);
  await expect(chat.locator('.versions')).toHaveCount(0);
  await expect(chat.locator('#box')).toHaveValue('');
  await chat.unrouteAll({ behavior: 'wait' });
});

test('an answer to the request is lost: trying again answers once', async ({ chat, server }) => {
  await chat.route(
    '**/site/generations',
    async (route) => {
      await route.fetch();
      await route.abort();
    },
    { times: 1 },
  );
  await send(chat, '/script stream 20 tokens');
  await expect(chat.locator('.trouble')).toContainText('No connection to the server');
  await chat.getByRole('button', { name: 'Try again' }).click();
  await ended(chat);
  await expect(answers(chat)).toHaveCount(1);
  const id = new URL(chat.url()).pathname.split('/')[2];
  const reply = await chat.request.get(`${server.origin}/site/conversations/${id}`);
  expect(((await reply.json()) as { messages: unknown[] }).messages).toHaveLength(2);
});

test('a draft survives a reload, sealed; nothing readable is stored', async ({ chat }) => {
  const secret = 'a very private draft';
  await chat.locator('#box').fill(secret);
  const records = (): Promise<number> =>
    chat.evaluate(
      () =>
        new Promise<number>((resolve) => {
          const open = indexedDB.open('nautile', 1);
          open.onsuccess = () => {
            const all = open.result.transaction('drafts').objectStore('drafts').getAll();
            all.onsuccess = () => resolve(all.result.length);
          };
        }),
    );
  await expect.poll(records).toBe(1);
  const readable = await chat.evaluate(async () => {
    const open = indexedDB.open('nautile', 1);
    await new Promise((resolve) => (open.onsuccess = resolve));
    const all = open.result.transaction('drafts').objectStore('drafts').getAll();
    await new Promise((resolve) => (all.onsuccess = resolve));
    const text = all.result.map((r: { data: ArrayBuffer }) => new TextDecoder().decode(r.data));
    return text.join() + JSON.stringify({ ...localStorage, ...sessionStorage });
  });
  expect(readable).not.toContain('private');
  await chat.reload();
  await expect(chat.locator('#box')).toHaveValue(secret);
  await chat.keyboard.press('Control+Enter');
  await ended(chat);
  await expect.poll(records).toBe(0);
});
