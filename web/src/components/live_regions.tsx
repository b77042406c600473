/** What is spoken, the short-lived word at the bottom, and the banner of a lost connection. */
import { effect, signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { t } from '../i18n';
import { alertText, announce, status } from '../stores/announce';
import { current, offline, readyElsewhere } from '../stores/chat';
import { prefs } from '../stores/prefs';
import { toast } from '../stores/ui';

const readEveryMs = 2_000;

export function LiveRegions() {
  return (
    <>
      <div class="hidden" role="status">
        {status.value}
      </div>
      <div class="hidden" role="alert">
        {alertText.value}
      </div>
      <div class="toast-place" role="status">
        {toast.value && <p class="toast">{toast.value}</p>}
      </div>
    </>
  );
}

export function OfflineBanner() {
  if (!offline.value) return null;
  return (
    <p class="banner" id="offline-banner">
      {t('offline')}
    </p>
  );
}

/** The title says only the name of the product, and a dot when an answer waits. */
export function useTitle(): void {
  useEffect(() => {
    const seen = (): void => {
      if (document.visibilityState === 'visible') readyElsewhere.value = false;
    };
    document.addEventListener('visibilitychange', seen);
    const stop = effect(() => {
      document.title = readyElsewhere.value ? '• Nautile' : 'Nautile';
    });
    return () => {
      document.removeEventListener('visibilitychange', seen);
      stop();
    };
  }, []);
}

/** "Read while written": whole sentences of the answer, at most one utterance every 2 s. */
export function useReadAloud(): void {
  useEffect(() => {
    const clock = signal(0);
    let spoken = { answer: '', upTo: 0 };
    const timer = window.setInterval(() => clock.value++, readEveryMs);
    const stop = effect(() => {
      clock.value;
      if (!prefs.value.readAloud) return;
      const live = current.peek().live.peek();
      if (live === null) return;
      if (spoken.answer !== live.answer) spoken = { answer: live.answer, upTo: 0 };
      const fresh = live.text.peek().slice(spoken.upTo);
      const end = Math.max(
        fresh.lastIndexOf('. '),
        fresh.lastIndexOf('? '),
        fresh.lastIndexOf('\n'),
      );
      if (end < 0) return;
      announce(fresh.slice(0, end + 1));
      spoken.upTo += end + 1;
    });
    return () => {
      window.clearInterval(timer);
      stop();
    };
  }, []);
}
