/** This server has an owner: a browser comes in with the one-time code of the terminal. */
import { t } from '../i18n';
import { CodeForm } from '../components/code_form';
import { Logo } from '../components/icons';
import { signIn } from '../stores/session';

export function SignIn() {
  return (
    <main class="door">
      <div class="door-card">
        <div class="door-head">
          <Logo />
        </div>
        <h1>{t('signin')}</h1>
        <p>{t('signin.what')}</p>
        <CodeForm label={t('signin.code')} submit={t('signin')} act={signIn} />
      </div>
    </main>
  );
}
