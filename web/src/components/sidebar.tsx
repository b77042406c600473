/** The history: by day, searched, renamed, selected and deleted. On a phone it is a drawer. */
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { t, type Key } from '../i18n';
import { api, ApiError } from '../services/api';
import type { Summary } from '../services/wire';
import { current, deleteConversations, newChat, renameConversation } from '../stores/chat';
import { setPrefs } from '../stores/prefs';
import { isRunning, pull } from '../stores/pulls';
import { navigate, route } from '../stores/router';
import { conversations, session } from '../stores/session';
import { ask, drawer } from '../stores/ui';
import { IconButton } from './button';
import { Icon, Logo, type IconName } from './icons';
import { Menu } from './menu';
import { percent } from './offer';

const searchAfterMs = 200;
const dayMs = 24 * 3600 * 1000;

function day(at: number): Key {
  const today = new Date();
  today.setHours(0, 0, 0, 0);
  const start = today.getTime();
  if (at >= start) return 'day.today';
  if (at >= start - dayMs) return 'day.yesterday';
  return at >= start - 6 * dayMs ? 'day.week' : 'day.older';
}

function byDay(list: readonly Summary[]): [Key, Summary[]][] {
  const days = new Map<Key, Summary[]>();
  for (const item of list) {
    const key = day(item.updated_unix_ms);
    days.set(key, [...(days.get(key) ?? []), item]);
  }
  return [...days];
}

function remove(list: readonly Summary[]): void {
  const one = list.length === 1;
  const words = one
    ? t('del', { title: list[0]!.title || t('untitled') })
    : t('del.many', { n: list.length });
  ask({
    title: words,
    text: '',
    confirm: t('delete'),
    danger: true,
    act: () => deleteConversations(list.map((c) => c.id)),
  });
}

function rename(item: Summary): void {
  ask({
    title: t('rename'),
    text: '',
    confirm: t('save'),
    danger: false,
    field: { label: t('rename.label'), value: item.title },
    act: (value) => renameConversation(item.id, value.trim()),
  });
}

interface RowProps {
  item: Summary;
  selecting: boolean;
  selected: boolean;
  onSelect: () => void;
}

function Row({ item, selecting, selected, onSelect }: RowProps) {
  const here = route.value.page === 'chat' && current.value.id === item.id;
  const running = session.value?.running.some((r) => r.conversation === item.id) ?? false;
  const title = item.title || t('untitled');
  const open = (event: MouseEvent): void => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    drawer.value = false;
    navigate(`/c/${item.id}`);
  };
  if (selecting) {
    return (
      <li>
        <label class="history-row">
          <input type="checkbox" checked={selected} onChange={onSelect} />
          <span dir="auto">{title}</span>
        </label>
      </li>
    );
  }
  return (
    <li class={here ? 'here' : ''}>
      <a
        class="history-row"
        href={`/c/${item.id}`}
        aria-current={here ? 'page' : undefined}
        onClick={open}
      >
        <span dir="auto">{title}</span>
        {running && <span class="running" role="img" aria-label={t('running')} />}
      </a>
      <Menu
        label={`${t('actions')}: ${title}`}
        buttonClass="icon-button"
        align="end"
        role="menu"
        button={<Icon name="dots" />}
      >
        {(close) => (
          <>
            <button type="button" role="menuitem" onClick={() => (close(), rename(item))}>
              {t('rename')}
            </button>
            <button type="button" role="menuitem" onClick={() => (close(), remove([item]))}>
              {t('delete')}
            </button>
          </>
        )}
      </Menu>
    </li>
  );
}

/** The list that the words in the search box ask for; null while the box is empty. */
function useSearch(words: string): Summary[] | null {
  const found = useSignal<Summary[] | null>(null);
  useEffect(() => {
    if (words.trim() === '') {
      found.value = null;
      return;
    }
    let gone = false;
    const timer = window.setTimeout(async () => {
      try {
        const reply = await api.search(words.trim());
        if (!gone) found.value = reply.conversations;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        const low = words.trim().toLowerCase();
        const titles = conversations.peek().filter((c) => c.title.toLowerCase().includes(low));
        if (!gone) found.value = titles;
      }
    }, searchAfterMs);
    return () => {
      gone = true;
      window.clearTimeout(timer);
    };
  }, [words]);
  return found.value;
}

function History() {
  const words = useSignal('');
  const selecting = useSignal(false);
  const selected = useSignal<readonly string[]>([]);
  const found = useSearch(words.value);
  const list = found ?? conversations.value;
  const toggle = (id: string): void => {
    const has = selected.value.includes(id);
    selected.value = has ? selected.value.filter((x) => x !== id) : [...selected.value, id];
  };
  const done = (): void => {
    selecting.value = false;
    selected.value = [];
  };
  return (
    <>
      <div class="search">
        <Icon name="search" />
        <input
          type="search"
          placeholder={t('history.search')}
          aria-label={t('history.search')}
          value={words.value}
          onInput={(event) => (words.value = event.currentTarget.value)}
        />
      </div>
      <div class="history">
        {list.length === 0 && (
          <p class="note">{t(found === null ? 'history.none' : 'history.nothing')}</p>
        )}
        {byDay(list).map(([key, items]) => (
          <section key={key}>
            <h2>{t(key)}</h2>
            <ul>
              {items.map((item) => (
                <Row
                  key={item.id}
                  item={item}
                  selecting={selecting.value}
                  selected={selected.value.includes(item.id)}
                  onSelect={() => toggle(item.id)}
                />
              ))}
            </ul>
          </section>
        ))}
      </div>
      {selecting.value ? (
        <div class="select-bar">
          <span class="grow">{t('history.selected', { n: selected.value.length })}</span>
          <button
            type="button"
            class="button danger"
            disabled={selected.value.length === 0}
            onClick={() => {
              remove(list.filter((c) => selected.value.includes(c.id)));
              done();
            }}
          >
            {t('delete')}
          </button>
          <button type="button" class="button plain" onClick={done}>
            {t('history.done')}
          </button>
        </div>
      ) : (
        list.length > 1 && (
          <button
            type="button"
            class="button quiet select"
            onClick={() => (selecting.value = true)}
          >
            {t('history.select')}
          </button>
        )
      )}
    </>
  );
}

function Inside({ phone }: { phone: boolean }) {
  const working = current.value.live.value !== null;
  const open = (to: string) => (event: MouseEvent): void => {
    event.preventDefault();
    drawer.value = false;
    navigate(to);
  };
  const link = (page: 'models' | 'settings', icon: IconName, words: string) => {
    const to = page === 'models' ? '/catalogue' : '/settings';
    return (
      <a
        class="history-row"
        href={to}
        aria-current={route.value.page === page ? 'page' : undefined}
        onClick={open(to)}
      >
        <Icon name={icon} />
        <span>{words}</span>
      </a>
    );
  };
  const start = (): void => {
    drawer.value = false;
    newChat();
  };
  return (
    <>
      <div class="brand">
        <Logo working={working} />
        <span class="name">{t('app')}</span>
        {phone ? (
          <IconButton icon="close" label={t('close')} onClick={() => (drawer.value = false)} />
        ) : (
          <IconButton
            icon="sidebar"
            label={t('sidebar.close')}
            onClick={() => setPrefs({ sidebar: false })}
          />
        )}
      </div>
      <button type="button" class="button new" onClick={start}>
        <Icon name="plus" />
        <span>{t('new')}</span>
      </button>
      <History />
      <div class="side-foot">
        <p class="note">{t('history.memory')}</p>
        {link(
          'models',
          'save',
          isRunning(pull.value) ? t('pull.running', { p: percent() }) : t('models.page'),
        )}
        {link('settings', 'gear', t('settings'))}
      </div>
    </>
  );
}

export function Sidebar() {
  return (
    <nav class="sidebar" aria-label={t('history')}>
      <Inside phone={false} />
    </nav>
  );
}

/** On a phone: a modal drawer; Back, Esc and a tap beside it close it. */
export function Drawer() {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = drawer.value;
  useEffect(() => {
    const element = dialog.current!;
    if (!open) {
      element.close();
      return;
    }
    element.showModal();
    history.pushState({ drawer: true }, '', location.href);
    const back = (): void => void (drawer.value = false);
    window.addEventListener('popstate', back);
    return () => {
      window.removeEventListener('popstate', back);
      if ((history.state as { drawer?: boolean } | null)?.drawer) history.back();
    };
  }, [open]);
  return (
    <dialog
      ref={dialog}
      class="drawer"
      aria-label={t('history')}
      onCancel={() => (drawer.value = false)}
      onClick={(event) => event.target === dialog.current && (drawer.value = false)}
    >
      {open && (
        <nav class="sidebar in-drawer" aria-label={t('history')}>
          <Inside phone />
        </nav>
      )}
    </dialog>
  );
}
