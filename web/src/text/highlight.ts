/** Colours code: lowlight's tree reduced to pieces. Loaded by the text worker on first need. */
import { createLowlight } from 'lowlight';
import bash from 'highlight.js/lib/languages/bash';
import c from 'highlight.js/lib/languages/c';
import cpp from 'highlight.js/lib/languages/cpp';
import csharp from 'highlight.js/lib/languages/csharp';
import css from 'highlight.js/lib/languages/css';
import diff from 'highlight.js/lib/languages/diff';
import dockerfile from 'highlight.js/lib/languages/dockerfile';
import go from 'highlight.js/lib/languages/go';
import ini from 'highlight.js/lib/languages/ini';
import java from 'highlight.js/lib/languages/java';
import javascript from 'highlight.js/lib/languages/javascript';
import json from 'highlight.js/lib/languages/json';
import kotlin from 'highlight.js/lib/languages/kotlin';
import latex from 'highlight.js/lib/languages/latex';
import lua from 'highlight.js/lib/languages/lua';
import makefile from 'highlight.js/lib/languages/makefile';
import php from 'highlight.js/lib/languages/php';
import python from 'highlight.js/lib/languages/python';
import ruby from 'highlight.js/lib/languages/ruby';
import rust from 'highlight.js/lib/languages/rust';
import sql from 'highlight.js/lib/languages/sql';
import swift from 'highlight.js/lib/languages/swift';
import typescript from 'highlight.js/lib/languages/typescript';
import xml from 'highlight.js/lib/languages/xml';
import yaml from 'highlight.js/lib/languages/yaml';
import type { Piece } from './tree';

const lowlight = createLowlight({
  bash,
  c,
  cpp,
  csharp,
  css,
  diff,
  dockerfile,
  go,
  ini,
  java,
  javascript,
  json,
  kotlin,
  latex,
  lua,
  makefile,
  php,
  python,
  ruby,
  rust,
  sql,
  swift,
  typescript,
  xml,
  yaml,
});
lowlight.registerAlias({ bash: ['console', 'shell', 'shellsession'], xml: ['vue', 'svelte'] });

/** The kinds that the page's five code colours know; everything else stays ink. */
const kinds: Record<string, string> = {
  keyword: 'k',
  built_in: 'n',
  type: 'n',
  literal: 'd',
  number: 'd',
  symbol: 'd',
  operator: '',
  string: 's',
  regexp: 's',
  char: 's',
  subst: '',
  addition: 's',
  deletion: 'd',
  comment: 'c',
  doctag: 'c',
  quote: 'c',
  meta: 'c',
  title: 'n',
  name: 'n',
  attr: 'n',
  attribute: 'n',
  property: 'n',
  variable: '',
  tag: '',
  'selector-tag': 'k',
  'selector-class': 'n',
  'selector-id': 'n',
  section: 'k',
  bullet: 'k',
  link: 's',
  'template-tag': 'k',
  params: '',
};

interface Hast {
  type: string;
  value?: string;
  properties?: { className?: string[] };
  children?: Hast[];
}

function pieces(nodes: Hast[]): Piece[] {
  const out: Piece[] = [];
  for (const node of nodes) {
    if (node.type === 'text') {
      out.push(node.value ?? '');
      continue;
    }
    const name = (node.properties?.className?.[0] ?? '').replace(/^hljs-/, '').split('.')[0]!;
    const kind = kinds[name] ?? '';
    const inner = pieces(node.children ?? []);
    if (kind === '') out.push(...inner);
    else out.push({ k: kind, c: inner });
  }
  return out;
}

export function highlight(language: string, code: string): Piece[] | null {
  if (!lowlight.registered(language)) return null;
  return pieces(lowlight.highlight(language, code).children as Hast[]);
}
