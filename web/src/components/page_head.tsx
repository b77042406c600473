/** The head of a page beside the chat: the drawer on a phone, and the way back. */
import { t } from '../i18n';
import { backToChat } from '../stores/chat';
import { drawer } from '../stores/ui';
import { IconButton } from './button';

/** Opens the drawer; on a phone alone. */
export function DrawerButton() {
  return (
    <IconButton
      icon="menu"
      label={t('menu')}
      extra="phone"
      expanded={drawer.value}
      onClick={() => (drawer.value = true)}
    />
  );
}

export function PageHead({ title }: { title: string }) {
  return (
    <header class="head">
      <DrawerButton />
      <IconButton icon="back" label={t('back')} onClick={backToChat} />
      <h1 class="head-title">{title}</h1>
    </header>
  );
}
