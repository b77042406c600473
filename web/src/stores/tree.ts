/**
 * A conversation is a tree: siblings are versions, one child of every node is the chosen one, and
 * the visible path from the root is exactly what the model reads. Pure; no signals, no wire.
 */
import type { WireNode } from '../services/wire';

const root = '';

export class Tree {
  readonly nodes = new Map<string, WireNode>();
  private readonly children = new Map<string, string[]>();
  private readonly chosen = new Map<string, string>();

  /** Adds a node and shows it. A node that is known is updated in place. */
  add(node: WireNode): void {
    const known = this.nodes.get(node.id);
    if (known !== undefined) {
      Object.assign(known, node);
      return;
    }
    this.nodes.set(node.id, node);
    const parent = node.parent ?? root;
    const siblings = this.children.get(parent);
    if (siblings === undefined) this.children.set(parent, [node.id]);
    else siblings.push(node.id);
    this.chosen.set(parent, node.id);
  }

  /** The visible branch from the root. */
  path(): WireNode[] {
    const path: WireNode[] = [];
    let at = this.chosen.get(root);
    while (at !== undefined && path.length < this.nodes.size) {
      const node = this.nodes.get(at);
      if (node === undefined) break;
      path.push(node);
      at = this.chosen.get(at);
    }
    return path;
  }

  /** The branch from the root to `id`, whatever is chosen. */
  pathTo(id: string): WireNode[] {
    const path: WireNode[] = [];
    let node = this.nodes.get(id);
    while (node !== undefined && path.length < this.nodes.size) {
      path.unshift(node);
      node = node.parent === null ? undefined : this.nodes.get(node.parent);
    }
    return path;
  }

  /** The versions of a message, oldest first, and which of them `id` is. */
  versions(id: string): { ids: string[]; at: number } {
    const node = this.nodes.get(id);
    const ids = node === undefined ? [] : (this.children.get(node.parent ?? root) ?? []);
    return { ids, at: ids.indexOf(id) };
  }

  choose(id: string): void {
    const node = this.nodes.get(id);
    if (node !== undefined) this.chosen.set(node.parent ?? root, id);
  }

  /** How many messages go when `id` goes. */
  size(id: string): number {
    return this.subtree(id).length;
  }

  remove(id: string): void {
    const node = this.nodes.get(id);
    if (node === undefined) return;
    for (const gone of this.subtree(id)) {
      this.nodes.delete(gone);
      this.children.delete(gone);
      this.chosen.delete(gone);
    }
    const parent = node.parent ?? root;
    const left = (this.children.get(parent) ?? []).filter((sibling) => sibling !== id);
    if (left.length === 0) {
      this.children.delete(parent);
      this.chosen.delete(parent);
    } else {
      this.children.set(parent, left);
      this.chosen.set(parent, left[left.length - 1]!);
    }
  }

  private subtree(id: string): string[] {
    const all = [id];
    for (let i = 0; i < all.length; i++) all.push(...(this.children.get(all[i]!) ?? []));
    return all;
  }
}

/** Leaves out the oldest `exchanges` of a path: a question and what answers it go together. */
export function leaveOut(path: readonly WireNode[], exchanges: number): WireNode[] {
  let at = 0;
  for (let left = exchanges; left > 0; left--) {
    let next = at + 1;
    while (next < path.length && path[next]!.role !== 'user') next++;
    if (next >= path.length) break;
    at = next;
  }
  return path.slice(at);
}
