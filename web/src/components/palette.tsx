/** Ctrl+K: every command and the history in one list. */
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { t } from '../i18n';
import { api, ApiError } from '../services/api';
import type { Summary } from '../services/wire';
import { newChat } from '../stores/chat';
import { chooseModel } from '../stores/choice';
import { setPrefs } from '../stores/prefs';
import { navigate } from '../stores/router';
import { conversations, models } from '../stores/session';
import { overlay } from '../stores/ui';
import { Dialog } from './dialog';

const shownMax = 12;
const searchAfterMs = 200;

interface Command {
  id: string;
  label: string;
  run: () => void;
}

function commands(): Command[] {
  const theme = (value: 'system' | 'light' | 'dark'): Command => ({
    id: `theme-${value}`,
    label: t('palette.theme', { theme: t(`set.${value}`) }),
    run: () => setPrefs({ theme: value }),
  });
  return [
    { id: 'new', label: t('new'), run: newChat },
    { id: 'find', label: t('palette.find'), run: () => void (overlay.value = 'find') },
    ...models.value.map((m) => ({
      id: `model-${m.id}`,
      label: t('palette.model', { model: m.name }),
      run: () => chooseModel(m.id),
    })),
    { id: 'models', label: t('models.page'), run: () => navigate('/catalogue') },
    { id: 'settings', label: t('settings'), run: () => navigate('/settings') },
    theme('light'),
    theme('dark'),
    theme('system'),
    { id: 'keys', label: t('keys'), run: () => void (overlay.value = 'keys') },
  ];
}

function fits(label: string, words: string): boolean {
  const low = label.toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => low.includes(word));
}

function useFound(words: string): Summary[] {
  const found = useSignal<Summary[]>([]);
  useEffect(() => {
    const text = words.trim();
    found.value = conversations
      .peek()
      .filter((c) => fits(c.title, text))
      .slice(0, shownMax);
    if (text.length < 2) return;
    let gone = false;
    const timer = window.setTimeout(async () => {
      try {
        const reply = await api.search(text);
        if (!gone) found.value = reply.conversations.slice(0, shownMax);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
      }
    }, searchAfterMs);
    return () => {
      gone = true;
      window.clearTimeout(timer);
    };
  }, [words]);
  return found.value;
}

export function Palette() {
  const words = useSignal('');
  const at = useSignal(0);
  const found = useFound(words.value);
  const list: Command[] = [
    ...commands().filter((c) => fits(c.label, words.value.trim())),
    ...found.map((c) => ({ id: c.id, label: c.title, run: () => navigate(`/c/${c.id}`) })),
  ];
  const close = (): void => void (overlay.value = 'none');
  const run = (command: Command | undefined): void => {
    if (command === undefined) return;
    close();
    command.run();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const count = Math.max(1, list.length);
    if (event.key === 'ArrowDown') at.value = (at.value + 1) % count;
    else if (event.key === 'ArrowUp') at.value = (at.value - 1 + count) % count;
    else if (event.key === 'Enter' && !event.isComposing) run(list[at.value]);
    else return;
    event.preventDefault();
  };
  useEffect(() => {
    document.getElementById(`command-${at.value}`)?.scrollIntoView({ block: 'nearest' });
  }, [at.value]);
  return (
    <Dialog label={t('palette')} kind="palette" onClose={close}>
      <input
        data-first
        role="combobox"
        aria-expanded="true"
        aria-controls="commands"
        aria-activedescendant={list.length > 0 ? `command-${at.value}` : undefined}
        aria-label={t('palette.ask')}
        placeholder={t('palette.ask')}
        value={words.value}
        onInput={(event) => {
          words.value = event.currentTarget.value;
          at.value = 0;
        }}
        onKeyDown={onKeyDown}
      />
      {list.length === 0 ? (
        <p class="note">{t('palette.none')}</p>
      ) : (
        <div id="commands" role="listbox" aria-label={t('palette')} class="commands">
          {list.map((command, index) => (
            <div
              key={command.id}
              id={`command-${index}`}
              role="option"
              aria-selected={index === at.value}
              onClick={() => run(command)}
              onPointerMove={() => (at.value = index)}
            >
              <span dir="auto">{command.label}</span>
            </div>
          ))}
        </div>
      )}
    </Dialog>
  );
}

const keyList = [
  ['keys.send', 'Enter / Ctrl+Enter'],
  ['keys.newline', 'Shift+Enter'],
  ['keys.stop', 'Esc'],
  ['keys.edit', '↑'],
  ['keys.move', 'Alt+↓ / Alt+↑'],
  ['keys.last', 'Alt+Shift+↓'],
  ['keys.end', 'End'],
  ['keys.palette', 'Ctrl+K'],
  ['keys.new', 'Ctrl+Shift+O'],
  ['keys.list', 'Ctrl+/'],
] as const;

export function Keys() {
  const close = (): void => void (overlay.value = 'none');
  return (
    <Dialog label={t('keys')} kind="keys" onClose={close}>
      <h2>{t('keys')}</h2>
      <dl>
        {keyList.map(([key, press]) => (
          <div key={key}>
            <dt>{t(key)}</dt>
            <dd>
              <kbd>{press}</kbd>
            </dd>
          </div>
        ))}
      </dl>
      <div class="row end">
        <button type="button" class="button plain" data-first onClick={close}>
          {t('close')}
        </button>
      </div>
    </Dialog>
  );
}
