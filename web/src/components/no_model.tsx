/** Where no model can answer: that none is installed (or known yet), or what is wrong with them. */
import { t } from '../i18n';
import { session, unusable } from '../stores/session';

export function Command({ text, command }: { text: string; command: string }) {
  const [before, after] = text.split('{command}');
  return (
    <>
      {before}
      <code class="command">{command}</code>
      {after}
    </>
  );
}

export function pullCommand(): string {
  return session.value?.pull_command ?? 'nautile serve --model FILE.gguf';
}

export function NoModel() {
  const broken = unusable.value;
  if (session.value?.opening) {
    return (
      <p class="empty-note" role="status">
        {t('model.opening')}
      </p>
    );
  }
  if (broken.length === 0) {
    return (
      <p class="empty-note">
        <Command text={t('model.none')} command={pullCommand()} />
      </p>
    );
  }
  return (
    <div class="empty-note">
      <p>{t('model.bad')}</p>
      <ul class="unusable">
        {broken.map((one) => (
          <li key={one.id}>
            <b dir="auto">{one.id}</b>
            <span dir="auto">{one.reason}</span>
          </li>
        ))}
      </ul>
      <p>
        <Command text={t('model.other')} command={pullCommand()} />
      </p>
    </div>
  );
}
