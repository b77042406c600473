// Looks at a state of the page: a picture of it, nothing clipped, axe finds nothing.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { expect, type Page } from '@playwright/test';
import { screenshotDir } from './places';

const axeSource = readFileSync(
  createRequire(import.meta.url).resolve('axe-core/axe.min.js'),
  'utf8',
);

export interface Look {
  name: string;
  width: number;
  height: number;
  theme: 'light' | 'dark';
  language: 'en' | 'fr';
}

export const looks: Look[] = [
  { name: 'desk-light-en', width: 1280, height: 800, theme: 'light', language: 'en' },
  { name: 'desk-dark-fr', width: 1280, height: 800, theme: 'dark', language: 'fr' },
  { name: 'phone-light-fr', width: 360, height: 740, theme: 'light', language: 'fr' },
  { name: 'phone-dark-en', width: 360, height: 740, theme: 'dark', language: 'en' },
  { name: 'narrow-light-en', width: 320, height: 640, theme: 'light', language: 'en' },
  { name: 'narrow-light-fr', width: 320, height: 640, theme: 'light', language: 'fr' },
];

/** Words that the design cuts on purpose: titles, names, one-line previews, folded questions. */
const mayCut = [
  '.head-title',
  '.model-name',
  '.history-row',
  '.thinking-line',
  '.code-lang',
  '.file-name',
  '.waiting-text',
  '.bubble.folded',
  '.hidden',
  '.commands',
  'textarea',
  'input',
  '.katex',
  '.skip',
].join(', ');

async function clipped(page: Page): Promise<string[]> {
  return page.evaluate((allowed) => {
    const out: string[] = [];
    for (const element of document.querySelectorAll<HTMLElement>('body *')) {
      if (element.closest(allowed) !== null || element.children.length > 0) continue;
      if (element.textContent?.trim() === '' || element.getClientRects().length === 0) continue;
      const box = element.getBoundingClientRect();
      const scroller = element.closest('pre, .table-scroll, .formula');
      if (scroller !== null) continue;
      if (box.left < -1 || box.right > window.innerWidth + 1) out.push(`${element.textContent}`);
      const { overflowX } = getComputedStyle(element);
      if (overflowX === 'hidden' && element.scrollWidth > element.clientWidth + 1) {
        out.push(`${element.textContent}`);
      }
    }
    if (document.documentElement.scrollWidth > window.innerWidth) out.push('the page is too wide');
    return out;
  }, mayCut);
}

/** What axe finds against the page as it stands. */
export async function violations(page: Page): Promise<string[]> {
  // Once a document: to read its half a megabyte takes as long as to run it.
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axeSource);
  return page.evaluate(async () => {
    const axe = (window as never as { axe: { run: (o: object) => Promise<never> } }).axe;
    const found: { violations: { id: string; nodes: { html: string }[] }[] } = await axe.run({
      resultTypes: ['violations'],
    });
    return found.violations.map(
      (v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(' ¦ ')}`,
    );
  });
}

/** Looks at a state: picture, clipping, accessibility. */
export async function look(page: Page, how: Look, state: string): Promise<void> {
  await page.screenshot({
    path: join(screenshotDir, `${state}-${how.name}.png`),
    animations: 'disabled',
  });
  expect.soft(await clipped(page), `${state} ${how.name}: clipped`).toEqual([]);
  if (how.width > 320) {
    expect.soft(await violations(page), `${state} ${how.name}: axe`).toEqual([]);
  }
}
