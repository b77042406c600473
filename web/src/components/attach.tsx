/** At the box: pictures from files, camera, clipboard and a drop; and the mode that draws. */
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { bytes, t } from '../i18n';
import { sizeOfPicture } from '../services/pictures';
import { chooseModel } from '../stores/choice';
import type { Conversation } from '../stores/conversation';
import {
  addFiles,
  blindTo,
  chipsOf,
  drawingModel,
  drawMode,
  pictureProblem,
  removeChip,
  seeingModel,
} from '../stores/pictures';
import { coarse } from '../stores/prefs';
import { model } from '../stores/session';
import { composerBox } from '../stores/box';
import { Button, IconButton } from './button';
import { Icon } from './icons';
import { Menu } from './menu';
import { Thumbnail } from './picture';

const accepted = 'image/png,image/jpeg,image/webp';

function filesOf(transfer: DataTransfer | null): File[] {
  return Array.from(transfer?.files ?? []);
}

/** True while files are dragged over the page; what is dropped anywhere on it is attached. */
export function useDrop(conversation: Conversation): boolean {
  const over = useSignal(false);
  useEffect(() => {
    const carries = (event: DragEvent): boolean =>
      event.dataTransfer?.types.includes('Files') ?? false;
    const drag = (event: DragEvent): void => {
      if (!carries(event)) return;
      event.preventDefault();
      over.value = true;
    };
    const leave = (event: DragEvent): void => {
      if (event.relatedTarget === null) over.value = false;
    };
    const drop = (event: DragEvent): void => {
      over.value = false;
      if (!carries(event)) return;
      event.preventDefault();
      void addFiles(conversation, filesOf(event.dataTransfer));
    };
    window.addEventListener('dragover', drag);
    window.addEventListener('dragleave', leave);
    window.addEventListener('drop', drop);
    return () => {
      window.removeEventListener('dragover', drag);
      window.removeEventListener('dragleave', leave);
      window.removeEventListener('drop', drop);
    };
  }, [conversation.id]);
  return over.value;
}

/** Text that is pasted with a picture of itself (from an office program) stays text. */
export function onPaste(conversation: Conversation, event: ClipboardEvent): void {
  const files = filesOf(event.clipboardData);
  if (files.length === 0 || event.clipboardData?.getData('text/plain')) return;
  event.preventDefault();
  void addFiles(conversation, files);
}

/** The chip that goes gives the focus to one beside it, the last one to the button that adds. */
function passFocus(chip: Element | null): void {
  const beside = chip?.nextElementSibling ?? chip?.previousElementSibling;
  const to = beside?.querySelector('button') ?? document.querySelector('.composer-row button');
  (to as HTMLElement | null)?.focus();
}

export function Chips({ conversation }: { conversation: Conversation }) {
  const chips = chipsOf(conversation).value;
  const other = seeingModel.value;
  const now = model.value;
  return (
    <>
      {chips.length > 0 && (
        <ul class="chips" aria-label={t('pic.list')}>
          {chips.map(({ id, name }) => (
            <li key={id} class="file-chip">
              <Thumbnail id={id} alt="" />
              <span class="file-name" dir="auto">
                {name}
              </span>
              {sizeOfPicture(id) > 0 && <small>{bytes(sizeOfPicture(id))}</small>}
              <IconButton
                icon="close"
                label={t('pic.remove', { name })}
                onClick={(event) => {
                  passFocus((event.currentTarget as Element).closest('.file-chip'));
                  removeChip(conversation, id);
                }}
              />
            </li>
          ))}
        </ul>
      )}
      {blindTo(conversation) && now !== null && other !== null && (
        <div class="chip-note" id="blind-note">
          <span>{t('model.nopic', { model: now.name, other: other.name })}</span>
          <Button
            label={t('pic.ask', { model: other.name })}
            onClick={() => {
              chooseModel(other.id);
              composerBox.current?.focus();
            }}
          />
        </div>
      )}
      {pictureProblem.value !== '' && <p class="chip-note bad">{pictureProblem.value}</p>}
    </>
  );
}

export function AttachButton({ conversation }: { conversation: Conversation }) {
  const files = useRef<HTMLInputElement>(null);
  const camera = useRef<HTMLInputElement>(null);
  if (seeingModel.value === null) return null;
  const take = (event: Event): void => {
    const input = event.currentTarget as HTMLInputElement;
    void addFiles(conversation, Array.from(input.files ?? []));
    input.value = '';
  };
  return (
    <>
      <input type="file" hidden ref={files} accept={accepted} multiple onChange={take} />
      <input
        type="file"
        hidden
        ref={camera}
        accept="image/*"
        capture="environment"
        onChange={take}
      />
      {coarse.matches ? (
        <Menu
          label={t('pic.add')}
          buttonClass="chip icon-only"
          align="start"
          up
          role="menu"
          button={<Icon name="plus" />}
        >
          {(close) => (
            <>
              <button
                type="button"
                role="menuitem"
                onClick={() => (close(), files.current?.click())}
              >
                {t('pic.choose')}
              </button>
              <button
                type="button"
                role="menuitem"
                onClick={() => (close(), camera.current?.click())}
              >
                {t('pic.camera')}
              </button>
            </>
          )}
        </Menu>
      ) : (
        <IconButton icon="plus" label={t('pic.add')} onClick={() => files.current?.click()} />
      )}
    </>
  );
}

export function DrawToggle({ conversation }: { conversation: Conversation }) {
  if (drawingModel.value === null) return null;
  const on = drawMode.value;
  const barred = chipsOf(conversation).value.length > 0;
  return (
    <button
      type="button"
      class="chip"
      aria-label={t('draw.mode')}
      aria-pressed={on}
      disabled={barred}
      title={t(barred ? 'draw.barred' : on ? 'draw.on' : 'draw.off')}
      onClick={() => (drawMode.value = !on)}
    >
      <Icon name="picture" />
      <span>{t('draw.mode')}</span>
    </button>
  );
}
