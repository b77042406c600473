/** Where a demonstration model or none answers: the way to a real one, as a button or a command. */
import { t } from '../i18n';
import { percentOf } from './progress';
import { isRunning, pull, rules, share } from '../stores/pulls';
import { navigate } from '../stores/router';
import { session } from '../stores/session';

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

export function percent(): string {
  const now = pull.value;
  return now === null ? '' : t('percent', { p: percentOf(share(now)) });
}

interface OfferProps {
  kind: 'main' | 'plain';
  onLeave?: () => void; // before the page of the models is opened
}

/** A button to the page of the models; nothing where the server fetches none for its page. */
export function Offer({ kind, onLeave }: OfferProps) {
  const { allowed, proposed } = rules.value;
  if (allowed === 'off' || proposed === null) return null;
  const words = isRunning(pull.value)
    ? t('pull.running', { p: percent() })
    : t('pull.get', { model: proposed });
  const open = (): void => {
    onLeave?.();
    navigate('/catalogue');
  };
  return (
    <button type="button" class={`button ${kind}`} onClick={open}>
      {words}
    </button>
  );
}

/** That this is only a demonstration model, with the way to another. */
export function StarterNote({ onLeave }: { onLeave?: () => void }) {
  if (rules.value.allowed === 'off') {
    return (
      <p class="empty-note">
        <Command text={t('starter')} command={pullCommand()} />
      </p>
    );
  }
  return (
    <>
      <p class="empty-note">{t('starter.what')}</p>
      <Offer kind="plain" onLeave={onLeave} />
    </>
  );
}
