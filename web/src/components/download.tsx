/** The one download of the server: its bar, its numbers, its buttons, and how it ended. */
import { bytes, duration, t } from '../i18n';
import { newChat } from '../stores/chat';
import { chooseModel } from '../stores/choice';
import {
  amounts,
  asking,
  dismissPull,
  isRunning,
  pausePull,
  pull,
  share,
  startPull,
} from '../stores/pulls';
import { inLanguage } from '../stores/errors';
import { navigate } from '../stores/router';
import { models } from '../stores/session';
import type { Pull } from '../services/wire';
import { Button } from './button';
import { Bar, percentOf } from './progress';

export function useModel(id: string): void {
  chooseModel(id);
  newChat();
  navigate('/');
}

function stateWords(now: Pull): string {
  const model = now.name;
  switch (now.state) {
    case 'planning':
      return t('pull.planning', { model });
    case 'fetching':
      return t('pull.fetching');
    case 'checking':
      return t('pull.checking');
    case 'opening':
      return t('pull.opening', { model });
    case 'done':
      return t('pull.done', { model: now.model ?? model });
    case 'paused':
      return t('pull.paused');
    case 'failed':
      return '';
  }
}

function Numbers({ now }: { now: Pull }) {
  if (now.bytes_total === 0) return null;
  const parts = [amounts(now)];
  if (now.state === 'fetching' && now.bytes_per_second > 0) {
    parts.push(t('pull.speed', { n: bytes(now.bytes_per_second) }));
    if (now.left_ms !== null) parts.push(t('pull.left', { t: duration(now.left_ms) }));
  }
  return <p class="progress-line">{parts.join(' · ')}</p>;
}

function Failure({ now }: { now: Pull }) {
  if (now.error === null) return null;
  const { what, why, next } = inLanguage(now.error);
  return (
    <div class="pull-failure">
      <p>
        <b dir="auto">{what}</b>
      </p>
      {why !== '' && <p dir="auto">{why}</p>}
      {next !== '' && (
        <p dir="auto">
          <span class="ink-2">{t('pull.next')}</span> {next}
        </p>
      )}
    </div>
  );
}

function Dismiss({ now }: { now: Pull }) {
  const heard = async (): Promise<void> => {
    if (!(await dismissPull())) return;
    // The button that had the focus is gone.
    document.querySelector<HTMLElement>('.settings-body')?.focus({ preventScroll: true });
  };
  return (
    <Button
      label={t('pull.dismiss')}
      name={t('pull.dismiss.name', { model: now.name })}
      disabled={asking.value !== ''}
      onClick={() => void heard()}
    />
  );
}

function Buttons({ now }: { now: Pull }) {
  const busy = asking.value !== '';
  if (isRunning(now)) {
    return <Button label={t('pull.pause')} disabled={busy} onClick={() => void pausePull()} />;
  }
  if (now.state === 'done') {
    const id = now.model;
    const here = id !== null && models.value.some((m) => m.id === id);
    return here ? (
      <Button kind="main" label={t('pull.use')} onClick={() => useModel(id)} />
    ) : (
      <p class="note">{t('model.opening')}</p>
    );
  }
  if (now.state !== 'paused' && now.state !== 'failed') return null;
  if (now.state === 'failed' && !now.resumable) return null;
  const words = t(now.bytes_here > 0 ? 'pull.resume' : 'retry');
  return (
    <Button
      kind="main"
      label={words}
      disabled={busy}
      onClick={() => void startPull(now.reference)}
    />
  );
}

export function Download() {
  const now = pull.value;
  if (now === null) return null;
  const fraction = share(now);
  const numbered = now.bytes_total > 0 && now.state !== 'done';
  const text = `${t('percent', { p: percentOf(fraction) })}, ${amounts(now)}`;
  return (
    <section class={`card pull ${now.state}`} aria-labelledby="pull-name">
      <h2 id="pull-name" dir="auto" tabIndex={-1}>
        {now.name}
      </h2>
      {stateWords(now) !== '' && <p>{stateWords(now)}</p>}
      {numbered && (
        <Bar fraction={fraction} label={t('pull.bar', { model: now.name })} text={text} />
      )}
      {numbered && <Numbers now={now} />}
      <Failure now={now} />
      <div class="row wrap">
        <Buttons now={now} />
        {['done', 'paused', 'failed'].includes(now.state) && <Dismiss now={now} />}
      </div>
    </section>
  );
}
