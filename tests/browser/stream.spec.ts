// Journeys 4, 5 and 6: the view holds still, thinking, stopping.
import {
  canStop,
  ended,
  expect,
  lastAnswer,
  openGate,
  send,
  stored,
  test,
  words,
} from './support/test';

const scrollTop = (page: import('@playwright/test').Page): Promise<number> =>
  page.locator('.scroller').evaluate((element) => element.scrollTop);

/** How far the last question's top is below the top of the view. */
const questionTop = (page: import('@playwright/test').Page): Promise<number> =>
  page
    .locator('.message.user')
    .last()
    .evaluate((element) => {
      const view = element.closest('.scroller')!.getBoundingClientRect();
      return element.getBoundingClientRect().top - view.top;
    });

test('the question goes to the top and the view holds still through 2,000 tokens', async ({
  chat,
  server,
}) => {
  await send(chat, '/script stream 120 tokens at 2000/s');
  await ended(chat);
  await send(chat, '/script stream 2000 tokens at 800/s');
  await expect.poll(() => questionTop(chat)).toBeLessThan(40);
  const top = await scrollTop(chat);
  await chat.evaluate(() => {
    const view = document.querySelector('.scroller')!;
    const seen = ((window as never as { tops: Set<number> }).tops = new Set([view.scrollTop]));
    const look = (): void => {
      seen.add(view.scrollTop);
      requestAnimationFrame(look);
    };
    look();
  });
  await expect(chat.getByRole('button', { name: 'New text below' })).toBeVisible();
  await ended(chat);
  const tops = await chat.evaluate(() => [...(window as never as { tops: Set<number> }).tops]);
  expect(tops).toEqual([top]);
  expect(words(await lastAnswer(chat).locator('.prose').innerText())).toBe(
    words(await stored(chat, server)),
  );
});

test('a tall line that comes and goes at the end does not move the question', async ({ chat }) => {
  await send(chat, '/script stream 120 tokens at 2000/s');
  await ended(chat);
  await send(chat, '/script stream 20 tokens at 2000/s');
  await expect(chat.locator('.message.user')).toHaveCount(2);
  await ended(chat);
  await expect.poll(() => questionTop(chat)).toBeLessThan(40);
  const top = await questionTop(chat);
  await lastAnswer(chat).evaluate(async (answer) => {
    const frames = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) await new Promise(requestAnimationFrame);
    };
    const line = document.createElement('div');
    line.style.height = '200px';
    answer.append(line);
    await frames(3);
    // Between two frames, and laid out there: the browser's scroll event comes before anybody
    // hears of the new size.
    await new Promise((resolve) => setTimeout(resolve));
    line.remove();
    answer.closest('.scroller')!.getBoundingClientRect();
    const word = document.createElement('div');
    word.style.height = '30px';
    answer.append(word); // and the text goes on at once
    await frames(3);
    word.remove();
  });
  expect(await questionTop(chat)).toBe(top);
});

test('the pill follows the end; the wheel stops that at once; a return resumes it', async ({
  chat,
}) => {
  await send(chat, '/script stream 3900 tokens at 130/s');
  await chat.getByRole('button', { name: 'New text below' }).click();
  await expect(chat.locator('.scroller')).toBeFocused(); // the pill that had the focus is gone
  const gap = (): Promise<number> =>
    chat.locator('.scroller').evaluate((e) => e.scrollHeight - e.scrollTop - e.clientHeight);
  await expect.poll(gap).toBeLessThan(64); // the room that is always left under the end
  const before = await scrollTop(chat);
  await expect.poll(() => scrollTop(chat)).toBeGreaterThan(before);

  await chat.locator('.scroller').hover();
  await chat.mouse.wheel(0, -40);
  await expect(chat.getByRole('button', { name: 'New text below' })).toBeVisible();
  const held = await scrollTop(chat);
  const length = (await lastAnswer(chat).innerText()).length;
  await expect
    .poll(async () => (await lastAnswer(chat).innerText()).length)
    .toBeGreaterThan(length + 400);
  expect(await scrollTop(chat)).toBe(held);

  await chat.mouse.wheel(0, 100_000);
  await expect(chat.getByRole('button', { name: 'New text below' })).toBeHidden();
  const resumed = await scrollTop(chat);
  await expect.poll(() => scrollTop(chat)).toBeGreaterThan(resumed);
  await chat.keyboard.press('Escape');
  await ended(chat);
});

test('the pill waits while something is pressed: it is let go where it was', async ({ chat }) => {
  await send(chat, '/script stream 900 tokens at 4000/s');
  await ended(chat);
  const pill = chat.getByRole('button', { name: 'New text below' });
  await chat.keyboard.press('End');
  await expect(pill).toBeHidden();
  const view = (await chat.locator('.scroller').boundingBox())!;
  await chat.mouse.move(view.x + view.width / 2, view.y + view.height - 10);
  await chat.mouse.wheel(0, -1); // the end is not followed any more
  await chat.mouse.down();
  const height = await chat.locator('.scroller').evaluate(async (scroller) => {
    scroller.scrollTop -= 300;
    for (let frames = 0; frames < 3; frames++) await new Promise(requestAnimationFrame);
    return scroller.clientHeight;
  });
  expect(height).toBe(view.height);
  await expect(pill).toBeHidden();
  await chat.mouse.up();
  await expect(pill).toBeVisible();
});

test('thinking stays closed, opens, stays open; Answer now ends it', async ({ chat }) => {
  await send(chat, '/script think 40 tokens at 100/s; hold; stream 12 tokens');
  const head = chat.locator('.thinking-head');
  await expect(head).toHaveAttribute('aria-expanded', 'false');
  await expect(chat.locator('.thinking-line')).not.toHaveText(/^\s*$/);
  await expect(chat.locator('.thinking-body')).toBeHidden();
  await head.click();
  await expect(head).toHaveAttribute('aria-expanded', 'true');
  await expect(chat.locator('.thinking-body')).toBeVisible();
  await chat.getByRole('button', { name: 'Answer now' }).click();
  await ended(chat);
  await expect(head).toHaveAttribute('aria-expanded', 'true');
  await expect(head).toHaveText(/Thought for \d+\ss · \d+ tokens/);
  await expect(lastAnswer(chat).locator('.prose')).not.toBeEmpty();

  await send(chat, '/script think 10 tokens; stream 5 tokens');
  await ended(chat);
  await expect(head.last()).toHaveAttribute('aria-expanded', 'true');
});

test('the seconds of thinking are the server’s', async ({ chat, server }) => {
  await send(chat, '/script think 30 tokens at 20/s; stream 5 tokens');
  await ended(chat);
  const id = new URL(chat.url()).pathname.split('/')[2];
  const reply = await chat.request.get(`${server.origin}/site/conversations/${id}`);
  const { messages } = (await reply.json()) as {
    messages: { usage?: { thinking_ms: number; reasoning_tokens: number } }[];
  };
  const usage = messages[messages.length - 1]!.usage!;
  await expect(chat.locator('.thinking-head')).toContainText(
    `${Math.round(usage.thinking_ms / 1000)}\u00a0s`,
  );
  await expect(chat.locator('.thinking-head')).toContainText(`${usage.reasoning_tokens} tokens`);
});

test('stop: said at once, frozen, confirmed by the server; the text is kept', async ({
  chat,
  server,
}) => {
  await send(chat, '/script stream 5000 tokens at 100/s');
  await expect(lastAnswer(chat).locator('.prose')).toContainText(/(\S+ ){20}/);
  await canStop(chat);
  await chat.getByRole('button', { name: 'Stop', exact: true }).click();
  await expect(chat.locator('.note', { hasText: 'Stopped by you' })).toBeVisible();
  await ended(chat);
  const shown = words(await lastAnswer(chat).locator('.prose').innerText());
  expect(shown.length).toBeGreaterThan(10);
  expect(shown).toBe(words(await stored(chat, server)));
  await expect(chat.getByRole('button', { name: 'Send', exact: true })).toBeVisible();
});

test('stopping is said in the next frame, before any word of the server; the text freezes', async ({
  chat,
  server,
}) => {
  let answered = (): void => {};
  const held = new Promise<void>((resolve) => (answered = resolve));
  await chat.route('**/site/generations/*', async (route) => {
    if (route.request().method() === 'DELETE') await held;
    await route.continue();
  });
  await send(chat, '/script stream 40 tokens; gate; stream 20 tokens; gate; stream 9 tokens');
  const prose = lastAnswer(chat).locator('.prose');
  await expect(prose).toContainText(/(\S+ ){39}/);
  await canStop(chat);
  const said = await chat.evaluate(async () => {
    const button = document.querySelector<HTMLButtonElement>('.send.stop')!;
    button.click();
    await new Promise(requestAnimationFrame);
    return button.textContent;
  });
  expect(said).toBe('Stopping…');
  // Words that still arrive are kept, but the text stands still until the end is known.
  const shown = await prose.innerText();
  const before = (await stored(chat, server)).length;
  await openGate(chat, server);
  await expect.poll(async () => (await stored(chat, server)).length).toBeGreaterThan(before);
  await expect(chat.locator('.note', { hasText: 'not confirmed the stop' })).toBeVisible();
  expect(await prose.innerText()).toBe(shown);
  answered();
  await expect(chat.locator('.note', { hasText: 'Stopped by you' })).toBeVisible();
  await ended(chat);
  expect(words(await prose.innerText())).toBe(words(await stored(chat, server)));
});

test('stopping stops the computing: no step of the engine comes after it', async ({
  chat,
  server,
}) => {
  const steps = async (): Promise<number> => {
    const headers = { authorization: `Bearer ${server.key}` };
    const reply = await chat.request.get(`${server.origin}/metrics`, { headers });
    return Number(/^nautile:engine_steps_total(?:\{.*\})? (\d+)/m.exec(await reply.text())![1]);
  };
  const first = await steps();
  await send(chat, '/script stream 3000 tokens at 100/s');
  await expect(lastAnswer(chat).locator('.prose')).toContainText(/(\S+ ){20}/);
  await canStop(chat);
  await chat.getByRole('button', { name: 'Stop', exact: true }).click();
  await expect(chat.locator('.note', { hasText: 'Stopped by you' })).toBeVisible();
  const stopped = await steps();
  expect(stopped - first).toBe((await stored(chat, server)).trim().split(/\s+/).length);
  // The next answer's steps are the only ones that come.
  await send(chat, '/script stream 30 tokens');
  await ended(chat);
  expect((await steps()) - stopped).toBe(30);
});
