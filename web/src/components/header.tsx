/** The head of the chat: its title, the model, how full the context is. */
import { bytes, duration, number, t } from '../i18n';
import { current, newChat } from '../stores/chat';
import { chooseModel } from '../stores/choice';
import { measure } from '../stores/meter';
import { prefs, setPrefs } from '../stores/prefs';
import { navigate } from '../stores/router';
import { model, models } from '../stores/session';
import type { Model } from '../services/wire';
import { IconButton } from './button';
import { Icon } from './icons';
import { Menu } from './menu';
import { DrawerButton } from './page_head';

export function facts(m: Model): string {
  const state = m.loaded ? t('models.loaded') : t('models.load', { t: duration(m.load_ms) });
  const parts = [m.quantization, bytes(m.weight_bytes), state];
  parts.push(t('models.reads', { n: number(m.context_tokens) }));
  if (m.thinking !== 'never') parts.push(t('models.thinks'));
  if (m.sees) parts.push(t('models.sees'));
  if (m.drawn_side) parts.push(t('models.draws'));
  return parts.filter(Boolean).join(' · ');
}

function ModelMenu() {
  const now = model.value;
  if (now === null) return null;
  return (
    <Menu
      label={`${t('models')}: ${now.name}`}
      buttonClass="head-button"
      align="end"
      role="menu"
      button={
        <>
          <span class="model-name">{now.name}</span>
          <Icon name="down" />
        </>
      }
    >
      {(close) => (
        <>
          {models.value.map((m) => (
            <button
              key={m.id}
              type="button"
              role="menuitemradio"
              aria-checked={m.id === now.id}
              onClick={() => {
                chooseModel(m.id);
                close();
              }}
            >
              <b>{m.name}</b>
              <small>{facts(m)}</small>
            </button>
          ))}
          <button type="button" role="menuitem" onClick={() => (close(), navigate('/catalogue'))}>
            {t('models.more')}
          </button>
        </>
      )}
    </Menu>
  );
}

const gaugeLength = 44; // circumference of the ring, r = 7

function Meter() {
  const now = measure.value;
  const share = now === null || now.context === 0 ? 0 : now.tokens / now.context;
  const percent = Math.min(100, Math.ceil(100 * share));
  const words = t('context', { p: now === null ? '–' : percent });
  const level = share > 0.9 ? 'high' : share > 0.7 ? 'mid' : '';
  return (
    <Menu
      label={words}
      buttonClass="head-button"
      align="end"
      role="dialog"
      button={
        <>
          <svg class={`gauge ${level}`} viewBox="0 0 20 20" aria-hidden="true">
            <circle cx="10" cy="10" r="7" />
            <circle
              cx="10"
              cy="10"
              r="7"
              style={{ strokeDasharray: `${Math.min(1, share) * gaugeLength} ${gaugeLength}` }}
            />
          </svg>
          <span class="wide">{words}</span>
        </>
      }
    >
      {() => (
        <p class="panel-text">
          {now === null
            ? t('context.none')
            : t('context.what', { n: number(now.tokens), m: number(now.context) })}
        </p>
      )}
    </Menu>
  );
}

export function Header() {
  const title = current.value.title.value || t('untitled');
  const wide = !prefs.value.sidebar;
  return (
    <header class="head">
      <DrawerButton />
      {wide && (
        <IconButton
          icon="sidebar"
          label={t('sidebar.open')}
          extra="desktop"
          onClick={() => setPrefs({ sidebar: true })}
        />
      )}
      <div class="head-middle">
        <h1 class="head-title" dir="auto">
          {title}
        </h1>
        <ModelMenu />
      </div>
      <Meter />
      <IconButton icon="plus" label={t('new')} extra={wide ? '' : 'phone'} onClick={newChat} />
    </header>
  );
}
