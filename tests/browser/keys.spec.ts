// Journey 7: what Enter does, composition, and the whole page without a mouse.
import type { Page } from '@playwright/test';
import { answers, ended, expect, send, test } from './support/test';

interface Key {
  type: 'keydown' | 'compositionstart' | 'compositionend';
  at?: number; // ms: when the system says that it happened
  init?: KeyboardEventInit & { keyCode?: number };
}

/** Sends synthetic events to the box, as an input method does. */
async function play(page: Page, events: Key[]): Promise<void> {
  await page.locator('#box').evaluate((box, list) => {
    for (const { type, init, at } of list) {
      const event =
        type === 'keydown'
          ? new KeyboardEvent(type, { bubbles: true, cancelable: true, key: 'Enter', ...init })
          : new CompositionEvent(type, { bubbles: true });
      if (init?.keyCode !== undefined)
        Object.defineProperty(event, 'keyCode', { value: init.keyCode });
      if (at !== undefined) Object.defineProperty(event, 'timeStamp', { value: at });
      box.dispatchEvent(event);
    }
  }, events);
}

test('an Enter that belongs to a composition never sends', async ({ chat }) => {
  const box = chat.locator('#box');
  await box.fill('にほん');
  await play(chat, [
    { type: 'compositionstart' },
    { type: 'keydown', init: { isComposing: true } },
    { type: 'keydown', init: { keyCode: 229 } },
    { type: 'compositionend', at: 50_000 },
    { type: 'keydown', at: 50_020 }, // Safari's order: the Enter that ended it comes after its end
  ]);
  await expect(box).toHaveValue('にほん');
  await expect(answers(chat)).toHaveCount(0);
  await play(chat, [{ type: 'keydown', at: 50_040 }]); // an Enter of its own
  await expect(answers(chat)).toHaveCount(1);
});

test('Enter sends, Shift+Enter breaks the line, Ctrl+Enter always sends', async ({ chat }) => {
  const box = chat.locator('#box');
  await box.fill('one');
  await box.press('Shift+Enter');
  await box.pressSequentially('two');
  await expect(box).toHaveValue('one\ntwo');
  await box.press('Enter');
  await expect(chat.locator('.bubble')).toHaveText('one\ntwo');
  await expect(box).toHaveValue('');
  await ended(chat);

  await chat.evaluate(() => {
    const old = JSON.parse(localStorage.getItem('nautile.prefs') ?? '{}') as object;
    localStorage.setItem('nautile.prefs', JSON.stringify({ ...old, enter: 'newline' }));
  });
  await chat.reload();
  await box.fill('three');
  await box.press('Enter');
  await expect(box).toHaveValue('three\n');
  await box.press('Control+Enter');
  await expect(answers(chat)).toHaveCount(2);
});

test('the box that edits a question has the same Enter', async ({ chat }) => {
  const editor = chat.getByLabel('Edit the question');
  await chat.locator('#box').fill('one');
  await chat.locator('#box').press('Enter');
  await ended(chat);
  await chat.locator('#box').press('ArrowUp');
  await editor.press('Shift+Enter');
  await editor.pressSequentially('two');
  await expect(editor).toHaveValue('one\ntwo');
  await editor.press('Enter');
  await expect(chat.locator('.bubble')).toHaveText('one\ntwo');
  await ended(chat);

  await chat.evaluate(() => {
    const old = JSON.parse(localStorage.getItem('nautile.prefs') ?? '{}') as object;
    localStorage.setItem('nautile.prefs', JSON.stringify({ ...old, enter: 'newline' }));
  });
  await chat.reload();
  await expect(chat.locator('.bubble')).toBeVisible();
  await chat.locator('#box').press('ArrowUp');
  await editor.press('Enter');
  await editor.pressSequentially('three');
  await expect(editor).toHaveValue('one\ntwo\nthree');
  await editor.press('Control+Enter');
  await expect(chat.locator('.bubble')).toHaveText('one\ntwo\nthree');
  await expect(chat.locator('.message.user .versions')).toContainText('3/3');
});

test('on a touch screen Enter starts a new line', async ({ browser, server, chat }) => {
  await expect(chat.locator('#box')).toBeVisible();
  const context = await browser.newContext({
    hasTouch: true,
    isMobile: true,
    viewport: { width: 390, height: 800 },
    storageState: await chat.context().storageState(),
  });
  const page = await context.newPage();
  await page.goto(server.origin);
  await page.locator('#box').fill('a');
  await page.locator('#box').press('Enter');
  await expect(page.locator('#box')).toHaveValue('a\n');
  await context.close();
});

test('the whole of it without a mouse', async ({ chat }) => {
  await expect(chat.locator('#box')).toBeFocused();
  await chat.keyboard.type('/script stream 20 tokens');
  await chat.keyboard.press('Enter');
  await ended(chat);
  await chat.keyboard.type('/script stream 20 tokens then');
  await chat.keyboard.press('Enter');
  await expect(answers(chat)).toHaveCount(2);
  await ended(chat);

  // ↑ in an empty box edits the last question; sending makes a second version.
  await chat.keyboard.press('ArrowUp');
  const editor = chat.getByLabel('Edit the question');
  await expect(editor).toBeFocused();
  await chat.keyboard.type(' again');
  await chat.keyboard.press('Control+Enter');
  await expect(chat.locator('.message.user .versions')).toContainText('2/2');
  await ended(chat);

  // From message to message, and to the last answer.
  await chat.locator('.scroller').focus();
  await chat.keyboard.press('Alt+Shift+ArrowDown');
  await expect(answers(chat).last()).toBeFocused();
  await chat.keyboard.press('Alt+ArrowUp');
  await expect(chat.locator('.message.user').last()).toBeFocused();

  // The palette opens the settings; the theme changes by keys; back to a new chat.
  await chat.keyboard.press('Control+k');
  await expect(chat.getByRole('combobox')).toBeFocused();
  await chat.keyboard.type('settings');
  await chat.keyboard.press('Enter');
  await expect(chat.getByRole('heading', { name: 'Settings' })).toBeVisible();
  await chat.getByRole('radio', { name: 'As the system' }).focus();
  await chat.keyboard.press('ArrowRight');
  await chat.keyboard.press('ArrowRight');
  await expect(chat.locator('html')).toHaveAttribute('data-theme', 'dark');
  await chat.keyboard.press('Control+/');
  await expect(chat.getByRole('dialog', { name: 'Keyboard' })).toBeVisible();
  await chat.keyboard.press('Escape');
  await chat.keyboard.press('Control+Shift+O');
  await expect(chat).toHaveURL(/\/$/);
  await expect(chat.locator('#box')).toBeFocused();
});

test('Esc stops, but not while a dialog is open', async ({ chat }) => {
  await chat.locator('#box').fill('/script stream 20 tokens; hold');
  await chat.keyboard.press('Enter');
  await expect(answers(chat).locator('.prose')).toContainText(/\w+/);
  await chat.keyboard.press('Control+/');
  await chat.keyboard.press('Escape');
  await expect(chat.getByRole('dialog')).toHaveCount(0);
  await expect(chat.getByRole('button', { name: 'Stop', exact: true })).toBeVisible();
  await chat.keyboard.press('Escape');
  await expect(chat.locator('.note', { hasText: 'Stopped by you' })).toBeVisible();
});

test('what is typed while the page loads is kept', async ({ chat, server }) => {
  let typed = (): void => {};
  const held = new Promise<void>((resolve) => (typed = resolve));
  await chat.route('**/site/session', async (route) => {
    await held;
    await route.continue();
  });
  await chat.goto(server.origin, { waitUntil: 'commit' });
  await chat.locator('#early-box').pressSequentially('typed early');
  typed();
  await expect(chat.locator('#box')).toHaveValue('typed early');
  await expect(chat.locator('#box')).toBeFocused();
});

test('the box is as high as its text', async ({ chat }) => {
  const box = chat.locator('#box');
  await expect(box).toBeVisible();
  const height = (): Promise<number> => box.evaluate((area) => area.clientHeight);
  const linePx = 24; // 1.5 times 16
  const one = await height();
  await box.fill('one\ntwo\nthree');
  await expect.poll(height).toBe(one + 2 * linePx);
  await box.press('Backspace'); // of "three"
  await expect.poll(height).toBe(one + 2 * linePx);
  await box.press('Shift+Home');
  await box.press('Backspace');
  await box.press('Backspace'); // the line's end
  await expect.poll(height).toBe(one + linePx);
  // A longer text of fewer lines shrinks it when the keys rest.
  await box.fill('one line that is longer than the two before it');
  await expect.poll(height).toBe(one);
  await box.fill(Array.from({ length: 60 }, () => 'line').join('\n'));
  const most = (): number => 0.4 * chat.viewportSize()!.height;
  await expect.poll(height).toBe(most());
  const { width } = chat.viewportSize()!;
  await chat.setViewportSize({ width, height: 500 });
  await expect.poll(height).toBe(most());
  await box.fill('');
  await expect.poll(height).toBe(one);
  // Lines that break by themselves, also when the window becomes narrow.
  await box.fill('wide '.repeat(12));
  await expect.poll(height).toBe(one);
  await chat.setViewportSize({ width: 360, height: 500 });
  await expect.poll(height).toBeGreaterThan(one);
  await chat.setViewportSize({ width, height: 500 });
  await expect.poll(height).toBe(one);
});

test('measuring the box moves no text', async ({ chat, server }) => {
  await send(chat, '/script stream 600 tokens at 2000/s');
  await ended(chat);
  const view = chat.locator('.scroller');
  await chat.locator('#box').fill('a\nb\nc\nd');
  await view.evaluate((view) => (view.scrollTop = view.scrollHeight));
  await expect(chat.locator('.pill')).toHaveCount(0); // its room is the text's then
  const top = (): Promise<number> => view.evaluate((view) => view.scrollTop);
  const end = await top();
  await chat.mouse.move(600, 300);
  await chat.mouse.wheel(0, -60);
  await expect.poll(top).toBe(end - 60);
  await chat.locator('#box').press('End');
  await chat.locator('#box').pressSequentially('efgh');
  await chat.locator('#box').press('Backspace'); // measured anew: as high as before
  await expect(chat.locator('#box')).toHaveValue('a\nb\nc\ndefg');
  expect(await top()).toBe(end - 60);
});

test('the editor of a question is as high as its text', async ({ chat }) => {
  await send(chat, 'one\ntwo');
  await ended(chat);
  await chat.locator('.message.user').getByRole('button', { name: 'Edit' }).click();
  const box = chat.locator('.editor textarea');
  const height = (): Promise<number> => box.evaluate((area) => area.clientHeight);
  const unscrolled = (): Promise<boolean> =>
    box.evaluate((area) => area.scrollHeight === area.clientHeight);
  const two = await height();
  expect(await unscrolled()).toBe(true);
  await box.press('Shift+Enter');
  const three = await height();
  expect(three).toBeGreaterThan(two);
  expect(await unscrolled()).toBe(true);
  await box.press('Backspace');
  expect(await height()).toBe(two);
  await box.fill('a line that is longer than the two before');
  await expect.poll(height).toBeLessThan(two);
});
