/** Markdown text → the compact tree of tree.ts. Pure; runs in the text worker and in the tests. */
import type * as M from 'mdast';
import { fromMarkdown } from 'mdast-util-from-markdown';
import { gfmAutolinkLiteralFromMarkdown } from 'mdast-util-gfm-autolink-literal';
import { gfmStrikethroughFromMarkdown } from 'mdast-util-gfm-strikethrough';
import { gfmTableFromMarkdown } from 'mdast-util-gfm-table';
import { gfmTaskListItemFromMarkdown } from 'mdast-util-gfm-task-list-item';
import { gfmAutolinkLiteral } from 'micromark-extension-gfm-autolink-literal';
import { gfmStrikethrough } from 'micromark-extension-gfm-strikethrough';
import { gfmTable } from 'micromark-extension-gfm-table';
import { gfmTaskListItem } from 'micromark-extension-gfm-task-list-item';
import { DirectionCount } from './direction';
import { mathFromMarkdown, mathSyntax, type MathNode } from './math';
import type { Block, Direction, Inline, Item } from './tree';

/** Deeper nesting is shown as the text that it is: a tree this deep is an attack, not prose. */
const depthMax = 40;

const options = {
  extensions: [
    gfmAutolinkLiteral(),
    gfmStrikethrough({ singleTilde: false }),
    gfmTable(),
    gfmTaskListItem(),
    mathSyntax(),
  ],
  mdastExtensions: [
    gfmAutolinkLiteralFromMarkdown(),
    gfmStrikethroughFromMarkdown(),
    gfmTableFromMarkdown(),
    gfmTaskListItemFromMarkdown(),
    mathFromMarkdown(),
  ],
};

export interface Parsed {
  blocks: Block[];
  starts: number[]; // (blocks) offset of each block's first character in the text
}

type Definitions = Map<string, string>;

/** The absolute address of a link that may be followed, or null. */
export function safeHref(href: string): string | null {
  try {
    const url = new URL(href);
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function count(nodes: readonly M.Nodes[], into: DirectionCount): boolean {
  for (const node of nodes) {
    if (node.type === 'text') {
      if (!into.add(node.value)) return false;
    } else if ('children' in node && !count(node.children, into)) {
      return false;
    }
  }
  return true;
}

function directionOf(node: M.Parents): Direction {
  const letters = new DirectionCount();
  count(node.children, letters);
  return letters.direction;
}

function push(out: Inline[], piece: Inline): void {
  const last = out.length - 1;
  if (typeof piece === 'string' && typeof out[last] === 'string') out[last] += piece;
  else out.push(piece);
}

function link(out: Inline[], url: string, content: Inline[]): void {
  const href = safeHref(url);
  if (href !== null) {
    out.push({ t: 'a', href, c: content.length ? content : [href] });
    return;
  }
  for (const piece of content) push(out, piece);
  if (url !== '') push(out, ` (${url})`);
}

function inlines(nodes: readonly M.Nodes[], defs: Definitions, depth: number): Inline[] {
  const out: Inline[] = [];
  for (const node of nodes) inline(out, node, defs, depth);
  return out;
}

function inline(out: Inline[], node: M.Nodes, defs: Definitions, depth: number): void {
  const inner = (children: readonly M.Nodes[]): Inline[] =>
    depth < depthMax ? inlines(children, defs, depth + 1) : ['…'];
  switch (node.type as string) {
    case 'text':
    case 'html':
      return push(out, (node as M.Text).value);
    case 'inlineCode':
      return void out.push({ t: 'code', v: (node as M.InlineCode).value });
    case 'inlineMath': {
      const math = node as unknown as MathNode;
      return void out.push({ t: 'math', v: math.value, display: math.display });
    }
    case 'break':
      return void out.push({ t: 'br' });
    case 'emphasis':
      return void out.push({ t: 'em', c: inner((node as M.Emphasis).children) });
    case 'strong':
      return void out.push({ t: 'strong', c: inner((node as M.Strong).children) });
    case 'delete':
      return void out.push({ t: 'del', c: inner((node as M.Delete).children) });
    case 'link':
      return link(out, (node as M.Link).url, inner((node as M.Link).children));
    case 'linkReference': {
      const reference = node as M.LinkReference;
      return link(out, defs.get(reference.identifier) ?? '', inner(reference.children));
    }
    case 'image':
      return link(out, (node as M.Image).url, [(node as M.Image).alt || (node as M.Image).url]);
    case 'imageReference': {
      const reference = node as M.ImageReference;
      const url = defs.get(reference.identifier) ?? '';
      return link(out, url, [reference.alt || url]);
    }
    default:
      if ('children' in node) for (const piece of inner(node.children)) push(out, piece);
  }
}

function item(node: M.ListItem, defs: Definitions, depth: number): Item {
  const content: Item = { c: blocks(node.children, defs, depth + 1) };
  if (typeof node.checked === 'boolean') content.checked = node.checked;
  return content;
}

function block(node: M.Nodes, defs: Definitions, depth: number): Block | null {
  switch (node.type as string) {
    case 'paragraph': {
      const p = node as M.Paragraph;
      return { t: 'p', dir: directionOf(p), c: inlines(p.children, defs, depth) };
    }
    case 'heading': {
      const h = node as M.Heading;
      return { t: 'h', n: h.depth, dir: directionOf(h), c: inlines(h.children, defs, depth) };
    }
    case 'code':
      return { t: 'code', lang: (node as M.Code).lang ?? '', v: (node as M.Code).value };
    case 'math':
      return { t: 'math', v: (node as unknown as MathNode).value };
    case 'blockquote': {
      const quote = node as M.Blockquote;
      return { t: 'quote', dir: directionOf(quote), c: blocks(quote.children, defs, depth + 1) };
    }
    case 'list': {
      const list = node as M.List;
      const loose = list.children.some((li) => li.spread) || list.spread === true;
      const start = list.ordered ? (list.start ?? 1) : null;
      const c = list.children.map((li) => item(li, defs, depth + 1));
      return { t: 'list', start, loose, dir: directionOf(list), c };
    }
    case 'table': {
      const table = node as M.Table;
      const rows = table.children.map((row) =>
        row.children.map((cell) => inlines(cell.children, defs, depth)),
      );
      return { t: 'table', align: table.align ?? [], dir: directionOf(table), rows };
    }
    case 'thematicBreak':
      return { t: 'hr' };
    case 'html':
      return { t: 'html', v: (node as M.Html).value };
    default:
      return null;
  }
}

function blocks(nodes: readonly M.Nodes[], defs: Definitions, depth: number): Block[] {
  if (depth > depthMax) return [{ t: 'p', dir: 'ltr', c: ['…'] }];
  return nodes.flatMap((node) => block(node, defs, depth) ?? []);
}

function definitions(root: M.Root): Definitions {
  const defs: Definitions = new Map();
  const walk = (nodes: readonly M.Nodes[], depth: number): void => {
    for (const node of nodes) {
      if (node.type === 'definition') {
        if (!defs.has(node.identifier)) defs.set(node.identifier, node.url);
      } else if ('children' in node && depth < depthMax) {
        walk(node.children, depth + 1);
      }
    }
  };
  walk(root.children, 0);
  return defs;
}

export function parse(text: string): Parsed {
  const root = fromMarkdown(text, options);
  const defs = definitions(root);
  const parsed: Parsed = { blocks: [], starts: [] };
  for (const node of root.children) {
    const made = block(node, defs, 0);
    if (made === null) continue;
    parsed.blocks.push(made);
    parsed.starts.push(node.position?.start.offset ?? 0);
  }
  return parsed;
}
