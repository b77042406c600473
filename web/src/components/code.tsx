/**
 * A block of code: always left to right, scrolls inside itself. While its fence is open the text is
 * appended to one text node, so that a selection in it survives. Copy gives the exact bytes.
 */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { t } from '../i18n';
import { copyText, saveText } from '../services/files';
import { highlight } from '../services/text';
import { prefs, setPrefs } from '../stores/prefs';
import { say } from '../stores/ui';
import type { Piece } from '../text/tree';
import { IconButton } from './button';

const colourEveryMs = 500;
const linesColouredMax = 2000;
const narrow = window.matchMedia('(max-width: 640px)');

const extensions: Record<string, string> = {
  python: 'py',
  py: 'py',
  javascript: 'js',
  js: 'js',
  typescript: 'ts',
  ts: 'ts',
  rust: 'rs',
  bash: 'sh',
  sh: 'sh',
  html: 'html',
  css: 'css',
  json: 'json',
  c: 'c',
  cpp: 'cpp',
  'c++': 'cpp',
  java: 'java',
  go: 'go',
  ruby: 'rb',
  sql: 'sql',
  yaml: 'yml',
  xml: 'xml',
  markdown: 'md',
};

function Pieces({ pieces }: { pieces: Piece[] }) {
  return (
    <>
      {pieces.map((piece) =>
        typeof piece === 'string' ? (
          piece
        ) : (
          <span class={`hl-${piece.k}`}>
            <Pieces pieces={piece.c} />
          </span>
        ),
      )}
    </>
  );
}

interface CodeProps {
  lang: string;
  text: string;
  open: boolean;
}

/** The coloured pieces of `text`; while it grows they are a prefix, at most 500 ms old. */
function useColours(
  lang: string,
  text: string,
  open: boolean,
): { pieces: Piece[]; length: number } {
  const [colours, setColours] = useState<{ pieces: Piece[]; length: number }>({
    pieces: [],
    length: 0,
  });
  const latest = useRef(text);
  latest.current = text;
  const last = useRef(0);
  useEffect(() => {
    if (lang === '' || text.split('\n', linesColouredMax + 1).length > linesColouredMax) return;
    let gone = false;
    const wait = open ? Math.max(0, last.current + colourEveryMs - performance.now()) : 0;
    const timer = window.setTimeout(async () => {
      last.current = performance.now();
      const asked = latest.current;
      const pieces = await highlight(lang.toLowerCase(), asked);
      if (!gone && pieces !== null) setColours({ pieces, length: asked.length });
    }, wait);
    return () => {
      if (!open) gone = true;
      if (!open || wait > 0) window.clearTimeout(timer);
    };
  }, [lang, open, open ? Math.floor(text.length / 200) : text]);
  return colours;
}

/** Text that has not been coloured yet: one text node that only grows. */
function Tail({ text }: { text: string }) {
  const slot = useRef<HTMLSpanElement>(null);
  const node = useRef<Text | null>(null);
  useLayoutEffect(() => {
    if (node.current === null) {
      node.current = document.createTextNode(text);
      slot.current!.append(node.current);
      return;
    }
    const shown = node.current.data;
    if (text.startsWith(shown)) node.current.appendData(text.slice(shown.length));
    else node.current.data = text;
  }, [text]);
  return <span ref={slot} />;
}

export function Code({ lang, text, open }: CodeProps) {
  const code = useRef<HTMLElement>(null);
  const [copied, setCopied] = useState(false);
  const wrap = prefs.value.wrapCode ?? narrow.matches;
  const { pieces, length } = useColours(lang, text, open);
  const coloured = length <= text.length ? pieces : [];
  const shown = coloured.length > 0 ? length : 0;

  const copy = async (): Promise<void> => {
    const done = await copyText(text, code.current);
    if (!done) return say(t('copy.select'));
    setCopied(true);
    window.setTimeout(() => setCopied(false), 2000);
  };
  const label = copied ? t(open ? 'copied.sofar' : 'copied') : t('code.copy');
  const name = lang === '' ? t('code.plain') : lang;

  return (
    <div class="code" dir="ltr">
      <div class="code-head">
        <span class="code-lang">{name}</span>
        <IconButton
          icon="wrap"
          label={t('code.wrap')}
          pressed={wrap}
          onClick={() => setPrefs({ wrapCode: !wrap })}
        />
        <IconButton
          icon="save"
          label={t('code.save')}
          onClick={() => saveText(text, `nautile.${extensions[lang.toLowerCase()] ?? 'txt'}`)}
        />
        <IconButton icon={copied ? 'check' : 'copy'} label={label} onClick={copy} />
      </div>
      <pre
        class={wrap ? 'wrap' : ''}
        tabIndex={0}
        role="region"
        aria-label={t('code.region', { lang: name })}
      >
        <code ref={code}>
          <Pieces pieces={coloured} />
          <Tail text={text.slice(shown)} />
        </code>
      </pre>
    </div>
  );
}
