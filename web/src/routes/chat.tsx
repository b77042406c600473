/** The chat: head, conversation, box. */
import { t } from '../i18n';
import { Composer } from '../components/composer';
import { Find } from '../components/find';
import { Header } from '../components/header';
import { Logo } from '../components/icons';
import { OfflineBanner } from '../components/live_regions';
import { Transcript } from '../components/transcript';
import { current, newChat, reload } from '../stores/chat';
import { model, session } from '../stores/session';
import { overlay } from '../stores/ui';

function Empty() {
  const found = model.value;
  const pull = session.value?.pull_command ?? 'nautile serve --model FILE.gguf';
  const note = found === null ? 'model.none' : found.starter ? 'starter' : null;
  const [before, after] = note === null ? [] : t(note).split('{command}');
  return (
    <div class="empty">
      <Logo />
      <h2>{t('empty')}</h2>
      {note !== null && (
        <p class="empty-note">
          {before}
          <code class="command">{pull}</code>
          {after}
        </p>
      )}
    </div>
  );
}

function Missing({ reachable }: { reachable: boolean }) {
  return (
    <div class="empty">
      <h2>{t(reachable ? 'missing' : 'unreachable')}</h2>
      {reachable && <p class="empty-note">{t('missing.why')}</p>}
      <button type="button" class="button main" onClick={reachable ? newChat : reload}>
        {t(reachable ? 'new' : 'retry')}
      </button>
    </div>
  );
}

function Body() {
  const conversation = current.value;
  const path = conversation.path.value;
  const state = conversation.state.value;
  if (path.length > 0) {
    return <Transcript key={conversation.id} conversation={conversation} path={path} />;
  }
  if (state === 'missing' || state === 'unreachable')
    return <Missing reachable={state === 'missing'} />;
  if (state === 'loading') return <div class="empty" aria-busy="true" />;
  return <Empty />;
}

export function Chat() {
  return (
    <main class="chat">
      <Header />
      {overlay.value === 'find' && <Find />}
      <OfflineBanner />
      <Body />
      <Composer />
    </main>
  );
}
