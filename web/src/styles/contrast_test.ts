import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';

declare const NAUTILE_WEB_ROOT: string;

type Colours = Map<string, [number, number, number]>; // OKLCH

function themes(): { light: Colours; dark: Colours } {
  const css = readFileSync(join(NAUTILE_WEB_ROOT, 'src/styles/tokens.css'), 'utf8');
  const read = (block: string): Colours => {
    const colours: Colours = new Map();
    const token = /--([\w-]+): oklch\(([\d.]+) ([\d.]+) ([\d.]+)\)/g;
    for (const [, name, l, c, h] of block.matchAll(token)) {
      colours.set(name!, [Number(l), Number(c), Number(h)]);
    }
    return colours;
  };
  const [, light, dark] = css.split(/:root(?:\[data-theme='dark'\])? \{/);
  return { light: read(light!), dark: read(dark!) };
}

/** Relative luminance of an OKLCH colour, clipped to sRGB as a screen does. */
function luminance([l, c, h]: [number, number, number]): number {
  const a = c * Math.cos((h * Math.PI) / 180);
  const b = c * Math.sin((h * Math.PI) / 180);
  const lms = [
    l + 0.3963377774 * a + 0.2158037573 * b,
    l - 0.1055613458 * a - 0.0638541728 * b,
    l - 0.0894841775 * a - 1.291485548 * b,
  ].map((v) => v ** 3) as [number, number, number];
  const rows = [
    [4.0767416621, -3.3077115913, 0.2309699292],
    [-1.2684380046, 2.6097574011, -0.3413193965],
    [-0.0041960863, -0.7034186147, 1.707614701],
  ];
  const rgb = rows.map((row) => row.reduce((sum, k, i) => sum + k * lms[i]!, 0));
  const [r, g, bl] = rgb.map((v) => Math.min(1, Math.max(0, v))) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * bl;
}

function ratio(one: [number, number, number], other: [number, number, number]): number {
  const [high, low] = [luminance(one), luminance(other)].sort((x, y) => y - x) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

const grounds = ['bg', 'panel', 'raised', 'bubble'];
// Token, lowest ratio over the grounds in the light and in the dark theme (the design's table).
const floors: [string, number, number][] = [
  ['ink', 13.2, 12.1],
  ['ink-2', 5.9, 6.6],
  ['accent', 5.7, 8.0],
  ['ok', 5.4, 8.2],
  ['warn', 5.3, 8.9],
  ['bad', 5.4, 6.4],
  ['edge', 3.0, 3.0],
];
const rounding = 0.05;

for (const theme of ['light', 'dark'] as const) {
  const colours = themes()[theme];
  const get = (name: string): [number, number, number] => colours.get(name)!;
  const worst = (name: string): number =>
    Math.min(...grounds.map((ground) => ratio(get(name), get(ground))));

  test(`${theme}: text and controls stand out on every ground`, () => {
    for (const [name, light, dark] of floors) {
      const floor = theme === 'light' ? light : dark;
      assert.ok(worst(name) >= floor - rounding, `${name}: ${worst(name).toFixed(2)} < ${floor}`);
    }
  });

  test(`${theme}: words on accent, ink on the lamp, colours of code`, () => {
    assert.ok(ratio(get('on-accent'), get('accent')) >= (theme === 'light' ? 6.6 : 9.9));
    const onLamp: [number, number, number] = [0.2, 0.03, 238];
    assert.ok(ratio(onLamp, get('lamp')) >= 9);
    for (const kind of ['keyword', 'string', 'number', 'comment']) {
      const value = ratio(get(`code-${kind}`), get('code'));
      assert.ok(value >= 5.25, `${kind}: ${value.toFixed(2)}`);
    }
  });
}
