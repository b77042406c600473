// The page of the models: what can be fetched, the download in each of its states, what is refused.
// The server's supervisor is scripted: a download goes one step on when it is asked for again.
import type { Page } from '@playwright/test';
import { look, looks } from './support/look';
import type { Server } from './support/server';
import { canStop, ended, enter, expect, send, test, watch } from './support/test';

const proposed = 'DeepSeek-R1-Distill-Qwen-7B';

const said = (page: Page) => page.locator('.hidden[role="status"]');
const alarmed = (page: Page) => page.locator('.hidden[role="alert"]');
const card = (page: Page) => page.locator('.card.pull');
const row = (page: Page, name: string) =>
  page.locator('.model-row', { has: page.getByRole('heading', { name: new RegExp(`^${name}`) }) });

/** The scripted download takes its next step. */
async function step(page: Page, server: Server, ref: string): Promise<void> {
  const reply = await page.request.post(`${server.origin}/site/pulls`, {
    headers: { origin: server.origin },
    data: { ref },
  });
  expect(reply.status()).toBe(202);
}

async function openModels(page: Page): Promise<void> {
  await page.getByRole('button', { name: /^(?:Get|Obtenir) / }).click();
  await expect(page.locator('.model-row').first()).toBeVisible();
}

async function download(page: Page, name: string): Promise<void> {
  await row(page, name).getByRole('button').click();
  await expect(card(page).getByRole('heading')).toHaveText(name);
}

test.describe('where the page may fetch', () => {
  test.use({ serverArgs: ['--starter', '--pulls', 'any'] });

  test('from the starter model to the one that the machine can hold', async ({ chat, server }) => {
    await expect(chat.locator('.empty')).toContainText('small demonstration model, not DeepSeek');
    await openModels(chat);
    await expect(chat).toHaveURL(`${server.origin}/catalogue`);
    const first = chat.locator('.model-list').first().locator('.model-row').first();
    await expect(first).toContainText(proposed);
    await expect(first).toContainText('Largest for this machine');
    await expect(first).toContainText('up to 5.2 tokens/s');
    await expect(first).toContainText('MIT (Qwen2.5: Apache-2.0)');
    await download(chat, proposed);
    await expect(card(chat)).toContainText(`Asking for the files of ${proposed}`);
    await expect(said(chat)).toHaveText(`Asking for the files of ${proposed}…`);
    await step(chat, server, proposed);
    const bar = card(chat).getByRole('progressbar', { name: `Download of ${proposed}` });
    await expect(bar).toHaveAttribute('aria-valuenow', '12');
    await expect(bar).toHaveAttribute('aria-valuetext', /^12\s%, 562\sMB of 4\.7\sGB$/);
    await expect(card(chat)).toContainText(/562\sMB of 4\.7\sGB · 38\sMB\/s · about 2\smin left/);
    await step(chat, server, proposed);
    await expect(bar).toHaveAttribute('aria-valuenow', '42');
    await expect(said(chat)).toHaveText(/: 25\s% downloaded\.$/);
    await expect(chat.locator('.sidebar')).toContainText(/Downloading · 42\s%/);

    await card(chat).getByRole('button', { name: 'Pause' }).click();
    await expect(card(chat)).toContainText('Paused. What is here is kept');
    await chat.reload();
    await expect(card(chat)).toContainText('Paused. What is here is kept');
    await card(chat).getByRole('button', { name: 'Resume' }).click();
    await step(chat, server, proposed);
    await expect(bar).toHaveAttribute('aria-valuenow', '42');
    await step(chat, server, proposed);
    await expect(card(chat)).toContainText('Checking every byte…');
    await step(chat, server, proposed);
    await expect(said(chat)).toHaveText(/is ready to use/);
    await card(chat).getByRole('button', { name: 'Use it now' }).click();
    await expect(chat).toHaveURL(`${server.origin}/`);
    await expect(chat.locator('.model-name')).toHaveText(proposed);
    await expect(chat.locator('.empty')).not.toContainText('demonstration');
    await send(chat, '/script stream 10 tokens');
    await ended(chat);
  });

  test('a running answer is waited for', async ({ chat, server }) => {
    await send(chat, '/script stream 5 tokens; hold');
    await canStop(chat);
    await chat.locator('.head-button').first().click();
    await chat.getByRole('menuitem', { name: 'More models…' }).click();
    await download(chat, 'DeepSeek-R1-Distill-Qwen-1.5B');
    for (let i = 0; i < 4; i++) await step(chat, server, 'DeepSeek-R1-Distill-Qwen-1.5B');
    await expect(card(chat)).toContainText('is here. It is opened as soon as no answer');
    await expect(row(chat, 'DeepSeek-R1-Distill-Qwen-14B').getByRole('button')).toBeDisabled();
    await chat.getByRole('button', { name: 'Back to the chat' }).click();
    await canStop(chat);
    await chat.locator('.send.stop').click();
    await ended(chat);
    await chat.getByRole('link', { name: 'Models' }).click();
    await expect(card(chat)).toContainText('is ready to use');
  });

  test('a wrong checksum, no room, a file that cannot be opened: said with the next step', async ({
    chat,
    server,
  }) => {
    await openModels(chat);
    const wrong = 'DeepSeek-R1-Distill-Llama-8B';
    await download(chat, wrong);
    await step(chat, server, wrong);
    await step(chat, server, wrong);
    await expect(card(chat)).toContainText(`${wrong}.gguf is not what was promised`);
    await expect(card(chat)).toContainText('Its checksum is sha256:ab12');
    await expect(card(chat)).toContainText('What to do: What came was thrown away');
    await expect(alarmed(chat)).toContainText('is not what was promised');
    await expect(card(chat).getByRole('button', { name: 'Try again' })).toBeEnabled();

    const large = 'DeepSeek-R1-Distill-Qwen-14B';
    await download(chat, large);
    await step(chat, server, large);
    await expect(card(chat)).toContainText('There is not enough room for');
    await expect(card(chat)).toContainText('8.43 GiB are needed');

    const odd = 'DeepSeek-V2-Lite-Chat';
    await download(chat, odd);
    for (let i = 0; i < 4; i++) await step(chat, server, odd);
    await expect(card(chat)).toContainText('the architecture is odd');
    await expect(card(chat).getByRole('button')).toHaveCount(1); // nothing to go on with
    await card(chat).getByRole('button', { name: `Dismiss the download of ${odd}` }).click();
    await expect(card(chat)).toHaveCount(0);
  });

  test('a reply that the news has overtaken undoes nothing', async ({ chat, server }) => {
    await openModels(chat);
    let go = (): void => {};
    const held = new Promise<void>((resolve) => (go = resolve));
    await chat.route('**/site/pulls', async (route) => {
      const response = await route.fetch();
      await held;
      await route.fulfill({ response });
    });
    const large = 'DeepSeek-R1-Distill-Qwen-14B';
    await row(chat, large).getByRole('button').click();
    await expect(card(chat)).toHaveClass(/planning/);
    await step(chat, server, large);
    await expect(card(chat)).toHaveClass(/failed/);
    const replied = chat.waitForResponse('**/site/pulls');
    go();
    await replied;
    await expect(card(chat).locator('.button').last()).toBeEnabled(); // the reply was taken
    await expect(card(chat)).toHaveClass(/failed/);
    await card(chat).locator('.button').last().click();
    await expect(card(chat)).toHaveCount(0);
    await chat.unrouteAll({ behavior: 'wait' });
  });

  test('what cannot run here is not offered', async ({ chat }) => {
    await openModels(chat);
    await expect(row(chat, 'DeepSeek-R1-Distill-Llama-70B')).toContainText(/Too large: it needs/);
    await expect(row(chat, 'Janus-Pro-7B')).toContainText('cannot run it yet');
    for (const name of ['DeepSeek-R1-Distill-Llama-70B', 'Janus-Pro-7B']) {
      await expect(row(chat, name).getByRole('button')).toHaveCount(0);
    }
    const giant = row(chat, 'DeepSeek-R1').last();
    const fromDisk = { hasText: 'most of it stays on the disk' };
    await expect(chat.locator('.model-row', fromDisk)).toHaveCount(1);
    await expect(giant).toBeVisible();
  });

  test('another one by its reference, with the keyboard alone', async ({ chat }) => {
    await openModels(chat);
    await chat.locator('.other-model summary').focus();
    await chat.keyboard.press('Enter');
    await chat.keyboard.press('Tab');
    await chat.keyboard.type('nonsense');
    await chat.keyboard.press('Enter');
    await expect(chat.locator('.models .bad')).toContainText('That is no model to fetch.');
    await expect(alarmed(chat)).toContainText('That is no model to fetch.');
    await chat.keyboard.press('ControlOrMeta+a');
    await chat.keyboard.type('hf:script/DeepSeek-R1-Distill-Qwen-1.5B');
    await chat.keyboard.press('Enter');
    await expect(card(chat)).toContainText('DeepSeek-R1-Distill-Qwen-1.5B');
    await expect(chat.locator('.models .bad')).toHaveCount(0);
  });

  test('two tabs see one download', async ({ chat, server, context }) => {
    const other = await context.newPage();
    await other.goto(`${server.origin}/catalogue`);
    await expect(other.locator('.model-row').first()).toBeVisible();
    await openModels(chat);
    await download(chat, proposed);
    await expect(card(other)).toContainText('Asking for the files');
    await step(chat, server, proposed);
    await expect(card(other)).toContainText(/562\sMB of 4\.7\sGB/);
    await card(other).getByRole('button', { name: 'Pause' }).click();
    await expect(card(chat)).toContainText('Paused.');
    await other.close();
  });

  test('a list that cannot be had can be asked for again', async ({ chat }) => {
    const reply = { status: 503, contentType: 'application/json', body: '{"error":{}}' };
    await chat.route('**/site/catalogue', (route) => route.fulfill(reply), { times: 1 });
    await chat.getByRole('button', { name: `Get ${proposed}` }).click();
    await expect(chat.locator('.models [role="alert"]')).toContainText('could not be had');
    await chat.locator('.models').getByRole('button', { name: 'Try again' }).click();
    await expect(row(chat, proposed).first()).toBeVisible();
  });

  test('the first run leads there, too', async ({ page, server, watched }) => {
    watch(page, server.origin, watched);
    await page.goto(server.origin);
    await page.locator('.code-input').fill(server.code);
    await page.locator('.code-input').press('Enter');
    await openModels(page);
    await expect(page).toHaveURL(`${server.origin}/catalogue`);
  });
});

test.describe('where no model is', () => {
  test.use({ serverArgs: ['--no-models', '--pulls', 'catalogue'] });
  test('the page offers one; references are not', async ({ chat }) => {
    await expect(chat.locator('.empty')).toContainText('No model is installed yet.');
    await openModels(chat);
    await expect(chat.locator('.other-model')).toHaveCount(0);
    await expect(row(chat, proposed).getByRole('button', { name: /^Download/ })).toBeEnabled();
  });
});

test.describe('where the page may not fetch', () => {
  test.use({ serverArgs: ['--starter', '--pulls', 'off'] });
  test('it says which command does it', async ({ chat }) => {
    await expect(chat.locator('.empty .command')).toContainText('nautile serve --model ');
    await chat.getByRole('link', { name: 'Models' }).click();
    await expect(chat.locator('.models')).toContainText('This server fetches no models');
    await expect(row(chat, proposed).locator('.command')).toHaveText('nautile pull r1-7b');
    await expect(chat.getByRole('button', { name: /Download/ })).toHaveCount(0);
  });
});

for (const how of looks) {
  const { name, width, height, theme, language } = how;
  test.describe(`models ${name}`, () => {
    test.use({
      viewport: { width, height },
      colorScheme: theme,
      locale: language === 'fr' ? 'fr-FR' : 'en-US',
      serverArgs: ['--starter', '--pulls', 'any'],
      hasTouch: width < 500,
    });

    test(`${name}: the page of the models`, async ({ page, server, watched }) => {
      watch(page, server.origin, watched);
      await enter(page, server);
      await look(page, how, 'offer');
      await openModels(page);
      await look(page, how, 'catalogue');
      await page.locator('.settings-body').evaluate((view) => (view.scrollTop = 700));
      await look(page, how, 'catalogue-more');
      await page.locator('.other-model summary').click();
      await page.locator('.settings-body').evaluate((view) => (view.scrollTop = 1e6));
      await look(page, how, 'catalogue-end');
      await download(page, proposed);
      await page.locator('.settings-body').evaluate((view) => (view.scrollTop = 0));
      await look(page, how, 'pull-planning');
      await step(page, server, proposed);
      await step(page, server, proposed);
      await expect(card(page).getByRole('progressbar')).toHaveAttribute('aria-valuenow', '42');
      await look(page, how, 'pull-fetching');
      await card(page).locator('.button').click();
      await expect(card(page)).toHaveClass(/paused/);
      await look(page, how, 'pull-paused');
      await card(page).locator('.button.main').click();
      for (let i = 0; i < 2; i++) await step(page, server, proposed);
      await expect(card(page)).toHaveClass(/checking/);
      await look(page, how, 'pull-checking');
      await step(page, server, proposed);
      await expect(card(page).locator('.button.main')).toBeVisible();
      await look(page, how, 'pull-done');
      const large = 'DeepSeek-R1-Distill-Qwen-14B';
      await download(page, large);
      await step(page, server, large);
      await expect(card(page)).toHaveClass(/failed/);
      await look(page, how, 'pull-failed');
      await card(page).locator('.button').last().click();
      await expect(card(page)).toHaveCount(0);
      await expect(page.locator('.settings-body')).toBeFocused();
      await page.reload();
      await expect(page.locator('.model-row').first()).toBeVisible();
      await expect(card(page)).toHaveCount(0);
    });
  });
}
