/** A session that ended: the sign-in stands over the page, and what was typed is still under it. */
import { t } from '../i18n';
import { signIn, signInAgain } from '../stores/session';
import { CodeForm } from './code_form';
import { Dialog } from './dialog';

export function SignInAgain() {
  const answer = signInAgain.value;
  if (answer === null) return null;
  const act = async (code: string): Promise<void> => {
    await signIn(code);
    answer(true);
  };
  return (
    <Dialog label={t('signin')} kind="confirm" onClose={() => answer(false)}>
      <h2>{t('signin')}</h2>
      <p>{t('signin.end')}</p>
      <CodeForm label={t('signin.code')} submit={t('signin')} act={act} />
    </Dialog>
  );
}
