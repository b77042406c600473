/** Why a message could not be sent: from the server's refusal to the words for it. */
import { kilobytes, number, t } from '../i18n';
import type { ApiError } from '../services/api';
import type { Trouble } from './conversation';
import { seeingModel } from './pictures';
import { model, session, unusable } from './session';

export const sizeOf = (text: string): number => new Blob([text]).size;

export function troubleOf(error: ApiError, text: string): Trouble {
  const wait = error.retryAfterS ?? 0;
  const trouble: Trouble = {
    kind: 'fault',
    code: String((error.body.error as { code?: string } | undefined)?.code ?? error.status),
    over: Number(error.body.tokens_over ?? 0),
    drop: Number(error.body.drop_exchanges ?? 0),
    context: Number(error.body.context_tokens ?? 0),
    bytes: sizeOf(text),
    bytesMax: Number(error.body.bytes_max ?? session.peek()?.limits.message_bytes_max ?? 0),
    retryAt: 0,
  };
  if (error.status === 0) trouble.kind = 'offline';
  else if (error.status === 402) trouble.kind = 'quota';
  else if (error.status === 404 && error.reason === 'model') trouble.kind = 'model';
  else if (error.reason === 'sees') trouble.kind = 'blind';
  else if (error.reason === 'pictures' || error.reason === 'picture') trouble.kind = error.reason;
  else if (error.status === 413 && error.reason === 'conversation') trouble.kind = 'crowded';
  else if (error.status === 413 && error.reason !== 'context') trouble.kind = 'long';
  else if (error.status === 413) trouble.kind = trouble.drop > 0 ? 'full' : 'alone';
  else if (error.status === 429) trouble.kind = 'rate';
  else if (error.status === 507) trouble.kind = 'disk';
  else if (error.status === 503) trouble.kind = 'engine';
  if (trouble.kind === 'rate' || trouble.kind === 'engine') {
    trouble.retryAt = Date.now() + Math.max(1, wait) * 1000;
  }
  return trouble;
}

export function troubleWords(trouble: Trouble): string {
  const seconds = Math.max(0, Math.ceil((trouble.retryAt - Date.now()) / 1000));
  switch (trouble.kind) {
    case 'offline':
      return t('offline');
    case 'rate':
      return t('rate', { s: seconds });
    case 'engine':
      return t('engine', { t: `${seconds} s` });
    case 'full':
      return t('full', { n: number(trouble.over) });
    case 'alone':
      return t('alone', { n: number(trouble.over) });
    case 'crowded':
      return t('crowded');
    case 'model': {
      const broken = unusable.peek().map(({ id, reason }) => `${id}: ${reason}`);
      if (broken.length > 0) return [t('model.bad'), ...broken].join(' ');
      return t('model.none', {
        command: session.peek()?.pull_command ?? 'nautile serve --model FILE.gguf',
      });
    }
    case 'quota':
      return t('quota');
    case 'disk':
      return t('disk');
    case 'long':
      return t('long', { n: kilobytes(trouble.bytes), m: kilobytes(trouble.bytesMax) });
    case 'blind': {
      const other = seeingModel.peek()?.name ?? 'Janus-Pro';
      return t('model.nopic', { model: model.peek()?.name ?? '', other });
    }
    case 'pictures':
      return t('pic.toomany');
    case 'picture':
      return t('pic.gone');
    case 'fault':
      return t('fault', { id: trouble.code });
  }
}
