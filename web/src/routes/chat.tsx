/** The chat: head, conversation, box. */
import { t } from '../i18n';
import { Composer } from '../components/composer';
import { Find } from '../components/find';
import { Header } from '../components/header';
import { Logo } from '../components/icons';
import { OfflineBanner } from '../components/live_regions';
import { NoModel } from '../components/no_model';
import { StarterNote } from '../components/offer';
import { Transcript } from '../components/transcript';
import { current, newChat, reload } from '../stores/chat';
import { model } from '../stores/session';
import { overlay } from '../stores/ui';

function Empty() {
  const found = model.value;
  return (
    <div class="empty">
      <Logo />
      <h2>{t('empty')}</h2>
      {found === null && <NoModel />}
      {found?.starter && <StarterNote />}
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
