/** Which page stands here, what lies over it, and the keys that work everywhere. */
import { useEffect } from 'preact/hooks';
import { language, loadLanguage, t } from '../i18n';
import { Confirm } from '../components/confirm';
import { LiveRegions, useReadAloud, useTitle } from '../components/live_regions';
import { Keys, Palette } from '../components/palette';
import { Drawer, Sidebar } from '../components/sidebar';
import { SignInAgain } from '../components/signin_again';
import { transcript } from '../components/transcript';
import { connect, current, newChat, offline, stop } from '../stores/chat';
import { startMeter } from '../stores/meter';
import { prefs } from '../stores/prefs';
import { navigate, route } from '../stores/router';
import { gate, justSetUp, readSession } from '../stores/session';
import { overlay } from '../stores/ui';
import { Chat } from './chat';
import { lazy } from './lazy';
import { Settings } from './settings';
import { Setup } from './setup';
import { SignIn } from './signin';

const againMs = 2_000;
const Models = lazy(async () => (await import('./models')).Models);

function inText(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches('textarea, input, select');
}

function moveByMessage(event: KeyboardEvent): boolean {
  const shown = transcript.current;
  if (shown === null || !event.altKey || inText(event.target)) return false;
  const path = current.peek().path.peek();
  if (event.key === 'ArrowDown' && event.shiftKey) {
    const answers = path.map((node, i) => (node.role === 'assistant' ? i : -1));
    shown.goTo(Math.max(...answers));
  } else if (event.key === 'ArrowDown') shown.goTo(shown.index() + 1);
  else if (event.key === 'ArrowUp') shown.goTo(Math.max(0, shown.index() - 1));
  else return false;
  return true;
}

function onKeyDown(event: KeyboardEvent): void {
  if (gate.peek() !== 'ready' || event.isComposing) return;
  const control = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (control && key === 'k') overlay.value = overlay.peek() === 'palette' ? 'none' : 'palette';
  else if (control && key === '/') overlay.value = overlay.peek() === 'keys' ? 'none' : 'keys';
  else if (control && event.shiftKey && key === 'o') newChat();
  else if (event.key === 'End' && !control && !inText(event.target))
    transcript.current?.followEnd();
  else if (!moveByMessage(event)) return;
  event.preventDefault();
}

function onEscape(event: KeyboardEvent): void {
  if (event.key !== 'Escape' || event.defaultPrevented || event.isComposing) return;
  if (overlay.peek() === 'find') return void (overlay.value = 'none');
  const live = current.peek().live.peek();
  const free = overlay.peek() === 'none' && document.querySelector('dialog[open]') === null;
  if (live !== null && free && !inText(event.target)) {
    void stop(live);
  }
}

function useStart(): void {
  useEffect(() => {
    document.addEventListener('keydown', onKeyDown);
    document.addEventListener('keydown', onEscape);
    startMeter();
  }, []);
  const state = gate.value;
  useEffect(() => {
    if (state === 'ready') connect();
    if (state !== 'unreachable') return;
    offline.value = true;
    const timer = window.setInterval(() => void readSession(), againMs);
    return () => window.clearInterval(timer);
  }, [state]);
  useEffect(() => void loadLanguage(), [language.value]);
}

function Shell() {
  const page = route.value.page;
  if (page === 'unknown') return <Unknown />;
  return (
    <div class={prefs.value.sidebar ? 'shell' : 'shell no-sidebar'}>
      {page === 'chat' && (
        <a class="skip" href="#box">
          {t('skip')}
        </a>
      )}
      <Sidebar />
      {page === 'settings' ? <Settings /> : page === 'models' ? <Models /> : <Chat />}
      <Drawer />
      {overlay.value === 'palette' && <Palette />}
      {overlay.value === 'keys' && <Keys />}
    </div>
  );
}

function Unknown() {
  return (
    <main class="door">
      <div class="door-card">
        <h1>{t('notfound')}</h1>
        <button type="button" class="button main" onClick={() => navigate('/', true)}>
          {t('home')}
        </button>
      </div>
    </main>
  );
}

function Page() {
  switch (gate.value) {
    case 'setup':
      return <Setup />;
    case 'signin':
      return <SignIn />;
    case 'ready':
      return justSetUp.value ? <Setup /> : <Shell />;
    default:
      return <Shell />;
  }
}

export function App() {
  useStart();
  useTitle();
  useReadAloud();
  return (
    <>
      <Page />
      <Confirm />
      <SignInAgain />
      <LiveRegions />
    </>
  );
}
