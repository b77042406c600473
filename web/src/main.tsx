/** Starts the page: takes over what was typed before the script came, then mounts. */
import { render } from 'preact';
import { App } from './routes/app';
import { early } from './components/composer';
import { scriptUrl } from './base/policy';
import { loadLanguage } from './i18n';
import { warmUp } from './services/text';
import { readSession } from './stores/session';
import './styles/tokens.css';
import './styles/base.css';
import './styles/shell.css';
import './styles/chat.css';
import './styles/picture.css';
import './styles/prose.css';
import './styles/models.css';
import './styles/overlay.css';

const reloadedKey = 'nautile.reloaded';

/** A chunk of an older build is gone: one reload fetches the new one. */
window.addEventListener('vite:preloadError', () => {
  if (sessionStorage.getItem(reloadedKey) === '1') return;
  sessionStorage.setItem(reloadedKey, '1');
  location.reload();
});

function takeEarlyText(): void {
  const box = document.querySelector<HTMLTextAreaElement>('#early-box');
  if (box === null) return;
  early.text = box.value;
  early.start = box.selectionStart;
  early.end = box.selectionEnd;
  early.focused = document.activeElement === box;
}

/** While a composition runs in the first box, moving it would break the word: the mount waits. */
function whenComposed(): Promise<void> {
  const box = document.querySelector<HTMLTextAreaElement>('#early-box');
  if (box?.dataset.composing === undefined) return Promise.resolve();
  return new Promise((resolve) => box.addEventListener('compositionend', () => resolve()));
}

async function start(): Promise<void> {
  warmUp();
  // The page's first box stays on the screen until it is known what comes after it.
  await Promise.all([loadLanguage(), readSession()]);
  await whenComposed();
  takeEarlyText();
  const root = document.getElementById('app')!;
  root.replaceChildren();
  render(<App />, root);
  if ('serviceWorker' in navigator && window.isSecureContext) {
    await navigator.serviceWorker.register(scriptUrl('/sw.js')).catch(() => undefined);
  }
}

void start();
