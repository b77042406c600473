import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import en from './en';
import fr from './fr';

declare const NAUTILE_WEB_ROOT: string;

const holes = (text: string): string[] => (text.match(/\{\w+\}/g) ?? []).sort();

test('both catalogues have the same keys', () => {
  assert.deepEqual(Object.keys(fr).sort(), Object.keys(en).sort());
});

test('both languages fill in the same values', () => {
  for (const key of Object.keys(en) as (keyof typeof en)[]) {
    assert.deepEqual(holes(fr[key]), holes(en[key]), key);
    assert.notEqual(fr[key].trim(), '', key);
  }
});

test('French sets its thin spaces', () => {
  for (const [key, text] of Object.entries(fr)) {
    assert.doesNotMatch(text, / [;!?:»%]|« /, key);
    assert.doesNotMatch(text, /[^\s\u202f][;!?](?:\s|$)/, key);
  }
});

test('every key is used by the page', () => {
  const read = (folder: string): string =>
    readdirSync(folder, { withFileTypes: true })
      .map((entry) => {
        const path = join(folder, entry.name);
        if (entry.isDirectory()) return entry.name === 'i18n' ? '' : read(path);
        return readFileSync(path, 'utf8');
      })
      .join('\n');
  const source = read(join(NAUTILE_WEB_ROOT, 'src'));
  const made = /^(?:budget|set\.(?:light|dark|system))/; // put together from parts
  for (const key of Object.keys(en)) {
    if (!made.test(key)) assert.ok(source.includes(`'${key}'`), key);
  }
});
