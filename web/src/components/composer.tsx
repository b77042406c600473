/**
 * The box. Events of the stream never touch it. Its text leaves it once the server has accepted
 * the message; what is typed is kept as a draft (services/drafts.ts) and survives a reload.
 */
import { useComputed, useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { number, t } from '../i18n';
import { draftsWritten, readDraft, writeDraft } from '../services/drafts';
import {
  budgets,
  current,
  draftRequest,
  offline,
  send,
  stop,
  takeBackWaiting,
  waitInLine,
} from '../stores/chat';
import { composerBox } from '../stores/box';
import type { Conversation } from '../stores/conversation';
import type { Live } from '../stores/live';
import { blindTo, chipsOf, drawMode, putChips } from '../stores/pictures';
import { coarse, prefs, setPrefs } from '../stores/prefs';
import { model } from '../stores/session';
import { overlay, question, say } from '../stores/ui';
import { AttachButton, Chips, DrawToggle, onPaste, useDrop } from './attach';
import { enterSends } from './enter';
import { GrowingBox } from './grow';
import { Icon } from './icons';
import { Menu } from './menu';

const draftAfterMs = 300;
const stopDeafMs = 400;
const sendingAfterMs = 1000;

/** What was typed before the script was there: the page's first textarea is in the HTML. */
export const early = { text: '', start: 0, end: 0, focused: false };

function draftName(conversation: Conversation): string {
  return conversation.state.peek() === 'new' ? 'new' : conversation.id;
}

function ThinkControl() {
  const kind = model.value?.thinking ?? 'never';
  const { think, budget } = prefs.value;
  if (kind === 'never') return null;
  const on = kind === 'always' || think === 'on';
  return (
    <>
      {kind === 'optional' && (
        <button
          type="button"
          class="chip"
          aria-label={t('think')}
          aria-pressed={on}
          title={t(on ? 'think.on' : 'think.off')}
          onClick={() => setPrefs({ think: on ? 'off' : 'on' })}
        >
          <Icon name="think" />
          <span>{t('think')}</span>
        </button>
      )}
      {on && (
        <Menu
          label={`${t('budget')}: ${t(`budget.${budget}`)}`}
          buttonClass="chip"
          align="start"
          up
          role="menu"
          button={
            <>
              {kind === 'always' && <Icon name="think" />}
              <span>{t(`budget.${budget}`)}</span>
              <Icon name="down" />
            </>
          }
        >
          {(close) =>
            (Object.keys(budgets) as (keyof typeof budgets)[]).map((name) => (
              <button
                key={name}
                type="button"
                role="menuitemradio"
                aria-checked={budget === name}
                onClick={() => {
                  setPrefs({ budget: name });
                  close();
                }}
              >
                <b>{t(`budget.${name}`)}</b>
                <small>
                  {budgets[name] === undefined
                    ? t('budget.noneabout')
                    : t('budget.about', { n: number(budgets[name]) })}
                </small>
              </button>
            ))
          }
        </Menu>
      )}
    </>
  );
}

/** Stands when the message would survive a reload. */
function Waiting({ conversation }: { conversation: Conversation }) {
  const text = conversation.waiting.value;
  const kept = useSignal<string | null>(null);
  useEffect(() => {
    if (text === null) kept.value = null;
    else void draftsWritten().then(() => (kept.value = text));
  }, [text]);
  if (text === null || kept.value !== text) return null;
  return (
    <div class="waiting">
      <span class="waiting-what">{t('wait.line')}</span>
      <span class="waiting-text" dir="auto">
        {text}
      </span>
      <button type="button" class="button quiet" onClick={() => takeBackWaiting(conversation)}>
        {t('wait.cancel')}
      </button>
    </div>
  );
}

interface SendProps {
  live: Live | null;
  empty: boolean;
  sending: boolean;
  blind: boolean;
  onSend: () => void;
}

function SendOrStop({ live, empty, sending, blind, onSend }: SendProps) {
  const since = useRef(0);
  const wasLive = useRef(false);
  if (live !== null && !wasLive.current) since.current = performance.now();
  wasLive.current = live !== null;
  const slow = useSignal(false);
  useEffect(() => {
    slow.value = false;
    if (!sending) return;
    const timer = window.setTimeout(() => (slow.value = true), sendingAfterMs);
    return () => window.clearTimeout(timer);
  }, [sending]);
  if (live !== null) {
    const asked = live.stopping.value !== 'no';
    const words = t(asked ? 'stopping' : 'stop');
    const click = (): void => {
      if (performance.now() - since.current > stopDeafMs) void stop(live);
    };
    return (
      <button type="button" class="send stop" onClick={click} disabled={asked} aria-label={words}>
        <Icon key="stop" name="stop" />
        <span key="stop-words">{words}</span>
      </button>
    );
  }
  const label = t(slow.value ? 'sending' : 'send');
  const barred = offline.value;
  return (
    <button
      type="button"
      class="send"
      aria-label={label}
      onClick={onSend}
      disabled={empty || sending || barred || blind}
      title={barred ? t('offline.send') : undefined}
      aria-describedby={barred ? 'offline-banner' : blind ? 'blind-note' : undefined}
    >
      <Icon key="up" name="up" />
      <span key="send-words">{label}</span>
    </button>
  );
}

export function Composer() {
  const conversation = current.value;
  const box = useRef<HTMLTextAreaElement>(null);
  const growing = useRef<GrowingBox | null>(null);
  const composedAt = useRef(-1000);
  const timer = useRef(0);
  const text = useSignal('');
  const empty = useComputed(() => text.value.trim() === ''); // a key draws nothing again
  const live = conversation.live.value;
  const sending =
    conversation.attempt.value !== null && conversation.attempt.value.trouble === null;

  const put = (value: string): void => {
    text.value = value;
    box.current!.value = value;
    growing.current!.fit();
  };
  const keep = (unsent?: string): void => {
    window.clearTimeout(timer.current);
    void writeDraft(draftName(conversation), text.peek(), unsent);
  };

  useLayoutEffect(() => {
    const own = (growing.current = new GrowingBox(box.current!));
    return () => own.close();
  }, []);

  useLayoutEffect(() => {
    composerBox.current = box.current;
    if (early.text !== '' || early.focused) {
      put(early.text);
      if (early.focused) box.current!.focus();
      box.current!.setSelectionRange(early.start, early.end);
      Object.assign(early, { text: '', focused: false });
    } else {
      put(readDraft(draftName(conversation)));
      if (!coarse.matches && document.activeElement === document.body) box.current!.focus();
    }
    const hide = (): void => keep();
    window.addEventListener('pagehide', hide);
    return () => {
      window.removeEventListener('pagehide', hide);
      keep();
    };
  }, [conversation.id]);

  useEffect(() => {
    const wanted = draftRequest.value;
    if (wanted === null || wanted.conversation !== conversation.id) return;
    draftRequest.value = null;
    const before = text.peek();
    put(before.trim() === '' ? wanted.text : `${wanted.text}\n\n${before}`);
    keep(wanted.unsent);
    box.current!.focus();
    // What was typed last stands at the end; of a long text only that is seen.
    box.current!.setSelectionRange(text.peek().length, text.peek().length);
    box.current!.scrollTop = box.current!.scrollHeight;
  }, [draftRequest.value, conversation.id]);

  const onInput = (): void => {
    text.value = box.current!.value;
    growing.current!.typed();
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(keep, draftAfterMs);
  };

  const submit = async (): Promise<void> => {
    const words = text.peek();
    if (words.trim() === '' || sending || offline.peek() || blindTo(conversation)) return;
    const name = draftName(conversation);
    const pictures = chipsOf(conversation)
      .peek()
      .map(({ id }) => id);
    const draw = drawMode.peek() ? { pictures: 1 } : null;
    if (conversation.live.peek() !== null) {
      if (pictures.length > 0 || draw !== null) return say(t('pic.wait'));
      if (conversation.waiting.peek() !== null) return say(t('wait.line'));
      waitInLine(conversation, words);
    } else if (!(await send(conversation, words, { pictures, draw }))) {
      return;
    }
    putChips(conversation, []);
    void writeDraft(name, '');
    if (text.peek() === words) put('');
    keep();
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    if (enterSends(event, composedAt.current)) {
      event.preventDefault();
      void submit();
    } else if (event.key === 'ArrowUp' && text.peek() === '' && !event.isComposing) {
      const questions = conversation.path.peek().filter((node) => node.role === 'user');
      const last = questions[questions.length - 1];
      if (last === undefined || conversation.live.peek() !== null) return;
      event.preventDefault();
      window.dispatchEvent(new CustomEvent('nautile-edit', { detail: last.id }));
    } else if (event.key === 'Escape' && !event.isComposing) {
      const running = conversation.live.peek();
      if (running !== null && overlay.peek() === 'none' && question.peek() === null)
        void stop(running);
    }
  };

  const dropping = useDrop(conversation);
  const words = t(drawMode.value ? 'draw.ask' : 'ask');

  return (
    <div class="composer">
      <Waiting conversation={conversation} />
      <div
        class={dropping ? 'composer-box dropping' : 'composer-box'}
        onClick={(e) => e.target === e.currentTarget && box.current!.focus()}
      >
        <Chips conversation={conversation} />
        <textarea
          id="box"
          ref={box}
          dir="auto"
          rows={1}
          placeholder={dropping ? t('pic.drop') : words}
          aria-label={words}
          enterkeyhint={coarse.matches ? 'enter' : 'send'}
          onInput={onInput}
          onKeyDown={onKeyDown}
          onPaste={(event) => onPaste(conversation, event)}
          onCompositionEnd={(event) => (composedAt.current = event.timeStamp)}
        />
        <div class="composer-row">
          <AttachButton conversation={conversation} />
          <DrawToggle conversation={conversation} />
          {!drawMode.value && <ThinkControl />}
          <SendOrStop
            live={live}
            empty={empty.value}
            sending={sending}
            blind={blindTo(conversation)}
            onSend={() => void submit()}
          />
        </div>
      </div>
    </div>
  );
}
