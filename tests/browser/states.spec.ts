// Journeys 23 and 24: every state in both themes, both languages, on a desk and on a phone. Axe
// finds nothing, nothing is clipped, and a picture of each is kept under build/screenshots.
import { look, looks } from './support/look';
import { ended, expect, lastAnswer, send, test } from './support/test';
import { corpus } from '../../web/src/text/corpus';

for (const how of looks) {
  const { name, width, height, theme, language } = how;
  test.describe(name, () => {
    test.use({
      viewport: { width, height },
      colorScheme: theme,
      locale: language === 'fr' ? 'fr-FR' : 'en-US',
      serverArgs: ['--starter'],
      hasTouch: width < 500,
    });

    test(`${name}: first run and sign-in`, async ({ page, server, browser }) => {
      await page.goto(server.origin);
      await expect(page.locator('.code-input')).toBeVisible();
      await look(page, how, 'setup');
      await page.locator('.code-input').fill('AAAA-AAAA');
      await page.locator('.code-input').press('Enter');
      await expect(page.locator('.code-form .bad')).not.toBeEmpty();
      await look(page, how, 'setup-wrong');
      await page.locator('.code-input').fill(server.code);
      await page.locator('.code-input').press('Enter');
      await expect(page.locator('.door .command')).toBeVisible();
      await look(page, how, 'setup-model');
      await page.locator('.door .button.main').click();
      await expect(page.locator('.empty h2')).toBeVisible();
      await look(page, how, 'empty');
      await page.goto(`${server.origin}/settings`);
      await expect(page.locator('.settings-section').first()).toBeVisible();
      await look(page, how, 'settings');
      const other = await browser.newContext({
        viewport: { width, height },
        colorScheme: theme,
        locale: language === 'fr' ? 'fr-FR' : 'en-US',
        serviceWorkers: 'block',
      });
      const stranger = await other.newPage();
      await stranger.goto(server.origin);
      await expect(stranger.locator('.code-input')).toBeVisible();
      await look(stranger, how, 'signin');
      await other.close();
    });

    test.describe('without a usable model', () => {
      test.use({ serverArgs: ['--unusable'] });
      test(`${name}: no usable model`, async ({ page, server }) => {
        await page.goto(server.origin);
        await page.locator('.code-input').fill(server.code);
        await page.locator('.code-input').press('Enter');
        await expect(page.locator('.door .unusable')).toBeVisible();
        await look(page, how, 'setup-unusable');
        await page.locator('.door .button.main').click();
        await expect(page.locator('.empty .unusable')).toBeVisible();
        await look(page, how, 'unusable');
        await send(page, 'hello');
        await expect(page.locator('.trouble.model')).toBeVisible();
        await look(page, how, 'unusable-asked');
      });
    });

    test.describe('before the models are known', () => {
      test.use({ serverArgs: ['--opening'] });
      test(`${name}: opening the models`, async ({ page, server }) => {
        await page.goto(server.origin);
        await page.locator('.code-input').fill(server.code);
        await page.locator('.code-input').press('Enter');
        await page.locator('.door .button.main').click();
        await expect(page.locator('.empty-note[role=status]')).toBeVisible();
        await look(page, how, 'opening');
      });
    });

    test(`${name}: waiting, thinking, answering`, async ({ chat }) => {
      await send(chat, '/script queue 3 for 50 s still; hold');
      await expect(chat.locator('.card.progress')).toBeVisible();
      await look(chat, how, 'queued');
      await chat.locator('.card.progress .button').click();
      await ended(chat);
      await look(chat, how, 'stopped');
      await send(chat, '/script load for 60 s still at 30; hold');
      await expect(chat.locator('.card.progress')).toBeVisible();
      await look(chat, how, 'loading');
      await chat.keyboard.press('Escape');
      await ended(chat);
      await send(chat, '/script read 900 still at 41; hold');
      await expect(chat.locator('.card.progress')).toBeVisible();
      await look(chat, how, 'reading');
      await chat.keyboard.press('Escape');
      await ended(chat);
      await send(chat, '/script think 60 tokens at 400/s; hold; stream 30 tokens');
      await expect(chat.locator('.thinking-line')).toBeVisible();
      await chat.locator('#box').fill('…');
      await chat.locator('#box').press('Control+Enter');
      await expect(chat.locator('.waiting')).toBeVisible();
      await look(chat, how, 'thinking');
      await chat.locator('.waiting button').click();
      await chat.locator('#box').fill('');
      await chat.locator('.thinking-head').last().click();
      await look(chat, how, 'thinking-open');
      await chat.keyboard.press('Escape');
      await ended(chat);
    });

    test(`${name}: answers and trouble`, async ({ chat }) => {
      await send(chat, `/script say at 4000/s ${corpus.ordinary}\n${corpus.rtl}`);
      await ended(chat);
      await expect(lastAnswer(chat).locator('.katex').first()).toBeVisible();
      await chat.locator('.scroller').evaluate((view) => (view.scrollTop = 500));
      await look(chat, how, 'answer');
      await chat.locator('.scroller').evaluate((view) => (view.scrollTop = 1200));
      await look(chat, how, 'answer-code');
      await send(chat, '/script stream 20 tokens; die');
      await ended(chat);
      await look(chat, how, 'cut');
      await send(chat, '/script stream 10 tokens; full');
      await expect(chat.locator('.trouble.full').last()).toBeVisible();
      await ended(chat);
      await look(chat, how, 'context-full');
      const reply = {
        status: 500,
        contentType: 'application/json',
        body: '{"error":{"code":"E7"}}',
      };
      await chat.route('**/site/generations', (route) => route.fulfill(reply), { times: 1 });
      await send(chat, 'hello');
      await expect(chat.locator('.trouble.fault')).toBeVisible();
      await look(chat, how, 'error');
      const long = {
        status: 413,
        contentType: 'application/json',
        body: '{"error":{"code":"context_length_exceeded"},"reason":"context","tokens_over":1930}',
      };
      await chat.route('**/site/generations', (route) => route.fulfill(long), { times: 1 });
      await chat.locator('.trouble.fault .button').first().click();
      await expect(chat.locator('.trouble.alone')).toBeVisible();
      await look(chat, how, 'too-long');
      await chat.locator('.trouble.alone .button').last().click();
      await chat.locator('#box').fill('');
    });

    test(`${name}: menus, palette, editing, offline`, async ({ chat, server }) => {
      await send(chat, '/script stream 30 tokens');
      await ended(chat);
      await chat.locator('.head-button').first().click();
      await expect(chat.locator('.panel')).toBeVisible();
      await look(chat, how, 'models');
      await chat.keyboard.press('Escape');
      await chat.keyboard.press('Control+k');
      await expect(chat.getByRole('combobox')).toBeFocused();
      await look(chat, how, 'palette');
      await chat.keyboard.press('Escape');
      await chat.keyboard.press('Control+/');
      await expect(chat.locator('.dialog.keys')).toBeVisible();
      await look(chat, how, 'keys');
      await chat.keyboard.press('Escape');
      await chat.locator('#box').press('ArrowUp');
      await expect(chat.locator('.editor')).toBeVisible();
      await look(chat, how, 'editing');
      await chat.keyboard.press('Escape');
      if (width < 861) {
        await chat.locator('.head .icon-button').first().click();
        await expect(chat.locator('.drawer .history')).toBeVisible();
        await look(chat, how, 'drawer');
        await chat.keyboard.press('Escape');
        await expect(chat.locator('.drawer')).toBeHidden();
      }
      await chat.locator('.message.user .actions button').last().click();
      await expect(chat.locator('.dialog.confirm')).toBeVisible();
      await look(chat, how, 'confirm');
      await chat.keyboard.press('Escape');
      await send(chat, '/script stream 30 tokens; hold');
      await expect(chat.locator('.message.user').last()).toContainText('hold');
      await expect(lastAnswer(chat).locator('.prose')).toContainText(/(\S+\s+){20}/);
      await server.kill('SIGTERM');
      await expect(lastAnswer(chat).locator('.trouble.cut')).toBeVisible();
      await expect(chat.locator('.banner')).toBeVisible();
      await look(chat, how, 'offline');
    });
  });
}
