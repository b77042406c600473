/** A picture of the conversation: a square or a thumbnail that has its size before its bytes. */
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { t } from '../i18n';
import { acquire, release } from '../services/pictures';
import type { WireNode } from '../services/wire';

/** The address of picture `id`; undefined: not there yet, null: not there any more. */
export function usePicture(id: string | null): string | null | undefined {
  const url = useSignal<string | null | undefined>(undefined);
  useEffect(() => {
    url.value = undefined;
    if (id === null) return;
    let gone = false;
    void acquire(id).then((address) => {
      if (!gone) url.value = address;
    });
    return () => {
      gone = true;
      release(id);
    };
  }, [id]);
  return url.value;
}

export function Thumbnail({ id, alt }: { id: string; alt: string }) {
  const url = usePicture(id);
  if (url === null) return <span class="thumb gone">{t('pic.lost')}</span>;
  return <span class="thumb">{url !== undefined && <img src={url} alt={alt} />}</span>;
}

/** What a question shows before its text. */
export function QuestionPictures({ node }: { node: WireNode }) {
  const pictures = node.pictures ?? [];
  if (pictures.length === 0) return null;
  return (
    <div class="thumbs">
      {pictures.map(({ id }, i) => (
        <Thumbnail key={id} id={id} alt={t('pic.alt', { n: i + 1 })} />
      ))}
    </div>
  );
}
