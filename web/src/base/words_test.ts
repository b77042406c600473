import assert from 'node:assert/strict';
import test from 'node:test';
import { newestSentence, titleOf } from './words';

test('a title is the first 60 characters of the question', () => {
  assert.equal(titleOf('  Why\n is it?  '), 'Why is it?');
  const long = titleOf('👩‍🚀'.repeat(80));
  assert.ok([...long].length <= 60);
  assert.ok(long.endsWith('…'));
});

test('the newest sentence is the last one, with its neighbour if it has just begun', () => {
  assert.equal(newestSentence('First one here. Second one is long.'), 'Second one is long.');
  assert.equal(newestSentence('First one here. So'), 'First one here. So');
  assert.equal(newestSentence(''), '');
});
