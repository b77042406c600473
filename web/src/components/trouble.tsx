/** What happened, why, what next: where it happened, with a button for the next step. */
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { t } from '../i18n';
import type { WireNode } from '../services/wire';
import {
  askAgain,
  goOn,
  goOnWithSummary,
  leaveOutOldest,
  offline,
  retry,
  takeBack,
  widerModel,
} from '../stores/chat';
import { chooseModel } from '../stores/choice';
import type { Attempt, Conversation, TroubleKind } from '../stores/conversation';
import { seeingModel } from '../stores/pictures';
import { troubleWords } from '../stores/refusals';
import { leaveOut } from '../stores/tree';
import { Button } from './button';

const dropShare = 4; // when the answer itself filled the context: a quarter of the exchanges

function Card({
  kind,
  words,
  children,
}: {
  kind: string;
  words: string;
  children: ComponentChildren;
}) {
  return (
    <div class={`card trouble ${kind}`}>
      <p>{words}</p>
      <div class="row wrap">{children}</div>
    </div>
  );
}

/** Counts the seconds down while a message waits to go out by itself. */
function useSecond(active: boolean): void {
  const [, tick] = useState(0);
  useEffect(() => {
    if (!active) return;
    const timer = window.setInterval(() => tick((n) => n + 1), 1000);
    return () => window.clearInterval(timer);
  }, [active]);
}

interface WiderProps {
  tokens: number; // that it must read
  onModel: () => void;
}

function WiderModel({ tokens, onModel }: WiderProps) {
  const wider = widerModel(tokens);
  if (wider === null) return null;
  return (
    <Button
      label={t('full.model', { model: wider.name })}
      onClick={() => {
        chooseModel(wider.id);
        onModel();
      }}
    />
  );
}

function AskSeeing({ id, name, onModel }: { id: string; name: string; onModel: () => void }) {
  return (
    <Button
      label={t('pic.ask', { model: name })}
      onClick={() => {
        chooseModel(id);
        onModel();
      }}
    />
  );
}

interface ExitsProps {
  conversation: Conversation;
  drop: number;
  tokens: number; // that the conversation has; 0: more than the model reads
  onDrop: () => void;
  onModel: () => void;
}

function Exits({ conversation, drop, tokens, onDrop, onModel }: ExitsProps) {
  const path = conversation.path.value;
  const canDrop =
    drop > 0 && leaveOut(path, conversation.leftOut.value + drop)[0] !== conversation.firstRead();
  return (
    <>
      <Button label={t('full.sum')} onClick={() => void goOnWithSummary(conversation)} />
      {canDrop && (
        <Button
          label={drop === 1 ? t('full.drop1') : t('full.drop', { n: drop })}
          onClick={onDrop}
        />
      )}
      <WiderModel tokens={tokens} onModel={onModel} />
    </>
  );
}

/** To try again without a change would be refused again. */
const senseless = new Set<TroubleKind>([
  'full',
  'alone',
  'crowded',
  'long',
  'blind',
  'pictures',
  'picture',
]);

/** Under a question that could not be sent. */
export function Unsent({
  conversation,
  attempt,
}: {
  conversation: Conversation;
  attempt: Attempt;
}) {
  const trouble = attempt.trouble!;
  useSecond(trouble.retryAt > 0);
  const again = (): void => void retry(conversation);
  const tokens = trouble.context + trouble.over;
  return (
    <Card kind={trouble.kind} words={troubleWords(trouble)}>
      {trouble.kind === 'full' && (
        <Exits
          conversation={conversation}
          drop={trouble.drop}
          tokens={tokens}
          onDrop={() => void leaveOutOldest(conversation, trouble.drop)}
          onModel={again}
        />
      )}
      {trouble.kind === 'alone' && <WiderModel tokens={tokens} onModel={again} />}
      {trouble.kind === 'blind' && seeingModel.value !== null && (
        <AskSeeing id={seeingModel.value.id} name={seeingModel.value.name} onModel={again} />
      )}
      {trouble.kind === 'crowded' && (
        <Button label={t('full.sum')} onClick={() => void goOnWithSummary(conversation)} />
      )}
      {!senseless.has(trouble.kind) && (
        <Button icon="again" label={t('retry')} onClick={again} disabled={offline.value} />
      )}
      <Button label={t('takeback')} onClick={() => takeBack(conversation)} />
    </Card>
  );
}

const endWords = { engine_died: 'cut', server_stopped: 'cut.server', failed: 'failed' } as const;

interface EndedProps {
  conversation: Conversation;
  node: WireNode;
  why: string;
}

/** Under an answer that did not end by itself. */
export function Ended({ conversation, node, why }: EndedProps) {
  const go = (): void => void goOn(conversation, node);
  if (node.context_full) {
    const exchanges = conversation.path.value.filter((n) => n.role === 'user').length;
    const drop = Math.max(1, Math.floor(exchanges / dropShare));
    return (
      <Card kind="full" words={t('full.end')}>
        <Exits
          conversation={conversation}
          drop={drop}
          tokens={0}
          onDrop={() => void leaveOutOldest(conversation, drop)}
          onModel={go}
        />
      </Card>
    );
  }
  switch (node.end) {
    case 'cancelled':
      return <p class="note">{t('stopped')}</p>;
    case 'length':
      return (
        <Card kind="length" words={t('length')}>
          <Button label={t('cont')} onClick={go} />
        </Card>
      );
    case 'engine_died':
    case 'server_stopped':
    case 'failed': {
      const words = t(endWords[node.end]);
      const reason = why === '' || node.end !== 'failed' ? '' : ` ${t('failed.why', { why })}`;
      const again = (): void => askAgain(conversation, node);
      return (
        <Card kind="cut" words={words + reason}>
          {node.content !== '' && <Button label={t('cont')} onClick={go} />}
          <Button icon="again" label={t('again')} onClick={again} />
        </Card>
      );
    }
    default:
      return null;
  }
}
