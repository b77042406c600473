/** Waiting, each kind with its number: place in line, loading, reading, and the plain seconds. */
import { useEffect, useState } from 'preact/hooks';
import { duration, range, t } from '../i18n';
import { stop } from '../stores/chat';
import type { Live, Phase } from '../stores/live';
import { modelName } from '../stores/session';
import { Button } from './button';

interface BarProps {
  fraction: number;
  label?: string;
  text?: string; // what is read out in place of the number
}

/** Rounded, but 100 of the whole alone. */
export function percentOf(fraction: number): number {
  return fraction >= 1 ? 100 : Math.min(99, Math.round(100 * Math.max(0, fraction)));
}

export function Bar({ fraction, label, text }: BarProps) {
  const percent = percentOf(fraction);
  return (
    <div
      class="bar"
      role="progressbar"
      aria-label={label ?? t('progress')}
      aria-valuetext={text}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
    >
      <span style={{ width: `${percent}%` }} />
    </div>
  );
}

/** Seconds since `since`; nothing for the first one, so that quick answers show no clock. */
function Seconds({ since }: { since: number }) {
  const [now, setNow] = useState(performance.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(performance.now()), 1000);
    return () => window.clearInterval(timer);
  }, [since]);
  const seconds = Math.floor((now - since) / 1000);
  return <p class="progress-line">{seconds >= 1 ? t('asking', { s: seconds }) : '\u00a0'}</p>;
}

function Queue({ phase, live }: { phase: Phase & { k: 'queue' }; live: Live }) {
  const time = range(phase.low, phase.high);
  const words = phase.position <= 1 ? t('next') : t('queue', { n: phase.position, t: time });
  const done = phase.first <= 1 ? 0.5 : (phase.first - phase.position) / phase.first;
  return (
    <div class="card progress">
      <p>{words}</p>
      <Bar fraction={Math.max(0.04, done)} />
      <Button label={t('leave')} onClick={() => void stop(live)} />
    </div>
  );
}

export function Progress({ live }: { live: Live }) {
  const phase = live.phase.value;
  switch (phase.k) {
    case 'waiting':
      return <Seconds since={phase.since} />;
    case 'queue':
      return <Queue phase={phase} live={live} />;
    case 'load':
      return (
        <div class="card progress">
          <p>{t('load', { model: modelName(phase.model), t: duration(phase.remaining) })}</p>
          <Bar fraction={phase.fraction} />
        </div>
      );
    case 'read': {
      const fraction = phase.total > 0 ? phase.done / phase.total : 0;
      return (
        <div class="card progress">
          <p>{t('read', { p: Math.round(100 * fraction) })}</p>
          <Bar fraction={fraction} />
        </div>
      );
    }
    default:
      return null;
  }
}
