/** The head of a page beside the chat: the drawer on a phone, and the way back. */
import { t } from '../i18n';
import { backToChat } from '../stores/chat';
import { drawer } from '../stores/ui';
import { IconButton } from './button';

export function PageHead({ title }: { title: string }) {
  return (
    <header class="head">
      <IconButton
        icon="menu"
        label={t('menu')}
        extra="phone"
        expanded={drawer.value}
        onClick={() => (drawer.value = true)}
      />
      <IconButton icon="back" label={t('back')} onClick={backToChat} />
      <h1 class="head-title">{title}</h1>
    </header>
  );
}
