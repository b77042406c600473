/**
 * The compact tree that the text worker sends to the page. It is data, never HTML: the page turns
 * each node into a Preact node, so nothing that a model writes can become markup or script.
 *
 * `dir` is fixed by the first 40 strong letters of a block, so it never flips while text arrives.
 * `open` marks what its author has not closed yet (a fence, a formula): shown, but not final.
 */
export type Direction = 'ltr' | 'rtl';

export type Inline =
  | string
  | { t: 'em' | 'strong' | 'del'; c: Inline[] }
  | { t: 'code'; v: string }
  | { t: 'math'; v: string; display: boolean; open?: true }
  | { t: 'a'; href: string; c: Inline[] }
  | { t: 'br' };

export interface Item {
  checked?: boolean;
  c: Block[];
}

export type Block =
  | { t: 'p'; dir: Direction; c: Inline[] }
  | { t: 'h'; n: number; dir: Direction; c: Inline[] }
  | { t: 'code'; lang: string; v: string; open?: true }
  | { t: 'math'; v: string; open?: true }
  | { t: 'quote'; dir: Direction; c: Block[] }
  | { t: 'list'; start: number | null; loose: boolean; dir: Direction; c: Item[] }
  | { t: 'table'; align: (string | null)[]; dir: Direction; rows: Inline[][][] }
  | { t: 'hr' }
  | { t: 'html'; v: string };

/** A highlighted piece of code: plain text, or a class with pieces in it. */
export type Piece = string | { k: string; c: Piece[] };
