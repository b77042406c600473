// Journey 13: seven tabs, one stream; the leader is closed, then frozen.
import type { BrowserContext, Page } from '@playwright/test';
import { enter, expect, freeze, test, words } from './support/test';

/** The event streams that the browser holds open, by tab. */
function openStreams(context: BrowserContext): Map<Page, number> {
  const open = new Map<Page, number>();
  const change = (page: Page, by: number): void => void open.set(page, (open.get(page) ?? 0) + by);
  context.on('page', (page) => {
    page.on('request', (r) => r.url().includes('/site/events') && change(page, 1));
    page.on('requestfailed', (r) => r.url().includes('/site/events') && change(page, -1));
    page.on('requestfinished', (r) => r.url().includes('/site/events') && change(page, -1));
    page.on('close', () => open.delete(page));
  });
  return open;
}

const total = (open: Map<Page, number>): number => [...open.values()].reduce((a, b) => a + b, 0);
const leader = (open: Map<Page, number>): Page => [...open].find(([, n]) => n > 0)![0];

test('seven tabs share one stream and all show the answer', async ({ browser, server }) => {
  const context = await browser.newContext({ serviceWorkers: 'block' });
  const open = openStreams(context);
  const first = await context.newPage();
  await enter(first, server);
  await first.locator('#box').fill('/script stream 3900 tokens at 13/s');
  await first.locator('.send').click();
  await expect(first).toHaveURL(/\/c\//);
  const pages = [first];
  while (pages.length < 7) {
    const page = await context.newPage();
    await page.goto(first.url());
    await expect(page.locator('.message.assistant .prose')).toContainText(/(\S+ ){5}/);
    pages.push(page);
  }
  await expect.poll(() => total(open)).toBe(1);

  // The leader is closed: another takes over and every tab goes on.
  const size = async (page: Page): Promise<number> =>
    (await page.locator('.prose').innerText()).length;
  const grows = async (page: Page): Promise<void> => {
    await expect.poll(() => size(page)).toBeGreaterThan(await size(page));
  };
  const closed = leader(open);
  await closed.close();
  const left = pages.filter((page) => page !== closed);
  await expect.poll(() => total(open)).toBe(1);
  await grows(left[0]!);
  await grows(left[left.length - 1]!);

  // The leader is frozen: a visible tab steals the stream.
  const frozen = leader(open);
  const thaw = await freeze(frozen);
  const awake = left.filter((page) => page !== frozen);
  const stolen = (): boolean => awake.some((page) => (open.get(page) ?? 0) > 0);
  await expect.poll(stolen).toBe(true);
  await grows(awake[0]!);
  await grows(awake[awake.length - 1]!);

  await thaw();
  await expect.poll(() => total(open)).toBe(1);
  await awake[0]!.getByRole('button', { name: 'Stop', exact: true }).click();
  for (const page of left) {
    await expect(page.locator('.note', { hasText: 'Stopped by you' })).toBeVisible();
    await expect(page.locator('.prose[data-busy="false"]')).toBeAttached();
  }
  const texts = await Promise.all(left.map((page) => page.locator('.prose').innerText()));
  expect(new Set(texts.map(words)).size).toBe(1);
  await context.close();
});
