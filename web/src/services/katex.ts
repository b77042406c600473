/**
 * KaTeX, loaded when the first formula is on the page. It builds DOM and sets styles by property,
 * so it passes the page's policy; the two macros that would set a style attribute are defined away.
 * At most three formulas are rendered a frame; the result is kept by source and cloned.
 */
import type { KatexOptions } from 'katex';

const perFrame = 3;
const keptMax = 300;

type Render = (tex: string, element: HTMLElement, options: KatexOptions) => void;
export type Formula = { ok: true; node: DocumentFragment } | { ok: false; why: string };

let loading: Promise<Render> | null = null;
const kept = new Map<string, Formula>();
const waiting: (() => void)[] = [];
let scheduled = false;

async function load(): Promise<Render> {
  const [module] = await Promise.all([import('katex'), import('katex/dist/katex.min.css')]);
  return module.default.render;
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(drain);
  });
}

function drain(): void {
  waiting.splice(0, perFrame).forEach((go) => go());
  scheduled = waiting.length > 0;
  if (scheduled) requestAnimationFrame(drain);
}

function build(render: Render, tex: string, display: boolean): Formula {
  const box = document.createElement('span');
  try {
    render(tex, box, {
      displayMode: display,
      throwOnError: true,
      trust: false,
      strict: 'ignore',
      maxExpand: 200,
      maxSize: 20,
      macros: { '\\pmb': '\\boldsymbol{#1}', '\\fcolorbox': '\\boxed{#3}' },
    });
  } catch (error) {
    return { ok: false, why: error instanceof Error ? error.message : String(error) };
  }
  const node = document.createDocumentFragment();
  node.append(...box.childNodes);
  return { ok: true, node };
}

export async function formula(tex: string, display: boolean): Promise<Formula> {
  const key = `${display ? 'd' : 'i'}${tex}`;
  loading ??= load();
  const render = await loading;
  if (!kept.has(key)) await turn();
  const known = kept.get(key) ?? build(render, tex, display);
  kept.delete(key);
  kept.set(key, known);
  if (kept.size > keptMax) kept.delete(kept.keys().next().value!);
  return known.ok ? { ok: true, node: known.node.cloneNode(true) as DocumentFragment } : known;
}
