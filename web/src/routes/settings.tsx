/** The settings of this browser. Every choice is applied at once. */
import type { ComponentChildren } from 'preact';
import { t } from '../i18n';
import { PageHead } from '../components/page_head';
import { budgets, tellSignedOut } from '../stores/chat';
import { prefs, setPrefs } from '../stores/prefs';
import { session, signOut } from '../stores/session';

interface ChoiceProps<T extends string> {
  name: string;
  legend: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
}

function Choice<T extends string>({ name, legend, value, options, onChange }: ChoiceProps<T>) {
  return (
    <fieldset class="choice">
      <legend>{legend}</legend>
      <div class="choice-row">
        {options.map(([option, label]) => (
          <label key={option} class={option === value ? 'chosen' : ''}>
            <input
              type="radio"
              name={name}
              checked={option === value}
              onChange={() => onChange(option)}
            />
            <span>{label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

function Switch({
  label,
  on,
  onChange,
}: {
  label: string;
  on: boolean;
  onChange: (on: boolean) => void;
}) {
  return (
    <label class="switch">
      <span>{label}</span>
      <input
        type="checkbox"
        role="switch"
        checked={on}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
    </label>
  );
}

function Section({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section class="settings-section">
      <h2>{title}</h2>
      {children}
    </section>
  );
}

function Appearance() {
  const p = prefs.value;
  return (
    <Section title={t('set.appearance')}>
      <Choice
        name="theme"
        legend={t('set.theme')}
        value={p.theme}
        options={[
          ['system', t('set.system')],
          ['light', t('set.light')],
          ['dark', t('set.dark')],
        ]}
        onChange={(theme) => setPrefs({ theme })}
      />
      <Choice
        name="language"
        legend={t('set.language')}
        value={p.language}
        options={[
          ['auto', t('set.auto')],
          ['en', 'English'],
          ['fr', 'Français'],
        ]}
        onChange={(language) => setPrefs({ language })}
      />
      <Switch
        label={t('set.compact')}
        on={p.compact}
        onChange={(compact) => setPrefs({ compact })}
      />
      <Switch
        label={t('set.wrap')}
        on={p.wrapCode ?? window.innerWidth <= 640}
        onChange={(wrapCode) => setPrefs({ wrapCode })}
      />
      <Switch
        label={t('set.read')}
        on={p.readAloud}
        onChange={(readAloud) => setPrefs({ readAloud })}
      />
    </Section>
  );
}

function Writing() {
  const p = prefs.value;
  return (
    <Section title={t('set.writing')}>
      <Choice
        name="enter"
        legend={t('set.enter')}
        value={p.enter}
        options={[
          ['send', t('set.enter.send')],
          ['newline', t('set.enter.newline')],
        ]}
        onChange={(enter) => setPrefs({ enter })}
      />
      <p class="note">{t('set.enter.note')}</p>
    </Section>
  );
}

function ThinkingChoices() {
  const p = prefs.value;
  return (
    <Section title={t('set.thinking')}>
      <Choice
        name="think"
        legend={t('think')}
        value={p.think}
        options={[
          ['default', t('set.think.default')],
          ['on', t('think.on')],
          ['off', t('think.off')],
        ]}
        onChange={(think) => setPrefs({ think })}
      />
      <Choice
        name="budget"
        legend={t('budget')}
        value={p.budget}
        options={(Object.keys(budgets) as (keyof typeof budgets)[]).map(
          (name) => [name, t(`budget.${name}`)] as const,
        )}
        onChange={(budget) => setPrefs({ budget })}
      />
      <Switch
        label={t('set.think.open')}
        on={p.showThinking}
        onChange={(showThinking) => setPrefs({ showThinking })}
      />
    </Section>
  );
}

export function Settings() {
  const out = async (): Promise<void> => {
    tellSignedOut();
    await signOut();
  };
  return (
    <main class="settings">
      <PageHead title={t('settings')} />
      <div class="settings-body" tabIndex={-1}>
        <Appearance />
        <Writing />
        <ThinkingChoices />
        <Section title={t('set.session')}>
          <p>{t('set.privacy', { host: location.host })}</p>
          {session.value?.draft_key && <p>{t('set.drafts')}</p>}
          <div class="row wrap">
            <button type="button" class="button plain" onClick={() => void out()}>
              {t('set.signout')}
            </button>
            <span class="note">{t('set.signout.note')}</span>
          </div>
          <p class="note">{t('set.about', { version: session.value?.version ?? '' })}</p>
        </Section>
      </div>
    </main>
  );
}
