/** One message: who, what, and what can be done with it. */
import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { decimal, duration, number, t } from '../i18n';
import { copyText } from '../services/files';
import type { WireNode } from '../services/wire';
import { askAgain, chooseVersion, deleteVersion, editQuestion } from '../stores/chat';
import type { Conversation } from '../stores/conversation';
import type { Live } from '../stores/live';
import { coarse } from '../stores/prefs';
import { modelName } from '../stores/session';
import { ask, say } from '../stores/ui';
import { directionOf } from '../text/direction';
import { IconButton } from './button';
import { enterSends } from './enter';
import { GrowingBox } from './grow';
import { Icon, type IconName } from './icons';
import { Drawing } from './drawing';
import { Markdown } from './markdown';
import { Menu } from './menu';
import { QuestionPictures } from './picture';
import { Progress } from './progress';
import { Thinking } from './thinking';
import { Ended, Unsent } from './trouble';

export const editRequest = { id: '' }; // ↑ in an empty box: the question to open for editing

const foldOverCharacters = 1200;
const foldOverLines = 12;

interface MessageProps {
  conversation: Conversation;
  node: WireNode;
  index: number;
  count: number;
  last: boolean;
}

export function Message(props: MessageProps) {
  const { conversation, node, index, count, last } = props;
  const who = node.role === 'user' ? t('you') : modelName(node.model) || t('answer');
  return (
    <article
      class={`message ${node.role} ${last ? 'last' : ''}`}
      id={`m-${node.id}`}
      tabIndex={-1}
      aria-setsize={count}
      aria-posinset={index + 1}
    >
      <h2 class="hidden">{t('says', { who })}</h2>
      {node.role === 'user' ? (
        <Question conversation={conversation} node={node} last={last} />
      ) : (
        <Answer conversation={conversation} node={node} last={last} />
      )}
    </article>
  );
}

interface Action {
  icon: IconName;
  label: string;
  run: () => void;
}

/** Icons on the last turn, and where a pointer can hover; elsewhere one button with a menu. */
function Actions({ list, last }: { list: Action[]; last: boolean }) {
  if (last || !coarse.matches) {
    return (
      <>
        {list.map(({ icon, label, run }) => (
          <IconButton key={icon} icon={icon} label={label} onClick={run} />
        ))}
      </>
    );
  }
  return (
    <Menu
      label={t('actions')}
      buttonClass="icon-button"
      align="start"
      role="menu"
      button={<Icon name="dots" />}
    >
      {(close) =>
        list.map(({ icon, label, run }) => (
          <button key={icon} type="button" role="menuitem" onClick={() => (close(), run())}>
            {label}
          </button>
        ))
      }
    </Menu>
  );
}

function useCopy(text: string): Action {
  const done = useSignal(false);
  const run = async (): Promise<void> => {
    if (!(await copyText(text, null))) return say(t('copy.select'));
    done.value = true;
    window.setTimeout(() => (done.value = false), 2000);
  };
  return {
    icon: done.value ? 'check' : 'copy',
    label: t(done.value ? 'copied' : 'copy'),
    run: () => void run(),
  };
}

function Versions({ conversation, node }: { conversation: Conversation; node: WireNode }) {
  conversation.version.value;
  const { ids, at } = conversation.tree.versions(node.id);
  if (ids.length < 2) return null;
  const go = (to: number) => () => chooseVersion(conversation, ids[to]!);
  return (
    <span class="versions" role="group" aria-label={t('version', { n: at + 1, m: ids.length })}>
      <IconButton icon="left" label={t('version.prev')} disabled={at === 0} onClick={go(at - 1)} />
      <span aria-hidden="true">{`${at + 1}/${ids.length}`}</span>
      <IconButton
        icon="right"
        label={t('version.next')}
        disabled={at === ids.length - 1}
        onClick={go(at + 1)}
      />
    </span>
  );
}

function deletion(conversation: Conversation, node: WireNode): Action {
  const run = (): void =>
    ask({
      title: t('version.sure'),
      text: t('version.sure.text', { n: conversation.tree.size(node.id) }),
      confirm: t('delete'),
      danger: true,
      act: () => deleteVersion(conversation, node.id),
    });
  return { icon: 'trash', label: t('version.delete'), run };
}

interface PartProps {
  conversation: Conversation;
  node: WireNode;
  last: boolean;
}

function Question({ conversation, node, last }: PartProps) {
  const editing = useSignal(editRequest.id === node.id);
  editRequest.id = editing.value ? '' : editRequest.id;
  useEffect(() => {
    const open = (event: Event): void => {
      if ((event as CustomEvent<string>).detail === node.id) editing.value = true;
    };
    window.addEventListener('nautile-edit', open);
    return () => window.removeEventListener('nautile-edit', open);
  }, [node.id]);
  const copy = useCopy(node.content);
  const edit: Action = { icon: 'edit', label: t('edit'), run: () => (editing.value = true) };
  const attempt = conversation.attempt.value;
  const unsent = attempt !== null && attempt.trouble !== null && attempt.question === node.id;
  if (editing.value) {
    return (
      <Editor conversation={conversation} node={node} onDone={() => (editing.value = false)} />
    );
  }
  return (
    <>
      <QuestionPictures node={node} />
      {node.content !== '' && <Bubble text={node.content} unsent={unsent} />}
      <div class="actions" role="group" aria-label={t('actions')}>
        <Actions last={last} list={[copy, edit, deletion(conversation, node)]} />
        <Versions conversation={conversation} node={node} />
      </div>
      {unsent && <Unsent conversation={conversation} attempt={attempt} />}
    </>
  );
}

/** A long question is folded, so that its answer has room under it. */
function Bubble({ text, unsent }: { text: string; unsent: boolean }) {
  const long = text.length > foldOverCharacters || text.split('\n').length > foldOverLines;
  const folded = useSignal(long);
  const kind = `bubble ${unsent ? 'unsent' : ''} ${folded.value ? 'folded' : ''}`;
  return (
    <>
      <div class={kind} dir={directionOf(text)}>
        {text}
      </div>
      {long && (
        <button
          type="button"
          class="button quiet"
          aria-expanded={!folded.value}
          onClick={() => (folded.value = !folded.value)}
        >
          {t(folded.value ? 'fold.show' : 'fold.hide')}
        </button>
      )}
    </>
  );
}

interface EditorProps {
  conversation: Conversation;
  node: WireNode;
  onDone: () => void;
}

function Editor({ conversation, node, onDone }: EditorProps) {
  const box = useRef<HTMLTextAreaElement>(null);
  const growing = useRef<GrowingBox | null>(null);
  const composedAt = useRef(-1000);
  const text = useSignal(node.content);
  const busy = conversation.live.value !== null;
  useEffect(() => {
    box.current?.focus();
    box.current?.setSelectionRange(node.content.length, node.content.length);
  }, []);
  useLayoutEffect(() => {
    const own = (growing.current = new GrowingBox(box.current!));
    own.fit();
    return () => own.close();
  }, []);
  const send = (): void => {
    if (text.value.trim() === '' || busy) return;
    onDone();
    editQuestion(conversation, node, text.value);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (enterSends(event, composedAt.current)) {
      event.preventDefault();
      send();
    } else if (event.key === 'Escape' && !event.isComposing && event.keyCode !== 229) {
      event.stopPropagation();
      onDone();
    }
  };
  return (
    <div class="editor">
      <textarea
        ref={box}
        dir="auto"
        rows={1}
        aria-label={t('edit.label')}
        enterkeyhint={coarse.matches ? 'enter' : 'send'}
        value={text.value}
        onInput={(event) => {
          text.value = event.currentTarget.value;
          growing.current!.typed();
        }}
        onKeyDown={onKeyDown}
        onCompositionEnd={(event) => (composedAt.current = event.timeStamp)}
      />
      <div class="row end wrap">
        <span class="note grow">{t('edit.note')}</span>
        <button type="button" class="button plain" onClick={onDone}>
          {t('cancel')}
        </button>
        <button
          type="button"
          class="button main"
          onClick={send}
          disabled={text.value.trim() === '' || busy}
        >
          {t('send')}
        </button>
      </div>
    </div>
  );
}

function figures(node: WireNode): string {
  const usage = node.usage;
  if (usage === undefined || usage.completion_tokens === 0) return '';
  const ms = usage.prompt_ms + usage.decode_ms;
  const parts = [t('figures', { n: number(usage.completion_tokens), t: duration(ms) })];
  if (usage.decode_ms > 0) {
    const speed = (1000 * usage.completion_tokens) / usage.decode_ms;
    parts.push(t('figures.speed', { n: decimal(speed, speed < 10 ? 1 : 0) }));
  }
  return parts.join(' · ');
}

function Answer({ conversation, node, last }: PartProps) {
  conversation.version.value;
  const live: Live | null = conversation.lives.get(node.id) ?? null;
  const busy = live !== null && live.ending.value === null;
  const thinks = (live !== null && live.reasoning.value !== '') || Boolean(node.reasoning);
  const why = live?.ending.value?.message ?? '';
  const copy = useCopy(node.content);
  const copying = node.drawing === undefined ? [copy] : [];
  const stopping = busy ? live.stopping.value : 'no';
  // The button of a drawing says itself that it was pressed.
  const said = stopping === 'asked' && node.drawing !== undefined ? 'no' : stopping;
  const again: Action = {
    icon: 'again',
    label: t('again'),
    run: () => askAgain(conversation, node),
  };
  return (
    <>
      {node.drawing !== undefined ? (
        <Drawing conversation={conversation} node={node} live={live} />
      ) : (
        <>
          {thinks && <Thinking node={node} live={live} />}
          <Markdown key={node.id} id={node.id} text={node.content} live={live} />
          {busy && <Progress live={live} />}
          {!busy && <Ended conversation={conversation} node={node} why={why} />}
        </>
      )}
      {said !== 'no' && <p class="note">{t(said === 'asked' ? 'stopping' : 'stop.late')}</p>}
      <div class="actions" role="group" aria-label={t('actions')} data-busy={busy}>
        {!busy && (
          <>
            <Actions last={last} list={[...copying, again, deletion(conversation, node)]} />
            <Versions conversation={conversation} node={node} />
            <span class="figures">{figures(node)}</span>
          </>
        )}
      </div>
    </>
  );
}
