/**
 * What to show while the end of a text is still missing.
 *
 * `mend` takes the text from the start of the last block and returns what should be parsed in its
 * place: open emphasis and code spans are closed at the end, a half link shows its label, an open
 * formula is closed so that it can be shown as dim source, and a last line that could still become
 * something else (`#`, `-`, `1.`, a fence, a table row) is held back. Only the end of the text is
 * ever changed, so the offsets of earlier blocks stay true. It is a reading aid: the final parse
 * of the whole text decides.
 */
export interface Mended {
  text: string;
  held: boolean; // something was held back: show it after a while even if nothing follows
  openMath: boolean; // the last formula was closed by us
}

interface Fence {
  mark: string;
  length: number;
}

const prefix = /^[ \t>]*/;
const fenceLine = /^(?:[ \t>]|[-*+][ \t]|\d{1,9}[.)][ \t])*(`{3,}|~{3,})(.*)$/;
const undecided = /^(?:#{1,6}|[-*+]|\d{1,9}[.)]?|\||`{1,}|~{1,}|=+|-+|_+|\*+|\++|\${1,2}|\\[[(]?)$/;
const leafStart =
  /^[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])(?:[ \t]+|$))*(?:#{1,6}[ \t]+)?(?:\[[ xX]\][ \t])?/;
const startsLeaf = /^[ \t>]*(?:[-*+][ \t]|\d{1,9}[.)][ \t]|#{1,6}[ \t])/;

/** The fence that is open at the end of `text`, if any. */
function openFence(lines: readonly string[]): Fence | null {
  let open: Fence | null = null;
  for (const line of lines) {
    const found = fenceLine.exec(line);
    if (found === null) continue;
    const run = found[1]!;
    const rest = found[2]!;
    if (open === null) {
      if (run[0] === '~' || !rest.includes('`')) open = { mark: run[0]!, length: run.length };
    } else if (run[0] === open.mark && run.length >= open.length && rest.trim() === '') {
      open = null;
    }
  }
  return open;
}

function isTableRow(line: string): boolean {
  return /^[ \t>]*\|/.test(line);
}

/** Cuts the last line away if it could still become something else. */
function holdBack(lines: string[]): boolean {
  const last = lines[lines.length - 1] ?? '';
  const bare = last.replace(prefix, '');
  const fence = openFence(lines.slice(0, -1));
  if (fence !== null) {
    const maybeClosing = /^(`+|~+)[ \t]*$/.test(bare) && bare[0] === fence.mark;
    if (maybeClosing) lines[lines.length - 1] = '';
    return maybeClosing;
  }
  if (bare === '') return false;
  const afterMarkers = last.replace(leafStart, '');
  const fenceBegins = /^(?:`{3,}[^`]*|~{3,}.*)$/.test(afterMarkers);
  if (!undecided.test(bare) && !fenceBegins && !isTableRow(last)) return false;
  lines[lines.length - 1] = '';
  // A header row without its delimiter row is not a table yet.
  const before = lines[lines.length - 2];
  if (before !== undefined && isTableRow(before) && !isTableRow(lines[lines.length - 3] ?? '')) {
    lines.splice(lines.length - 2, 2, '');
  }
  return true;
}

interface Open {
  mark: string;
  at: number;
}

/** Finds what the inline text leaves open. Emphasis by flanking, much simplified. */
class Scanner {
  readonly stack: Open[] = [];
  verbatim: { mark: string; at: number } | null = null; // an open code span or formula
  private at = 0;

  constructor(private readonly text: string) {}

  run(): void {
    while (this.at < this.text.length && this.verbatim === null) this.step(this.text[this.at]!);
  }

  private step(char: string): void {
    if (char === '\\') this.escape();
    else if (char === '`') this.code();
    else if (char === '$') this.dollars();
    else if (char === '*' || char === '_' || char === '~') this.emphasis(char);
    else this.at++;
  }

  private escape(): void {
    const pair = this.text.slice(this.at, this.at + 2);
    if (pair === '\\(') this.formula('\\(', '\\)');
    else if (pair === '\\[') this.formula('\\[', '\\]');
    else this.at += 2;
  }

  private formula(open: string, close: string): void {
    const end = this.text.indexOf(close, this.at + open.length);
    if (end < 0) this.verbatim = { mark: close, at: this.at };
    else this.at = end + close.length;
  }

  private code(): void {
    const run = /^`+/.exec(this.text.slice(this.at))![0];
    const closing = new RegExp(`(?<!\`)${run}(?!\`)`).exec(this.text.slice(this.at + run.length));
    if (closing === null) this.verbatim = { mark: run, at: this.at };
    else this.at += run.length + closing.index + run.length;
  }

  private dollars(): void {
    if (this.text[this.at + 1] === '$') return this.formula('$$', '$$');
    const closing = /^\$(?!\s)(?:[^$\\]|\\.)*?\S?\$(?!\d)/.exec(this.text.slice(this.at));
    this.at += closing === null ? 1 : closing[0].length;
  }

  private emphasis(char: string): void {
    const run = new RegExp(`^\\${char}+`).exec(this.text.slice(this.at))![0];
    const before = this.text[this.at - 1] ?? ' ';
    const after = this.text[this.at + run.length] ?? ' ';
    const at = this.at;
    this.at += run.length;
    if (char === '~' && run.length !== 2) return;
    const word = /[\p{L}\p{N}]/u;
    const opens = !/\s/.test(after) && !(char === '_' && word.test(before));
    const closes = !/\s/.test(before) && !(char === '_' && word.test(after));
    const same = this.stack.map((open) => open.mark).lastIndexOf(run);
    if (closes && same >= 0) this.stack.length = same;
    else if (opens && run.length <= 3) this.stack.push({ mark: run, at });
  }
}

/** `[label](half` → `label`; `[label` → `label`. */
function mendLink(text: string): string {
  const half = /(!?)\[([^\[\]\n]*)(?:\](?:\([^)\n]*)?)?$/.exec(text);
  if (half === null || text[half.index - 1] === '\\') return text;
  return text.slice(0, half.index) + half[2]!;
}

function trimPartialMarks(text: string): string {
  return text.replace(/(?:&[#\w]{0,10}|\\|[*_~]+)$/, '');
}

function closeInline(text: string): { text: string; openMath: boolean } {
  const environment = /^[ \t>]*\\begin\{(\w+\*?)\}/.exec(text);
  if (environment !== null && !text.includes(`\\end{${environment[1]}}`)) {
    return {
      text: `${text.replace(/\\\w*$/, '').trimEnd()}\n\\end{${environment[1]}}`,
      openMath: true,
    };
  }
  const scan = new Scanner(text);
  scan.run();
  if (scan.verbatim !== null) {
    const { mark, at } = scan.verbatim;
    const inside = text.slice(at + mark.length);
    const body = mark[0] === '`' ? text : text.replace(/[\\$]$/, '');
    if (inside.trim() === '' || body.length <= at + mark.length) {
      return { text: text.slice(0, at), openMath: false };
    }
    const ownLine = mark[0] !== '`' && inside.includes('\n') ? '\n' : '';
    return { text: body.trimEnd() + ownLine + mark, openMath: mark[0] !== '`' };
  }
  return { text: closeEmphasis(text), openMath: false };
}

function closeEmphasis(text: string): string {
  let body = mendLink(trimPartialMarks(text));
  const scan = new Scanner(body);
  scan.run();
  for (const open of [...scan.stack].reverse()) {
    const at = open.at + open.mark.length;
    if (body.slice(at).trim() === '') body = body.slice(0, open.at);
    else body = body.trimEnd() + open.mark;
  }
  return body;
}

export function mend(tail: string, hold: boolean): Mended {
  const lines = tail.split('\n');
  const held = hold && holdBack(lines);
  if (openFence(lines) !== null) return { text: lines.join('\n'), held, openMath: false };
  const last = lines[lines.length - 1] ?? '';
  const before = lines[lines.length - 2] ?? '';
  if (last.trim() === '' || (isTableRow(last) && isTableRow(before))) {
    // An open formula goes on over line ends; everything else is complete at a line's end.
    if (last.trim() !== '' || before.trim() === '') {
      return { text: lines.join('\n'), held, openMath: false };
    }
  }
  let first = lines.length - 1;
  if (last.trim() === '') first--;
  while (
    first > 0 &&
    lines[first - 1]!.replace(prefix, '') !== '' &&
    !startsLeaf.test(lines[first]!)
  ) {
    if (fenceLine.test(lines[first - 1]!)) break;
    first--;
  }
  const marker = leafStart.exec(lines[first]!)![0];
  const paragraph = lines.slice(first).join('\n').slice(marker.length);
  const closed = closeInline(paragraph);
  const head = lines
    .slice(0, first)
    .map((line) => `${line}\n`)
    .join('');
  return { text: head + marker + closed.text, held, openMath: closed.openMath };
}
