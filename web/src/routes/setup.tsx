/** The first run: the code of the terminal, then the model that was found. */
import { t } from '../i18n';
import { CodeForm } from '../components/code_form';
import { Logo } from '../components/icons';
import { NoModel } from '../components/no_model';
import { StarterNote } from '../components/offer';
import { navigate } from '../stores/router';
import { gate, justSetUp, model, setUp } from '../stores/session';

function Steps({ at }: { at: number }) {
  return (
    <p class="steps">
      <span class="hidden">{t('setup.step', { n: at, m: 2 })}</span>
      <span aria-hidden="true">
        <b class={at === 1 ? 'here' : ''}>1 {t('setup.code')}</b>
        <b class={at === 2 ? 'here' : ''}>2 {t('setup.model')}</b>
      </span>
    </p>
  );
}

function Model() {
  const found = model.value;
  const leave = (): void => void (justSetUp.value = false);
  const start = (): void => {
    leave();
    navigate('/', true);
  };
  return (
    <>
      {found === null ? (
        <NoModel onLeave={leave} />
      ) : (
        <p class="big">{t('model.ready', { model: found.name })}</p>
      )}
      {found?.starter && <StarterNote onLeave={leave} />}
      <p class="note">{t('history.memory')}</p>
      <button type="button" class="button main" onClick={start}>
        {t('start')}
      </button>
    </>
  );
}

export function Setup() {
  const done = gate.value === 'ready';
  return (
    <main class="door">
      <div class="door-card">
        <div class="door-head">
          <Logo />
          <Steps at={done ? 2 : 1} />
        </div>
        <h1>{t('setup')}</h1>
        {done ? (
          <Model />
        ) : (
          <>
            <p>{t('code')}</p>
            <CodeForm label={t('code.label')} submit={t('continue')} act={setUp} />
            <div class="aside">
              <h2>{t('justme')}</h2>
              <p>{t('justme.what')}</p>
            </div>
          </>
        )}
      </div>
    </main>
  );
}
