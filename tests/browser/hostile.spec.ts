// Journeys 8 and 10: hostile Markdown, and what is too wide.
import { ended, expect, lastAnswer, send, stored, test } from './support/test';
import { corpus } from '../../web/src/text/corpus';

const hostile = [
  corpus.html,
  corpus.links,
  corpus.entities,
  corpus.emoji,
  corpus.unclosedMath,
].join('\n\n');

test('nothing that a model writes becomes markup, script or a request', async ({
  chat,
  watched,
}) => {
  await chat.evaluate(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  await send(chat, `/script say at 4000/s ${hostile}`);
  await ended(chat);
  const prose = lastAnswer(chat).locator('.prose');
  await expect(prose).toContainText('<script>alert(1)</script>');
  await expect(prose.locator('script, img, iframe, b, style')).toHaveCount(0);
  const hrefs = await prose
    .locator('a')
    .evaluateAll((links) =>
      links.map((link) => [(link as HTMLAnchorElement).protocol, (link as HTMLAnchorElement).rel]),
    );
  for (const [protocol, rel] of hrefs) {
    expect(['http:', 'https:', 'mailto:']).toContain(protocol);
    expect(rel).toContain('noopener');
  }
  expect(watched.errors).toEqual([]);
  expect(watched.foreign).toEqual([]);
});

test('the streamed tree is the tree of a whole parse, and frozen nodes stay', async ({ chat }) => {
  const text = corpus.ordinary!;
  await send(chat, `/script say at 150/s ${text}`);
  const first = lastAnswer(chat).locator('.prose > *').first();
  await expect(lastAnswer(chat).locator('.prose > *').nth(2)).toBeVisible();
  await first.evaluate((element) => ((element as HTMLElement).dataset.marked = 'yes'));
  await ended(chat);
  await expect(first).toHaveAttribute('data-marked', 'yes');
  await expect(lastAnswer(chat).locator('.katex')).not.toHaveCount(0);
  await expect(lastAnswer(chat).locator('.rendered:not([hidden])')).toHaveCount(5);
  await first.evaluate((element) => delete (element as HTMLElement).dataset.marked);
  const prose = lastAnswer(chat).locator('.prose');
  const skeleton = (): Promise<string> =>
    prose.evaluate((element) => {
      const walk = (node: Node): string => {
        if (node.nodeType === Node.TEXT_NODE) return node.textContent ?? '';
        const tag = node as Element;
        if (tag.matches('.katex, pre')) return `<${tag.className}>`;
        return `<${tag.tagName}>${[...tag.childNodes].map(walk).join('')}</>`;
      };
      return walk(element);
    });
  const streamed = await skeleton();
  await chat.reload();
  await expect(lastAnswer(chat).locator('.rendered:not([hidden])')).toHaveCount(5);
  expect(await skeleton()).toBe(streamed);
});

const wide = `${'w'.repeat(400)}

| ${Array.from({ length: 9 }, (_, i) => `column ${i}`).join(' | ')} |
|${'---|'.repeat(9)}
| ${Array.from({ length: 9 }, (_, i) => `a cell with some words ${i}`).join(' | ')} |

مرحبا بالعالم، هذا نص عربي يحتوي على \`code\` وبعض الكلمات الأخرى.

\`\`\`js
const a = "${'x'.repeat(300)}";\tif (a) { return '\\u00e9' }  // trailing  
\`\`\`

$$ ${Array.from({ length: 40 }, (_, i) => `x_{${i}}`).join(' + ')} $$
`;

for (const width of [320, 1280]) {
  test(`code, table, long word, Arabic and a wide formula at ${width} px`, async ({ chat }) => {
    await chat.setViewportSize({ width, height: 800 });
    await send(chat, `/script say at 4000/s ${wide}`);
    await ended(chat);
    await expect(lastAnswer(chat).locator('.katex').first()).toBeVisible();
    const sideways = await chat.evaluate(() => {
      const view = document.querySelector('.scroller')!;
      return [
        document.documentElement.scrollWidth - window.innerWidth,
        view.scrollWidth - view.clientWidth,
      ];
    });
    expect(sideways).toEqual([0, 0]);
    const arabic = lastAnswer(chat).locator('p', { hasText: 'مرحبا' });
    await expect(arabic).toHaveAttribute('dir', 'rtl');
    await expect(arabic.locator('code')).toHaveAttribute('dir', 'ltr');
    await expect(lastAnswer(chat).locator('.code')).toHaveAttribute('dir', 'ltr');
  });
}

test('copies are exact: code, answer, table', async ({ chat, context, server }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: server.origin });
  await send(chat, `/script say at 4000/s ${wide}`);
  await ended(chat);
  const clipboard = (): Promise<string> => chat.evaluate(() => navigator.clipboard.readText());
  await chat.getByRole('button', { name: 'Copy code' }).click();
  const code = /```js\n([\s\S]*?)\n```/.exec(wide)![1]!;
  await expect.poll(clipboard).toBe(code);
  await lastAnswer(chat).locator('.actions').getByRole('button', { name: 'Copy' }).click();
  await expect.poll(clipboard).toBe(await stored(chat, server));
  await lastAnswer(chat).locator('.table').hover();
  await chat.getByRole('button', { name: 'Copy table' }).click();
  await expect.poll(clipboard).toContain('column 0\tcolumn 1');
});
