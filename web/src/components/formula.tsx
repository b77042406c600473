/** A formula: dim source until it is closed and KaTeX is there; its source in code style if bad. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { t } from '../i18n';
import { formula } from '../services/katex';

interface FormulaProps {
  tex: string;
  display: boolean;
  open: boolean;
}

export function Formula({ tex, display, open }: FormulaProps) {
  const slot = useRef<HTMLSpanElement>(null);
  const [state, setState] = useState<'source' | 'done' | 'bad'>('source');
  const [why, setWhy] = useState('');

  useEffect(() => {
    if (open) return;
    let gone = false;
    void formula(tex, display)
      .then((made) => {
        if (gone) return;
        if (made.ok) slot.current?.replaceChildren(made.node);
        else setWhy(made.why);
        setState(made.ok ? 'done' : 'bad');
      })
      .catch(() => !gone && setState('source'));
    return () => void (gone = true);
  }, [tex, display, open]);

  const box = display ? 'formula display' : 'formula';
  return (
    <span class={box} dir="ltr" data-tex={tex}>
      <span ref={slot} class="rendered" hidden={state !== 'done'} />
      {state !== 'done' && (
        <code class={state === 'bad' ? 'tex bad' : 'tex'} title={why && t('math.bad', { why })}>
          {tex}
        </code>
      )}
    </span>
  );
}
