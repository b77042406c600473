// Journey 15: waiting and trouble: the words, the buttons, what is announced.
import type { Page } from '@playwright/test';
import { answers, ended, expect, lastAnswer, openGate, remember, send, test } from './support/test';

const said = (page: Page) => page.locator('.hidden[role="status"]');
const alarmed = (page: Page) => page.locator('.hidden[role="alert"]');

/** The next request to start a generation is refused with these words of the wire. */
async function refuseOnce(
  page: Page,
  status: number,
  body: object,
  headers: Record<string, string> = {},
): Promise<void> {
  const reply = { status, contentType: 'application/json', headers, body: JSON.stringify(body) };
  await page.route('**/site/generations', (route) => route.fulfill(reply), { times: 1 });
}

/** A slow machine: what the page calls kept before it is written is lost by a reload. */
async function slowSealing(page: Page): Promise<void> {
  await page.addInitScript((ms) => {
    const fast = crypto.subtle.encrypt.bind(crypto.subtle);
    crypto.subtle.encrypt = async (...all) => {
      await new Promise((go) => setTimeout(go, ms));
      return fast(...all);
    };
  }, 500);
  await page.reload();
  await expect(page.locator('#box')).toBeVisible();
}

test('the queue has a place and a time, turns into loading, reading and the answer', async ({
  chat,
  server,
}) => {
  await send(
    chat,
    '/script queue 3 for 60 s still; gate; queue 3 for 60 s still at 100; gate;' +
      'load for 60 s still at 30; gate; read 500 still at 41; gate; stream 10 tokens',
  );
  const card = lastAnswer(chat).locator('.card.progress');
  await expect(card).toContainText(/You are number 3 in line, about 48–\S*72\ss/);
  await expect(said(chat)).toHaveText('Number 3 in line.');
  await expect(card.getByRole('progressbar')).toBeVisible();
  await openGate(chat, server);
  await expect(card).toContainText('You are next.');
  await expect(said(chat)).toHaveText('You are next.');
  await openGate(chat, server);
  await expect(card).toContainText(/Loading .+ into memory, about 42\ss/);
  await openGate(chat, server);
  await expect(card).toContainText(/Reading your text: 41\s%/);
  await expect(card.getByRole('progressbar')).toHaveAttribute('aria-valuenow', '41');
  await openGate(chat, server);
  await ended(chat);
  await expect(said(chat)).toHaveText('Answer ready');
});

test('the line can be left', async ({ chat }) => {
  await send(chat, '/script queue 4 for 60 s still; hold; stream 10 tokens');
  await chat.getByRole('button', { name: 'Leave the line' }).click();
  await expect(chat.locator('.note', { hasText: 'Stopped by you' })).toBeVisible();
  await expect(said(chat)).toHaveText('Stopped by you. What was written is kept.');
});

test('one message waits for the running answer, visible and cancellable', async ({ chat }) => {
  await send(chat, '/script stream 10 tokens; hold');
  await expect(chat.getByRole('button', { name: 'Stop', exact: true })).toBeVisible();
  await chat.locator('#box').fill('next please');
  await chat.keyboard.press('Enter');
  await expect(chat.locator('.waiting')).toContainText('next please');
  await expect(chat.locator('#box')).toHaveValue('');
  await chat.getByRole('button', { name: 'Take back' }).click();
  await expect(chat.locator('#box')).toHaveValue('next please');
  await chat.keyboard.press('Enter');
  await chat.keyboard.press('Escape');
  await expect(answers(chat)).toHaveCount(2);
  await ended(chat);
  await expect(chat.locator('.bubble').last()).toHaveText('next please');
});

test('too many at once: counts down and goes out by itself', async ({ chat }) => {
  await refuseOnce(chat, 429, { error: { message: 'slow' } }, { 'retry-after': '2' });
  const trouble = await remember(chat, '.trouble');
  const alarms = await remember(chat, '.hidden[role="alert"]');
  await send(chat, '/script stream 10 tokens');
  await ended(chat);
  expect(await trouble()).toMatch(/goes out by itself in \d+\ss/);
  expect(await alarms()).toContain('Too many requests at once');
  await expect(chat.locator('.trouble')).toHaveCount(0);
  await expect(answers(chat)).toHaveCount(1);
});

test('the engine is restarting: a time, then by itself', async ({ chat }) => {
  const body = { error: { message: 'restarting', code: 'engine' }, reason: 'engine' };
  await refuseOnce(chat, 503, body, { 'retry-after': '2' });
  const trouble = await remember(chat, '.trouble');
  await send(chat, '/script stream 10 tokens');
  await ended(chat);
  expect(await trouble()).toMatch(/The engine is restarting, about \d+\ss/);
  await expect(answers(chat)).toHaveCount(1);
});

const refusals: [string, number, object, RegExp][] = [
  ['quota', 402, { error: { message: 'quota' } }, /tokens are used up/],
  ['disk', 507, { error: { message: 'disk' } }, /disk is full: answers work, saving does not/],
  ['fault', 500, { error: { message: 'x', code: 'E7' } }, /The server failed \(code E7\)/],
  [
    'long',
    413,
    { error: { message: 'x', code: 'size' }, reason: 'size', bytes_max: 9_000 },
    /too long: 1\skB, and the server takes 9\skB at most/,
  ],
];
for (const [name, status, body, text] of refusals) {
  test(`${name}: said where it happened, kept, tried again`, async ({ chat }) => {
    await refuseOnce(chat, status, body);
    await send(chat, '/script stream 10 tokens');
    await expect(chat.locator('.trouble')).toContainText(text);
    await expect(alarmed(chat)).toContainText(text);
    await expect(chat.locator('.bubble')).toHaveText('/script stream 10 tokens');
    await chat.getByRole('button', { name: 'Back to the box' }).click();
    await expect(chat.locator('#box')).toHaveValue('/script stream 10 tokens');
    await chat.keyboard.press('Control+Enter');
    await ended(chat);
    await expect(answers(chat)).toHaveCount(1);
  });
}

test('an answer that fails says so and can be asked again', async ({ chat }) => {
  await send(chat, '/script stream 10 tokens; fail');
  await expect(lastAnswer(chat).locator('.trouble')).toContainText('The answer failed.');
  await expect(alarmed(chat)).toContainText('The answer failed.');
  const reason = 'Reason: The script says that this one fails.';
  await expect(lastAnswer(chat).locator('.trouble')).toContainText(reason);
  await lastAnswer(chat).getByRole('button', { name: 'Ask again' }).first().click();
  await expect(lastAnswer(chat).locator('.versions')).toContainText('2/2');
});

test('length: what was written is kept, and can go on', async ({ chat }) => {
  await send(chat, '/script stream 10 tokens; length');
  await expect(lastAnswer(chat).locator('.trouble')).toContainText('reached its length limit');
  await lastAnswer(chat).getByRole('button', { name: 'Continue' }).click();
  await expect(answers(chat)).toHaveCount(1);
});

test.describe('no model', () => {
  test.use({ serverArgs: ['--no-models'] });
  test('the page says what to run', async ({ chat }) => {
    await expect(chat.locator('.empty')).toContainText(
      'No model is installed. On the server, run:',
    );
    await expect(chat.locator('.command')).toContainText('nautile serve --model ');
    await send(chat, 'hello');
    await expect(chat.locator('.trouble')).toContainText('No model is installed');
  });
});

test.describe('no usable model', () => {
  test.use({ serverArgs: ['--unusable'] });
  test('the page names the file, the reason and what to do', async ({ chat }) => {
    const reason = /notes\s*notes\.gguf is no GGUF file \(it begins .+\)\. Download the model/;
    await expect(chat.locator('.empty')).toContainText('None of the models here can be used.');
    await expect(chat.locator('.empty')).not.toContainText('No model is installed');
    await expect(chat.locator('.unusable li')).toHaveText(reason);
    await send(chat, 'hello');
    await expect(chat.locator('.trouble')).toContainText('notes.gguf is no GGUF file');
  });
});

test.describe('what was refused is kept', () => {
  test('larger than the server takes: said with the limit, in the box after a reload', async ({
    chat,
  }) => {
    // A lower limit than the server's own: to lay out a megabyte in the box takes half a minute.
    await chat.route('**/site/session', async (route) => {
      const reply = await route.fetch();
      const state = (await reply.json()) as { limits: { message_bytes_max: number } };
      expect(state.limits.message_bytes_max).toBe(1024 * 1024);
      state.limits.message_bytes_max = 64_000;
      await route.fulfill({ response: reply, json: state });
    });
    await chat.reload();
    await expect(chat.locator('#box')).toBeVisible();
    const text = 'word '.repeat(20_000);
    await send(chat, text);
    await expect(chat.locator('.trouble.long')).toContainText(
      /too long: 100\skB, and the server takes 64\skB at most/,
    );
    await expect(chat.getByRole('button', { name: 'Try again' })).toHaveCount(0);
    await chat.reload();
    await expect(chat.locator('#box')).toHaveValue(text);
    await expect(chat).toHaveURL(/\/$/);
    await chat.unrouteAll({ behavior: 'wait' }); // the server ends with the test
  });

  test('in a conversation, through two reloads, until it is sent', async ({ chat }) => {
    await slowSealing(chat);
    await send(chat, '/script say first');
    await ended(chat);
    await refuseOnce(chat, 500, { error: { message: 'x', code: 'E7' } });
    await send(chat, '/script say second');
    await expect(chat.locator('.trouble')).toContainText('Your message is kept.');
    await chat.reload();
    await expect(chat.locator('#box')).toHaveValue('/script say second');
    await expect(answers(chat)).toHaveCount(1);
    await chat.reload();
    await expect(chat.locator('#box')).toHaveValue('/script say second');
    await chat.locator('#box').press('Enter');
    await expect(answers(chat)).toHaveCount(2);
    await ended(chat);
    await chat.reload();
    await expect(answers(chat)).toHaveCount(2);
    await expect(chat.locator('#box')).toHaveValue('');
  });

  test('sent at the second try: it does not come back', async ({ chat }) => {
    await refuseOnce(chat, 500, { error: { message: 'x', code: 'E7' } });
    await send(chat, '/script say once');
    await chat.getByRole('button', { name: 'Try again' }).click();
    await ended(chat);
    await chat.reload();
    await expect(answers(chat)).toHaveCount(1);
    await expect(chat.locator('#box')).toHaveValue('');
  });

  test('a message that waits for the running answer', async ({ chat }) => {
    await slowSealing(chat);
    await send(chat, '/script stream 10 tokens; hold');
    await expect(chat.getByRole('button', { name: 'Stop', exact: true })).toBeVisible();
    await chat.locator('#box').fill('next please');
    await chat.keyboard.press('Enter');
    await expect(chat.locator('.waiting')).toContainText('next please');
    await chat.reload();
    await expect(chat.locator('#box')).toHaveValue('next please');
  });
});

test.describe('full context', () => {
  test.use({ serverArgs: ['--context', '300'] });

  /** Fills the conversation until the next question no longer fits. */
  async function fill(page: Page): Promise<void> {
    for (let i = 0; i < 2; i++) {
      await send(page, `/script say at 4000/s ${'word '.repeat(60)}`);
      await ended(page);
    }
    await send(page, `one more ${'long '.repeat(70)}`);
    await expect(page.locator('.trouble.full')).toContainText(
      /The conversation no longer fits: \d+ tokens too many. Nothing was cut. Choose:/,
    );
  }

  test('leave out the oldest: a line shows what is no longer read', async ({ chat }) => {
    await fill(chat);
    await chat.getByRole('button', { name: /Leave out the oldest/ }).click();
    await expect(chat.locator('.full-line')).toHaveText(
      'The model no longer reads above this line.',
    );
    await expect(answers(chat)).toHaveCount(3);
    await ended(chat);
    await expect(chat.locator('.bubble').first()).toBeAttached();
  });

  test('a new chat with a summary; the question waits in the box', async ({ chat }) => {
    await fill(chat);
    const old = chat.url();
    await chat.getByRole('button', { name: 'Go on in a new chat with a summary' }).click();
    await expect(chat).not.toHaveURL(old);
    await expect(chat.locator('.bubble')).toContainText('Summarise this conversation');
    await ended(chat);
    await expect(chat.locator('#box')).toHaveValue(/^one more long/);
  });

  test('a model that reads more', async ({ chat }) => {
    await fill(chat);
    await chat.getByRole('button', { name: /, which reads more/ }).click();
    await ended(chat);
    await expect(answers(chat)).toHaveCount(3);
    await expect(chat.locator('.mark')).toContainText('answers from here');
  });

  test('one message too long for it: no summary is offered, the ring is full', async ({ chat }) => {
    const text = 'word '.repeat(400).trim();
    await send(chat, text);
    await expect(chat.locator('.trouble.alone')).toContainText(
      /This message is \d+ tokens too long to be read whole\. Nothing was cut\./,
    );
    await expect(chat.getByRole('button', { name: /summary/ })).toHaveCount(0);
    await expect(chat.getByRole('button', { name: 'Try again' })).toHaveCount(0);
    await expect(chat.locator('.head-button').last()).toContainText('Context 100 %');
    await chat.reload();
    await expect(chat.locator('#box')).toHaveValue(text);
    await chat.locator('#box').press('Enter');
    await chat.getByRole('button', { name: /, which reads more/ }).click();
    await ended(chat);
    await expect(answers(chat)).toHaveCount(1);
  });

  test('the answer itself fills the context', async ({ chat }) => {
    await send(chat, '/script stream 10 tokens; full');
    await expect(lastAnswer(chat).locator('.trouble.full')).toContainText(
      'The answer stopped because the context is full.',
    );
    await expect(chat.getByRole('button', { name: /, which reads more/ })).toBeVisible();
  });

  test('after an answer that filled it: the next question, a summary', async ({ chat }) => {
    await send(chat, '/script stream 290 tokens at 4000/s; full');
    const full = lastAnswer(chat).locator('.trouble.full');
    await expect(full).toContainText('The answer stopped because the context is full.');
    await send(chat, 'and then?');
    await expect(chat.locator('.trouble.full').last()).toContainText(/no longer fits: \d+ tokens/);
    await chat.getByRole('button', { name: 'Back to the box' }).click();
    const old = chat.url();
    await full.getByRole('button', { name: 'Go on in a new chat with a summary' }).click();
    await expect(chat).not.toHaveURL(old);
    await ended(chat);
    await expect(chat.locator('.bubble')).toContainText('Summarise this conversation');
    await expect(chat.locator('.bubble')).toContainText('… ');
  });
});

test('signed out in another place: the sign-in stands over the page, the text is kept', async ({
  chat,
  server,
}) => {
  await chat.route('**/site/generations', (route) => route.fulfill({ status: 401, body: '{}' }), {
    times: 1,
  });
  await send(chat, 'still here');
  const dialog = chat.getByRole('dialog', { name: 'Sign in' });
  await expect(dialog).toContainText('your message is still here');
  await expect(chat.locator('#box')).toHaveValue('still here');
  await dialog.getByLabel('One-time code').fill(server.newestCode());
  await dialog.getByRole('button', { name: 'Sign in' }).click();
  await ended(chat);
  await expect(chat.locator('.bubble')).toHaveText('still here');
  await expect(chat.locator('#box')).toHaveValue('');
});
