/** Find in this chat: covers the messages that are not mounted, which the browser's find cannot. */
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { t } from '../i18n';
import { current } from '../stores/chat';
import { overlay } from '../stores/ui';
import { IconButton } from './button';
import { transcript } from './transcript';

const markName = 'find';

/** Marks every place of `words` in the mounted messages (CSS highlights leave the tree alone). */
function mark(words: string): void {
  const registry = CSS.highlights;
  if (registry === undefined) return;
  registry.delete(markName);
  if (words === '') return;
  const ranges: Range[] = [];
  const walker = document.createTreeWalker(document.querySelector('.turns') ?? document.body, 4);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const text = (node as Text).data.toLowerCase();
    for (let at = text.indexOf(words); at >= 0; at = text.indexOf(words, at + words.length)) {
      const range = new Range();
      range.setStart(node, at);
      range.setEnd(node, at + words.length);
      ranges.push(range);
    }
  }
  registry.set(markName, new Highlight(...ranges));
}

export function Find() {
  const words = useSignal('');
  const at = useSignal(0);
  const field = useRef<HTMLInputElement>(null);
  const low = words.value.trim().toLowerCase();
  const path = current.value.path.value;
  const hits =
    low === ''
      ? []
      : path.flatMap((node, i) => (node.content.toLowerCase().includes(low) ? [i] : []));

  useEffect(() => {
    field.current?.focus();
    return () => mark('');
  }, []);
  useEffect(() => {
    const timer = window.setTimeout(() => mark(low), 60);
    return () => window.clearTimeout(timer);
  }, [low, at.value]);

  const go = (step: number): void => {
    if (hits.length === 0) return;
    at.value = (at.value + step + hits.length) % hits.length;
    transcript.current?.goTo(hits[at.value]!);
    window.setTimeout(() => field.current?.focus({ preventScroll: true }), 60);
  };
  const close = (): void => void (overlay.value = 'none');
  const count =
    hits.length === 0 ? t('find.none') : t('find.count', { n: at.value + 1, m: hits.length });
  return (
    <div class="find" role="search">
      <input
        ref={field}
        aria-label={t('find.label')}
        placeholder={t('find.label')}
        value={words.value}
        onInput={(event) => {
          words.value = event.currentTarget.value;
          at.value = 0;
        }}
        onKeyDown={(event) => {
          if (event.key === 'Enter') go(event.shiftKey ? -1 : 1);
          if (event.key === 'Escape') close();
        }}
      />
      <span class="note" role="status">
        {low === '' ? '' : count}
      </span>
      <IconButton icon="up" label={t('find.prev')} onClick={() => go(-1)} />
      <IconButton icon="down" label={t('find.next')} onClick={() => go(1)} />
      <IconButton icon="close" label={t('close')} onClick={close} />
    </div>
  );
}
