/** Where no model can answer: that none is installed (or known yet), or what is wrong with them. */
import { t } from '../i18n';
import { sentences } from '../stores/errors';
import { rules } from '../stores/pulls';
import { session, unusable } from '../stores/session';
import { Command, Offer, pullCommand } from './offer';

export function UnusableList() {
  return (
    <ul class="unusable">
      {unusable.value.map((one) => (
        <li key={one.id}>
          <b dir="auto">{one.id}</b>
          <span dir="auto">{one.error ? sentences(one.error) : one.reason}</span>
        </li>
      ))}
    </ul>
  );
}

export function NoModel({ onLeave }: { onLeave?: () => void }) {
  const broken = unusable.value;
  const byCommand = rules.value.allowed === 'off';
  if (session.value?.opening) {
    return (
      <p class="empty-note" role="status">
        {t('model.opening')}
      </p>
    );
  }
  if (broken.length === 0) {
    return byCommand ? (
      <p class="empty-note">
        <Command text={t('model.none')} command={pullCommand()} />
      </p>
    ) : (
      <>
        <p class="empty-note">{t('model.none.yet')}</p>
        <Offer kind="main" onLeave={onLeave} />
      </>
    );
  }
  return (
    <div class="empty-note">
      <p>{t('model.bad')}</p>
      <UnusableList />
      {byCommand ? (
        <p>
          <Command text={t('model.other')} command={pullCommand()} />
        </p>
      ) : (
        <Offer kind="main" onLeave={onLeave} />
      )}
    </div>
  );
}
