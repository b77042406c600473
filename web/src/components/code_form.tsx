/** The one-time code of the terminal: the same field for the first run and for signing in. */
import { useSignal } from '@preact/signals';
import { useEffect, useId } from 'preact/hooks';
import { duration, t } from '../i18n';
import { ApiError } from '../services/api';

interface CodeFormProps {
  label: string;
  submit: string;
  act: (code: string) => Promise<void>;
}

export function CodeForm({ label, submit, act }: CodeFormProps) {
  const code = useSignal('');
  const trouble = useSignal('');
  const barredUntil = useSignal(0);
  const busy = useSignal(false);
  const id = useId();

  useEffect(() => {
    if (barredUntil.value === 0) return;
    const timer = window.setInterval(() => {
      const left = barredUntil.value - Date.now();
      trouble.value = left > 0 ? t('code.wait', { t: duration(left) }) : '';
      if (left <= 0) barredUntil.value = 0;
    }, 500);
    return () => window.clearInterval(timer);
  }, [barredUntil.value]);

  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    busy.value = true;
    trouble.value = '';
    try {
      await act(code.value.trim());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 429) {
        const wait = Math.max(1, error.retryAfterS ?? 60) * 1000;
        barredUntil.value = Date.now() + wait;
        trouble.value = t('code.wait', { t: duration(wait) });
      } else if (error.status === 403) trouble.value = t('code.bad');
      else
        trouble.value =
          error.status === 0 ? t('unreachable') : t('fault', { id: String(error.status) });
    }
    busy.value = false;
  };

  const barred = barredUntil.value > 0;
  return (
    <form class="code-form" onSubmit={send}>
      <label class="field" for={`${id}-code`}>
        <span>{label}</span>
        <input
          id={`${id}-code`}
          class="code-input"
          data-first
          autocomplete="one-time-code"
          autocapitalize="characters"
          spellcheck={false}
          inputMode="text"
          maxLength={40}
          aria-invalid={trouble.value !== ''}
          aria-describedby={`${id}-trouble`}
          value={code.value}
          onInput={(event) => (code.value = event.currentTarget.value)}
        />
      </label>
      <button class="button main" disabled={busy.value || barred || code.value.trim() === ''}>
        {submit}
      </button>
      <p id={`${id}-trouble`} class="bad" role="alert">
        {trouble.value}
      </p>
    </form>
  );
}
