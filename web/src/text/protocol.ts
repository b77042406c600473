/** What the page and its text worker say to each other. One request is in flight at a time. */
import type { Update } from './incremental';
import type { Block, Piece } from './tree';

export type Request =
  | { kind: 'grow'; doc: number; text: string; hold: boolean }
  | { kind: 'finish'; doc: number; text: string }
  | { kind: 'parse'; doc: number; text: string }
  | { kind: 'forget'; doc: number }
  | { kind: 'highlight'; doc: number; language: string; code: string };

export type Reply =
  | { kind: 'ready' }
  | { kind: 'update'; doc: number; update: Update }
  | { kind: 'tree'; doc: number; blocks: Block[] }
  | { kind: 'pieces'; doc: number; pieces: Piece[] | null };
