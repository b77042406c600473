import assert from 'node:assert/strict';
import test from 'node:test';
import { corpus } from './corpus';
import { directionOf } from './direction';
import { GrowingText } from './incremental';
import { mend } from './mend';
import { parse, safeHref } from './parse';
import type { Block, Inline } from './tree';

/** Feeds `text` cut at `cuts`; returns the page's copy of the tree and checks the frozen rule. */
function stream(text: string, cuts: readonly number[]): Block[] {
  const growing = new GrowingText();
  let page: Block[] = [];
  let settled = 0;
  for (const cut of cuts) {
    const update = growing.grow(text.slice(0, cut), cut % 2 === 0);
    assert.ok(update.from >= settled, `a frozen block was replaced at ${cut}`);
    if (update.append !== '') {
      const last = page[page.length - 1];
      assert.equal(last?.t, 'code');
      page = [...page.slice(0, -1), { ...(last as Block & { t: 'code' }) }];
      (page[page.length - 1] as { v: string }).v += update.append;
    } else if (update.blocks.length > 0 || update.from < page.length) {
      page = [...page.slice(0, update.from), ...structuredClone(update.blocks)];
    }
    if (update.blocks.length > 0) settled = Math.max(settled, update.from);
  }
  const last = growing.finish(text);
  return [...page.slice(0, last.from), ...last.blocks];
}

for (const [name, text] of Object.entries(corpus)) {
  test(`${name}: fed character by character, the final tree is the whole parse`, () => {
    const every = Array.from({ length: text.length }, (_, i) => i + 1);
    assert.deepEqual(stream(text, every), parse(text).blocks);
  });
  test(`${name}: one cut at every place, the final tree is the whole parse`, () => {
    const whole = parse(text).blocks;
    for (let cut = 0; cut <= text.length; cut++) assert.deepEqual(stream(text, [cut]), whole);
  });
}

test('a frozen block differs from the whole parse only where a late definition says so', () => {
  for (const [name, text] of Object.entries(corpus)) {
    if (name === 'references') continue;
    const growing = new GrowingText();
    let page: Block[] = [];
    for (let cut = 1; cut <= text.length; cut++) {
      const update = growing.grow(text.slice(0, cut), false);
      if (update.append === '') page = [...page.slice(0, update.from), ...update.blocks];
    }
    const whole = parse(text).blocks;
    const frozen = page.slice(0, -1);
    assert.deepEqual(frozen, whole.slice(0, frozen.length), name);
  }
});

const p = (...c: Inline[]): Block => ({ t: 'p', dir: 'ltr', c });
const math = (v: string, display = false): Inline => ({ t: 'math', v, display });

test('mathematics: delimiters, prices, code', () => {
  const cases: [string, Block[]][] = [
    ['a $x+y$ b', [p('a ', math('x+y'), ' b')]],
    ['$5 and $10', [p('$5 and $10')]],
    ['from $5-$10 each', [p('from $5-$10 each')]],
    ['$ x$ and $x $', [p('$ x$ and $x $')]],
    ['USD$30,000 and $20,000', [p('USD$30,000 and $20,000')]],
    ['`$x$` and `\\(y\\)`', [p({ t: 'code', v: '$x$' }, ' and ', { t: 'code', v: '\\(y\\)' })]],
    ['\\(a_1\\) and \\[b\\] in', [p(math('a_1'), ' and ', math('b', true), ' in')]],
    ['\\\\(a\\\\)', [p('\\(a\\)')]],
    ['$$ e^{x} $$', [{ t: 'math', v: 'e^{x}' }]],
    ['so $$e$$ is', [p('so ', math('e', true), ' is')]],
    ['text\n$$\na\n- b\n= c\n$$\nmore', [p('text'), { t: 'math', v: 'a\n- b\n= c' }, p('more')]],
    ['\\[\nx\n\\]', [{ t: 'math', v: 'x' }]],
    ['> $$\n> a\n> $$', [{ t: 'quote', dir: 'ltr', c: [{ t: 'math', v: 'a' }] }]],
    [
      '\\begin{align}\na &= b \\\\\n\\end{align}',
      [{ t: 'math', v: '\\begin{align}\na &= b \\\\\n\\end{align}' }],
    ],
    ['\\begin{document}x\\end{document}', [p('\\begin{document}x\\end{document}')]],
    ['$$\nnever closed', [p('$$\nnever closed')]],
    ['$a\\$b$', [p(math('a\\$b'))]],
    ['**$a*b$**', [p({ t: 'strong', c: [math('a*b')] })]],
    ['```\n$x$\n```', [{ t: 'code', lang: '', v: '$x$' }]],
  ];
  for (const [text, want] of cases) assert.deepEqual(parse(text).blocks, want, text);
});

test('only http, https and mailto are links', () => {
  assert.equal(safeHref('https://example.org/a'), 'https://example.org/a');
  assert.equal(safeHref('mailto:a@example.org'), 'mailto:a@example.org');
  for (const bad of ['javascript:alert(1)', ' JaVa\nscript:x', 'data:text/html,x', '/a', 'a', '']) {
    assert.equal(safeHref(bad), null, bad);
  }
  const json = JSON.stringify(parse(corpus.links!).blocks);
  assert.equal((json.match(/"t":"a"/g) ?? []).length, 1);
});

test('raw HTML stays text', () => {
  const blocks = parse(corpus.html!).blocks;
  assert.deepEqual(blocks[0], { t: 'html', v: '<script>alert(1)</script>' });
});

test('mending shows what will be', () => {
  const show = (text: string): Inline[] => {
    const block = parse(mend(text, true).text).blocks[0];
    return block !== undefined && 'c' in block ? (block.c as Inline[]) : [];
  };
  assert.deepEqual(show('a **bol'), ['a ', { t: 'strong', c: ['bol'] }]);
  assert.deepEqual(show('a **bold*'), ['a ', { t: 'strong', c: ['bold'] }]);
  assert.deepEqual(show('a `co'), ['a ', { t: 'code', v: 'co' }]);
  assert.deepEqual(show('a ~~st'), ['a ', { t: 'del', c: ['st'] }]);
  assert.deepEqual(show('a [lab'), ['a lab']);
  assert.deepEqual(show('a [label](https://exa'), ['a label']);
  assert.deepEqual(show('a \\(x+'), ['a ', math('x+')]);
  assert.deepEqual(show('costs $5 and'), ['costs $5 and']);
  for (const held of ['#', '-', '1.', '|', '```', 'text\n|a|b|', 'text\n-']) {
    assert.equal(mend(held, true).held, true, held);
    assert.equal(mend(held, false).held, false, held);
  }
});

test('direction: majority of the first forty letters, code not counted', () => {
  assert.equal(directionOf('hello'), 'ltr');
  assert.equal(directionOf('مرحبا hi'), 'rtl');
  assert.equal(directionOf('123 !'), 'ltr');
  const blocks = parse(corpus.rtl!).blocks;
  assert.equal((blocks[0] as { dir: string }).dir, 'rtl');
  assert.equal((blocks[1] as { dir: string }).dir, 'ltr');
});

test('hostile nesting ends quickly', () => {
  const started = performance.now();
  parse('>'.repeat(1000));
  parse('[a]('.repeat(1000));
  parse('$$\n'.repeat(1000));
  parse('\\('.repeat(1000));
  assert.ok(performance.now() - started < 20_000);
});
