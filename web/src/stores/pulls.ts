/**
 * Models to fetch: the catalogue, and the one download of the server, which every tab sees. The
 * server does the fetching; this page only asks for it and is told how it goes.
 */
import { signal } from '@preact/signals';
import { bytes, t } from '../i18n';
import { api, ApiError } from '../services/api';
import type { Catalogue, CatalogueRow, Pull, PullRules } from '../services/wire';
import { announce, announceError } from './announce';
import { sentences } from './errors';

export const rules = signal<PullRules>({ allowed: 'off', proposed: null });
export const pull = signal<Pull | null>(null);
export const catalogue = signal<Catalogue | null>(null);
export const catalogueTrouble = signal(false);
/** Why the last wish was refused, in words; empty: it was not. */
export const refusal = signal('');
/** A wish is on its way to the server. */
export const asking = signal('');

const quarter = 0.25;
let heard = false;

export function share(now: Pull): number {
  return now.bytes_total > 0 ? Math.min(1, now.bytes_here / now.bytes_total) : 0;
}

export function isRunning(now: Pull | null): boolean {
  return now !== null && ['planning', 'fetching', 'checking'].includes(now.state);
}

function spoken(before: Pull | null, now: Pull): void {
  const { name, model } = now;
  const same = before !== null && before.state === now.state && before.name === now.name;
  if (now.state === 'fetching') {
    const step = Math.floor(share(now) / quarter);
    const old = same ? Math.floor(share(before) / quarter) : 0;
    if (step > old && step < 4) announce(t('say.pull', { model: name, p: 25 * step }));
    return;
  }
  if (same) return;
  if (now.state === 'planning') announce(t('pull.planning', { model: name }));
  else if (now.state === 'opening') announce(t('pull.opening', { model: name }));
  else if (now.state === 'done') announce(t('pull.done', { model: model ?? name }));
  else if (now.state === 'paused') announce(t('pull.paused'));
  else if (now.error !== null) announceError(sentences(now.error));
}

/** Each stream says at its opening how the download stands, and from then on every change. */
export function hearPull(now: Pull | null): void {
  heard = true;
  takePull(now);
}

function takePull(now: Pull | null): void {
  const before = pull.peek();
  pull.value = now;
  if (now === null) return;
  // What lay there at the first look is no news.
  if (before !== null || isRunning(now)) spoken(before, now);
  const ended = before !== null && before.state !== now.state && !isRunning(now);
  if (ended && catalogue.peek() !== null) void readCatalogue();
}

export function takeRules(state: PullRules & { current: Pull | null }): void {
  rules.value = { allowed: state.allowed, proposed: state.proposed };
  // A reply may have been overtaken by the stream: it counts until that has spoken.
  if (!heard) takePull(state.current);
}

export async function readCatalogue(): Promise<void> {
  try {
    catalogue.value = await api.catalogue();
    catalogueTrouble.value = false;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    catalogueTrouble.value = catalogue.peek() === null;
  }
}

function refusedWords(error: ApiError): string {
  switch (error.reason) {
    case 'pull_off':
      return t('pull.off');
    case 'pull_outside':
      return t('pull.outside');
    case 'pull_busy':
      return t('pull.busy');
    case 'pull_rate':
      return t('pull.rate');
    case 'pull_reference':
    case 'invalid_value':
      return t('pull.reference');
    case 'offline':
    case 'pull_unavailable':
      return t('pull.unavailable');
    default:
      return error.message;
  }
}

async function attempt(what: string, act: () => Promise<void>): Promise<boolean> {
  if (asking.peek() !== '') return false;
  asking.value = what;
  refusal.value = '';
  try {
    await act();
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    refusal.value = refusedWords(error);
    announceError(refusal.value);
    return false;
  } finally {
    asking.value = '';
  }
}

export function startPull(reference: string): Promise<boolean> {
  return attempt(reference, async () => takeRules(await api.startPull(reference)));
}

export function pausePull(): Promise<boolean> {
  return attempt('pause', () => api.pausePull());
}

/** One that has ended is shown no more, on any tab; what it fetched stays on the disk. */
export function dismissPull(): Promise<boolean> {
  return attempt('dismiss', () => api.dismissPull());
}

/** Of the rows: what is proposed, what fits, what can be run from the disk, the rest. */
export function ordered(rows: readonly CatalogueRow[]): CatalogueRow[] {
  const rank = (row: CatalogueRow): number => {
    if (row.proposed) return 0;
    if (!row.runs) return 4;
    if (row.fits) return 1;
    return row.from_disk ? 2 : 3;
  };
  return [...rows].sort((a, b) => rank(a) - rank(b));
}

/** "1.2 of 4.7 GB · 38 MB/s": in words that stand under the bar. */
export function amounts(now: Pull): string {
  const here = bytes(now.bytes_here);
  const total = bytes(now.bytes_total);
  return t('pull.amount', { n: here, m: total });
}
