// The whole program with the starter model: first run, a streamed answer, stop, go on.
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { screenshotDir } from './support/places';
import { Server } from './support/server';
import {
  answers,
  ended,
  expect,
  lastAnswer,
  send,
  stored,
  test,
  watch,
  words,
} from './support/test';

/** Something that a model of this size can do, and that shows what the page can. */
const question = 'Write a Python function that checks for palindromes.';
const modelTime = { timeout: 280_000 }; // on a machine that builds and tests other things too

/** A model this small may never find its end: it gets some time, then it is stopped. */
async function stopIfLong(page: Page, ms: number): Promise<void> {
  await ended(page, ms).catch(() => page.keyboard.press('Escape'));
  await ended(page);
}

test('from the first run to a streamed answer by the real model', async ({ page, watched }) => {
  test.setTimeout(900_000);
  const server = await Server.real();
  try {
    watch(page, server.origin, watched);
    await page.goto(server.origin);
    await page.getByLabel('Setup code').fill(server.code);
    await page.getByRole('button', { name: 'Continue' }).click();
    await expect(page.locator('.door')).toContainText('not DeepSeek');
    await page.getByRole('button', { name: 'Start a chat' }).click();
    await send(page, question);
    await expect(lastAnswer(page).locator('.prose')).toContainText(/(\S+\s+){5}/, modelTime);
    await stopIfLong(page, 90_000);
    await expect(lastAnswer(page).locator('.figures')).toContainText(/\d+ tokens · /);
    const shown = words(await lastAnswer(page).locator('.prose').innerText());
    expect(shown.length).toBeGreaterThan(20);
    expect(words(await stored(page, server)).length).toBeGreaterThan(20);
    await expect(page.locator('.head-button').last()).toContainText(/Context [1-9]/);
    // The picture of the README: cp build/screenshots/real.png docs/screenshot.png
    const desk = page.viewportSize()!;
    await page.setViewportSize({ width: 1200, height: 640 });
    await page.screenshot({ path: join(screenshotDir, 'real.png'), animations: 'disabled' });
    await page.setViewportSize(desk);

    await send(page, 'Now write a very long story about a submarine, with many chapters.');
    await expect(answers(page)).toHaveCount(2);
    await expect(lastAnswer(page).locator('.prose')).toContainText(/(\S+\s+){5}/, modelTime);
    await page.keyboard.press('Escape');
    await ended(page);
    await send(page, 'Thank you.');
    await expect(answers(page)).toHaveCount(3);
    await expect(lastAnswer(page).locator('.prose')).toContainText(/\w/, modelTime);
    await stopIfLong(page, 5_000);
  } finally {
    await server.close('SIGTERM');
  }
});
