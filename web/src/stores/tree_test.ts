import assert from 'node:assert/strict';
import test from 'node:test';
import type { WireNode } from '../services/wire';
import { leaveOut, Tree } from './tree';

function node(id: string, parent: string | null, role: 'user' | 'assistant' = 'user'): WireNode {
  return { id, parent, role, content: id, created_unix_ms: 0 };
}

const ids = (path: readonly WireNode[]): string[] => path.map((n) => n.id);

function sample(): Tree {
  const tree = new Tree();
  tree.add(node('q1', null));
  tree.add(node('a1', 'q1', 'assistant'));
  tree.add(node('q2', 'a1'));
  tree.add(node('a2', 'q2', 'assistant'));
  return tree;
}

test('an edited question is a sibling branch and destroys nothing', () => {
  const tree = sample();
  tree.add(node('q2b', 'a1'));
  tree.add(node('a2b', 'q2b', 'assistant'));
  assert.deepEqual(ids(tree.path()), ['q1', 'a1', 'q2b', 'a2b']);
  assert.deepEqual(tree.versions('q2b'), { ids: ['q2', 'q2b'], at: 1 });
  tree.choose('q2');
  assert.deepEqual(ids(tree.path()), ['q1', 'a1', 'q2', 'a2']);
  assert.deepEqual(ids(tree.pathTo('a2b')), ['q1', 'a1', 'q2b', 'a2b']);
});

test('deleting a version takes what hangs below it and shows its sibling', () => {
  const tree = sample();
  tree.add(node('a1b', 'q1', 'assistant'));
  tree.choose('a1');
  assert.equal(tree.size('a1'), 3);
  tree.remove('a1');
  assert.deepEqual(ids(tree.path()), ['q1', 'a1b']);
  assert.equal(tree.nodes.size, 2);
  tree.remove('q1');
  assert.deepEqual(tree.path(), []);
});

test('a node that comes again is updated in place', () => {
  const tree = sample();
  tree.add({ ...node('a2', 'q2', 'assistant'), content: 'longer', end: 'stop' });
  assert.equal(tree.path()[3]!.content, 'longer');
  assert.deepEqual(tree.versions('a2').ids, ['a2']);
});

test('leaving out exchanges keeps questions and answers together', () => {
  const tree = sample();
  tree.add(node('q3', 'a2'));
  assert.deepEqual(ids(leaveOut(tree.path(), 1)), ['q2', 'a2', 'q3']);
  assert.deepEqual(ids(leaveOut(tree.path(), 2)), ['q3']);
  assert.deepEqual(ids(leaveOut(tree.path(), 9)), ['q3'], 'the last question is always read');
  assert.deepEqual(leaveOut([], 1), []);
});
