import assert from 'node:assert/strict';
import test from 'node:test';
import { EventParser } from './sse';

const stream =
  ': hello\n\nid: 1\ndata: {"n":1}\n\ndata: a\ndata: b\n\r\n\r\nid: 2\r\ndata:{"n":2}\r\n\r\n';

test('events come out whole, wherever the stream is cut', () => {
  for (let cut = 0; cut <= stream.length; cut++) {
    const parser = new EventParser();
    const events = [...parser.push(stream.slice(0, cut)), ...parser.push(stream.slice(cut))];
    assert.deepEqual(events, ['{"n":1}', 'a\nb', '{"n":2}'], `cut at ${cut}`);
  }
});

test('an event that is not ended is not given out', () => {
  assert.deepEqual(new EventParser().push('data: x\n'), []);
});
