// Journey 22 and the budgets of the first load that are sizes and counts (bench/site: the times).
import { gzipSync } from 'node:zlib';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { siteDir } from './support/places';
import { ended, expect, lastAnswer, send, test } from './support/test';

const kib = 1024;

test('the first load is within its budgets', () => {
  const assets = readdirSync(join(siteDir, 'assets'));
  const packed = (pattern: RegExp): number =>
    assets
      .filter((name) => pattern.test(name))
      .map((name) => gzipSync(readFileSync(join(siteDir, 'assets', name)), { level: 9 }).length)
      .reduce((sum, size) => sum + size, 0);
  const script = packed(/^(?:index|worker)-.*\.js$/);
  const style = packed(/^index-.*\.css$/);
  expect(script).toBeGreaterThan(20 * kib);
  expect(script).toBeLessThanOrEqual(90 * kib);
  expect(style).toBeGreaterThan(2 * kib);
  expect(style).toBeLessThanOrEqual(12 * kib);
  expect(readFileSync(join(siteDir, 'boot.js')).length).toBeLessThanOrEqual(600);
  expect(assets.filter((name) => /\.(?:ttf|woff)$/.test(name))).toEqual([]);
  const html = readFileSync(join(siteDir, 'index.html'), 'utf8');
  expect(html).not.toMatch(/<style|style=|<script>| on\w+=/);
  expect(html).toContain('<textarea');
});

test('one call and few files before the first use; nothing shifts', async ({
  chat,
  server,
}) => {
  const seen: string[] = [];
  chat.on('request', (request) => seen.push(new URL(request.url()).pathname));
  await chat.goto(server.origin);
  await expect(chat.getByRole('heading', { name: 'Where shall we start?' })).toBeVisible();
  const files = seen.filter((path) => !path.startsWith('/site/'));
  const calls = seen.filter((path) => path.startsWith('/site/') && path !== '/site/events');
  expect(files.length).toBeLessThanOrEqual(8);
  expect(calls.slice(0, 1)).toEqual(['/site/session']);
  const shift = await chat.evaluate(
    () =>
      new Promise<number>((resolve) => {
        let sum = 0;
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) sum += (entry as never as { value: number }).value;
        }).observe({ type: 'layout-shift', buffered: true });
        requestAnimationFrame(() => requestAnimationFrame(() => resolve(sum)));
      }),
  );
  expect(shift).toBeLessThan(0.001);
});

for (const [stored, system, want] of [
  ['dark', 'light', 'dark'],
  ['light', 'dark', 'light'],
  ['system', 'dark', 'dark'],
] as const) {
  test(`the first painted frame has the theme: ${stored} on a ${system} system`, async ({
    chat,
    server,
  }) => {
    await chat.emulateMedia({ colorScheme: system });
    await chat.evaluate((theme) => {
      localStorage.setItem('nautile.prefs', JSON.stringify({ theme }));
    }, stored);
    await chat.route('**/assets/index-*.js', (route) => route.abort());
    await chat.goto(server.origin);
    await expect(chat.locator('html')).toHaveAttribute('data-theme', want);
    const light = await chat.evaluate(() => {
      const canvas = document.createElement('canvas').getContext('2d')!;
      canvas.fillStyle = getComputedStyle(document.documentElement).backgroundColor;
      canvas.fillRect(0, 0, 1, 1);
      return canvas.getImageData(0, 0, 1, 1).data[0]! > 128;
    });
    expect(light).toBe(want === 'light');
  });
}

test('reduced motion: nothing moves', async ({ chat }) => {
  await chat.emulateMedia({ reducedMotion: 'reduce' });
  await send(chat, '/script think 10 tokens; hold');
  await expect(chat.locator('.thinking-head .busy')).toBeVisible();
  expect(await chat.evaluate(() => document.getAnimations().length)).toBe(0);
  await chat.keyboard.press('Escape');
  await ended(chat);
});

test('forced colours: controls keep their edges', async ({ chat }) => {
  await chat.emulateMedia({ forcedColors: 'active' });
  await send(chat, '/script stream 5 tokens; full');
  await ended(chat);
  for (const selector of ['.send', '.card.trouble', '.composer-box', '.bubble']) {
    const width = await chat
      .locator(selector)
      .first()
      .evaluate((element) => parseFloat(getComputedStyle(element).borderTopWidth));
    expect(width, selector).toBeGreaterThan(0);
  }
  await expect(lastAnswer(chat)).toBeVisible();
});
