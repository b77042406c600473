/**
 * One text that grows at its end, parsed piece by piece.
 *
 * Only the text from the start of the last top-level block is parsed again; the blocks before it
 * are frozen: they are sent once and never replaced, so the reader's selection survives. What
 * stands inside an open fence is not parsed at all but appended. When the text is complete, one
 * parse of the whole replaces only the blocks that differ (late link definitions).
 *
 *   text   | # Title ¶ First paragraph ¶ - list ¶ - goes o
 *          |  frozen    frozen            tail: parsed again
 */
import { mend } from './mend';
import { parse } from './parse';
import type { Block, Inline } from './tree';

export interface Update {
  from: number; // blocks before this index stay as they are
  blocks: Block[]; // replace everything from `from` on
  append: string; // goes to the end of the last block, which is an open fence (then blocks = [])
  held: boolean; // ask again with hold=false if nothing arrives within 300 ms
}

interface OpenFence {
  mark: string;
  length: number;
  shown: number; // offset in the text up to which the code has been sent
}

function markOpenMath(block: Block | undefined): void {
  if (block === undefined) return;
  if (block.t === 'math') block.open = true;
  else if (block.t === 'p' || block.t === 'h') markOpenInline(block.c);
  else if (block.t === 'quote') markOpenMath(block.c[block.c.length - 1]);
  else if (block.t === 'list') markOpenMath(block.c[block.c.length - 1]?.c.slice(-1)[0]);
}

function markOpenInline(pieces: Inline[]): void {
  const last = pieces[pieces.length - 1];
  if (typeof last === 'object' && last.t === 'math') last.open = true;
  else if (typeof last === 'object' && 'c' in last) markOpenInline(last.c);
}

export class GrowingText {
  private text = '';
  private blocks: Block[] = [];
  private frozen = 0; // blocks that never change again
  private tailStart = 0; // offset of the last block
  private fence: OpenFence | null = null;

  /** The text so far is `text`, which starts with what was given before. */
  grow(text: string, hold: boolean): Update {
    this.text = text;
    if (this.fence !== null) {
      const append = this.growFence(this.fence);
      if (append !== null) return { from: this.blocks.length, blocks: [], append, held: false };
      this.fence = null;
    }
    return this.growTail(hold);
  }

  /** The text is complete: returns what one parse of the whole would show differently. */
  finish(text: string): Update {
    const whole = parse(text).blocks;
    let from = 0;
    const same = (i: number): boolean =>
      JSON.stringify(whole[i]) === JSON.stringify(this.blocks[i]);
    while (from < whole.length && from < this.blocks.length && same(from)) from++;
    this.text = text;
    this.blocks = whole;
    this.fence = null;
    return { from, blocks: whole.slice(from), append: '', held: false };
  }

  private growTail(hold: boolean): Update {
    const mended = mend(this.text.slice(this.tailStart), hold);
    const parsed = parse(mended.text);
    const from = this.frozen;
    if (mended.openMath) markOpenMath(parsed.blocks[parsed.blocks.length - 1]);
    const count = parsed.blocks.length;
    this.blocks = [...this.blocks.slice(0, from), ...parsed.blocks];
    if (count > 1) {
      this.frozen += count - 1;
      this.tailStart += parsed.starts[count - 1]!;
    }
    this.findFence(parsed.blocks[count - 1]);
    return { from, blocks: parsed.blocks, append: '', held: mended.held };
  }

  /** If the last block is a fence at the margin that is still open, later text is only appended. */
  private findFence(last: Block | undefined): void {
    if (last?.t !== 'code') return;
    const tail = this.text.slice(this.tailStart);
    const opening = /^(`{3,}|~{3,})[^\n]*\n/.exec(tail.slice(tail.search(/[^\n]|$/)));
    if (opening === null) return;
    const lead = tail.search(/[^\n]|$/);
    const bodyStart = this.tailStart + lead + opening[0].length;
    const fence: OpenFence = {
      mark: opening[1]![0]!,
      length: opening[1]!.length,
      shown: bodyStart,
    };
    const body = this.text.slice(bodyStart);
    if (body.split('\n').some((line) => this.closes(line, fence))) return;
    last.open = true;
    last.v = '';
    this.fence = fence;
    last.v = this.growFence(fence) ?? '';
  }

  private closes(line: string, fence: OpenFence): boolean {
    const run = /^ {0,3}(`+|~+)[ \t\r]*$/.exec(line)?.[1];
    return run !== undefined && run[0] === fence.mark && run.length >= fence.length;
  }

  /** The new code since last time, or null when the fence has been closed. */
  private growFence(fence: OpenFence): string | null {
    // Lines are read from the start of the one that `shown` stands in.
    const lineStart = this.text.lastIndexOf('\n', fence.shown - 1) + 1;
    const lines = this.text.slice(lineStart).split('\n');
    if (lines.slice(0, -1).some((line) => this.closes(line, fence))) return null;
    // A last line that may become the closing fence waits; so does the line end before it.
    const last = lines[lines.length - 1]!;
    const waits = last === '' || /^ {0,3}[`~]+[ \t\r]*$/.test(last) || /^ {1,3}$/.test(last);
    const end = waits
      ? this.text.length - last.length - (lines.length > 1 ? 1 : 0)
      : this.text.length;
    const grown = this.text.slice(fence.shown, Math.max(end, fence.shown));
    fence.shown = Math.max(end, fence.shown);
    const code = this.blocks[this.blocks.length - 1];
    if (grown !== '' && code?.t === 'code') code.v += grown;
    return grown;
  }
}
