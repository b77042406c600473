// Journey 1: wrong code, right code, the model that was found; the setup does not come back.
import { expect, test, watch } from './support/test';

test.use({ serverArgs: ['--starter'] });

test('first run: wrong code, code, starter note, no second setup', async ({
  page,
  server,
  watched,
}) => {
  watch(page, server.origin, watched);
  await page.goto(server.origin);
  await expect(page).toHaveURL(/\/setup$/);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(/Welcome aboard/);
  const code = page.getByLabel('Setup code');
  await code.fill('AAAA-AAAA');
  await page.getByRole('button', { name: 'Continue' }).click();
  await expect(page.getByRole('alert').filter({ hasText: 'not the code' })).toBeVisible();
  await expect(code).toHaveValue('AAAA-AAAA');

  await code.fill(server.code.toLowerCase());
  await code.press('Enter');
  await expect(page.locator('.door')).toContainText('small demonstration model, not DeepSeek');
  await expect(page.locator('.door')).toContainText('History lives in memory only for now');
  await page.getByRole('button', { name: 'Start a chat' }).click();
  await expect(page.getByRole('heading', { name: 'Where shall we start?' })).toBeVisible();
  await expect(page).toHaveURL(`${server.origin}/`);

  const again = await page.request.get(`${server.origin}/setup`);
  expect(again.status()).toBe(404);
});

test('five wrong codes: the page says how long to wait', async ({ page, server }) => {
  await page.goto(server.origin);
  const code = page.getByLabel('Setup code');
  for (let i = 0; i < 5; i++) {
    await code.fill('BBBB-BBBB');
    await code.press('Enter');
    await expect(page.getByRole('button', { name: 'Continue' })).toBeEnabled();
  }
  await code.fill('BBBB-BBBB');
  await code.press('Enter');
  await expect(page.locator('.code-form .bad')).toHaveText(/Too many wrong codes. Next try in \d+/);
  await expect(page.getByRole('button', { name: 'Continue' })).toBeDisabled();
});

test('another browser comes in with a code of the terminal', async ({ browser, chat, server }) => {
  await expect(chat.locator('#box')).toBeVisible();
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(server.origin);
  await expect(page).toHaveURL(/\/signin$/);
  await page.getByLabel('One-time code').fill(server.newestCode());
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.locator('#box')).toBeVisible();
  await context.close();
});
