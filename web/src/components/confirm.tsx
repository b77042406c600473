/** One question at a time: confirm or name. Focus goes to the least destructive button. */
import { useState } from 'preact/hooks';
import { t } from '../i18n';
import { ApiError } from '../services/api';
import { question, type Question } from '../stores/ui';
import { Dialog } from './dialog';

export function Confirm() {
  const what = question.value;
  return what === null ? null : <Ask key={what.title} what={what} />;
}

function Ask({ what }: { what: Question }) {
  const [value, setValue] = useState(what.field?.value ?? '');
  const [trouble, setTrouble] = useState('');
  const [busy, setBusy] = useState(false);
  const close = (): void => void (question.value = null);

  const act = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    try {
      await what.act(value);
      close();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setTrouble(error.status === 0 ? t('offline') : t('fault', { id: String(error.status) }));
      setBusy(false);
    }
  };

  return (
    <Dialog label={what.title} kind="confirm" onClose={close}>
      <form onSubmit={act}>
        <h2>{what.title}</h2>
        {what.text && <p>{what.text}</p>}
        {what.field && (
          <label class="field">
            <span>{what.field.label}</span>
            <input
              data-first
              value={value}
              maxLength={200}
              onInput={(event) => setValue(event.currentTarget.value)}
            />
          </label>
        )}
        {trouble && (
          <p class="bad" role="alert">
            {trouble}
          </p>
        )}
        <div class="row end">
          <button type="button" class="button plain" data-first={!what.field} onClick={close}>
            {t('cancel')}
          </button>
          <button
            type="submit"
            class={`button ${what.danger ? 'danger' : 'main'}`}
            disabled={busy || (what.field !== undefined && value.trim() === '')}
          >
            {what.confirm}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
