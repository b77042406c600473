/**
 * The thinking: one line, closed unless the person opens it; it never opens or closes by itself.
 * Open it is at most 40 % of the height and follows its own end until the reader scrolls up.
 */
import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { newestSentence } from '../base/words';
import { number, t } from '../i18n';
import type { WireNode } from '../services/wire';
import { answerNow } from '../stores/chat';
import type { Live } from '../stores/live';
import { prefs, setPrefs } from '../stores/prefs';
import { directionOf } from '../text/direction';
import { Icon } from './icons';

const nearEndPx = 24;

function Body({ text, growing }: { text: string; growing: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  const follow = useRef(growing);
  useLayoutEffect(() => {
    if (growing && follow.current) box.current!.scrollTop = box.current!.scrollHeight;
  }, [text, growing]);
  const onScroll = (): void => {
    const { scrollTop, scrollHeight, clientHeight } = box.current!;
    follow.current = scrollHeight - scrollTop - clientHeight <= nearEndPx;
  };
  return (
    <div
      ref={box}
      class="thinking-body"
      dir={directionOf(text)}
      tabIndex={0}
      role="region"
      aria-label={t('set.thinking')}
      onScroll={onScroll}
    >
      {text}
    </div>
  );
}

function words(node: WireNode, live: Live | null, ms: number): string {
  const busy = live !== null && live.phase.value.k === 'thinking';
  const seconds = number(Math.round(ms / 1000));
  if (busy) return t('thinking', { s: seconds });
  const tokens = live?.ending.value?.usage?.reasoning_tokens ?? node.usage?.reasoning_tokens ?? 0;
  const thought = t('thought', { s: seconds });
  return tokens > 0 ? `${thought} · ${t('thought.tokens', { n: number(tokens) })}` : thought;
}

export function Thinking({ node, live }: { node: WireNode; live: Live | null }) {
  const open = useSignal(prefs.peek().showThinking);
  const body = useRef<HTMLDivElement>(null);
  const text = live?.reasoning.value || node.reasoning || '';
  const ms = live?.thinkingMs.value || node.usage?.thinking_ms || 0;
  const busy = live !== null && live.phase.value.k === 'thinking';

  useEffect(() => {
    // Closed text is found by the browser's own search, which then opens it.
    const element = body.current!;
    if (open.value) element.removeAttribute('hidden');
    else element.setAttribute('hidden', 'until-found');
    const found = (): void => void (open.value = true);
    element.addEventListener('beforematch', found);
    return () => element.removeEventListener('beforematch', found);
  }, [open.value, text === '']);

  const toggle = (): void => {
    open.value = !open.value;
    setPrefs({ showThinking: open.value });
  };

  return (
    <section class="thinking">
      <div class="thinking-row">
        <button type="button" class="thinking-head" aria-expanded={open.value} onClick={toggle}>
          <Icon name={open.value ? 'down' : 'right'} />
          <span class={busy ? 'busy' : ''}>{words(node, live, ms)}</span>
        </button>
        {busy && (
          <button type="button" class="button quiet" onClick={() => void answerNow(live)}>
            {t('now')}
          </button>
        )}
      </div>
      {busy && !open.value && (
        <p class="thinking-line" dir="auto">
          {newestSentence(text) || '\u00a0'}
        </p>
      )}
      <div ref={body} hidden={!open.value}>
        <Body text={text} growing={busy} />
      </div>
    </section>
  );
}
