import assert from 'node:assert/strict';
import test from 'node:test';
import { inOrder } from './in_order';

test('a read that was overtaken answers what the later one did', async () => {
  const answers: ((answer: string) => void)[] = [];
  const read = inOrder(() => new Promise<string>((resolve) => answers.push(resolve)));
  const [first, second, third] = [read(), read(), read()];
  answers[1]!('second');
  assert.equal(await second, 'second');
  answers[0]!('first');
  assert.equal(await first, 'second');
  answers[2]!('third');
  assert.equal(await third, 'third');
});

test('a read that failed takes the place of none', async () => {
  let fail = false;
  const read = inOrder(async () => {
    if (fail) throw new Error('lost');
    return 'here';
  });
  assert.equal(await read(), 'here');
  fail = true;
  await assert.rejects(read(), /lost/);
  fail = false;
  assert.equal(await read(), 'here');
});
