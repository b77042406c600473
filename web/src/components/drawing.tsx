/**
 * An answer that is pictures. Each has its square from the start; rows of the colour sketch appear
 * in it, and the picture takes their place when it is there: nothing on the page moves.
 */
import { effect } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { titleOf } from '../base/words';
import { duration, t } from '../i18n';
import { savePicture } from '../services/pictures';
import type { WireNode } from '../services/wire';
import { composerBox } from '../stores/box';
import { askAgain, drawAgain, stop } from '../stores/chat';
import type { Conversation } from '../stores/conversation';
import type { Live, Phase } from '../stores/live';
import { attachKnown } from '../stores/pictures';
import { Button } from './button';
import { Icon } from './icons';
import { Menu } from './menu';
import { usePicture } from './picture';
import { Progress } from './progress';

interface DrawingProps {
  conversation: Conversation;
  node: WireNode;
  live: Live | null;
}

interface Picture {
  id: string | null;
  seed: number;
}

function Sketch({ live, index }: { live: Live; index: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(
    () =>
      effect(() => {
        const sketch = live.sketch(index).value;
        const area = canvas.current;
        if (sketch === null || area === null) return;
        if (area.width !== sketch.rows) area.width = area.height = sketch.rows;
        const image = new ImageData(sketch.pixels, sketch.rows, sketch.rows);
        area.getContext('2d')?.putImageData(image, 0, 0);
      }),
    [live, index],
  );
  return <canvas ref={canvas} width={24} height={24} aria-hidden="true" />;
}

interface SquareProps {
  live: Live | null;
  index: number;
  picture: Picture;
  side: number;
  alt: string;
}

/** One picture for those who hear the page, from its first row on: what it holds is not named. */
function Square({ live, index, picture, side, alt }: SquareProps) {
  const url = usePicture(picture.id);
  return (
    <div
      class="drawn"
      role="img"
      aria-label={url === null ? `${alt} ${t('pic.lost')}` : alt}
      data-done={picture.id !== null}
    >
      {live !== null && <Sketch live={live} index={index} />}
      {url && <img src={url} alt="" width={side} height={side} />}
      {url === null && <span class="drawn-lost">{t('pic.lost')}</span>}
    </div>
  );
}

interface Action {
  label: string;
  run: () => void;
  needsBytes?: boolean; // of the picture, which the server may have forgotten
}

function actionsOf(conversation: Conversation, node: WireNode, picture: Picture): Action[] {
  const { id, seed } = picture;
  const name = `nautile-${seed}.png`;
  return [
    {
      label: t('draw.again'),
      run: () => drawAgain(conversation, node, { pictures: 1, seed }),
    },
    { label: t('draw.four'), run: () => drawAgain(conversation, node, { pictures: 4 }) },
    { label: t('save'), needsBytes: true, run: () => id !== null && void savePicture(id, name) },
    {
      label: t('draw.about'),
      needsBytes: true,
      run: () => {
        if (id !== null) attachKnown(conversation, id, name);
        composerBox.current?.focus();
      },
    },
  ];
}

interface ActionsProps {
  list: Action[];
  picture: Picture;
  what: string; // which picture it is, for those who hear the buttons one by one
}

function useUsable({ list, picture }: ActionsProps): Action[] {
  const lost = usePicture(picture.id) === null;
  return list.filter(({ needsBytes }) => !(lost && needsBytes));
}

function PictureActions(props: ActionsProps) {
  const { what } = props;
  return (
    <div class="drawn-actions">
      {useUsable(props).map(({ label, run }) => (
        <Button
          key={label}
          kind="quiet"
          label={label}
          name={t('draw.named', { action: label, what })}
          onClick={run}
        />
      ))}
    </div>
  );
}

/** Between pictures: its room is kept while it is not there yet. */
function PictureMenu(props: ActionsProps) {
  const { picture, what } = props;
  const list = useUsable(props);
  const visibility = picture.id !== null ? 'visible' : 'hidden';
  return (
    <div class="drawn-actions" style={{ visibility }}>
      <Menu
        label={t('draw.named', { action: t('actions'), what })}
        buttonClass="icon-button"
        align="start"
        role="menu"
        button={<Icon name="dots" />}
      >
        {(close) =>
          list.map(({ label, run }) => (
            <button key={label} type="button" role="menuitem" onClick={() => (close(), run())}>
              {label}
            </button>
          ))
        }
      </Menu>
    </div>
  );
}

interface RowsProps {
  phase: Phase & { k: 'drawing' };
  live: Live;
  seed: number;
}

function Rows({ phase, live, seed }: RowsProps) {
  // What changes its length stands at the end, where it moves nothing.
  const parts = [t('draw.seed', { n: seed })];
  if (phase.leftMs > 0) parts.push(t('draw.left', { t: duration(phase.leftMs) }));
  const asked = live.stopping.value !== 'no';
  const words = t('draw', { r: phase.row, n: phase.rows });
  return (
    <>
      <div class="row">
        <span class="grow drawing-words">{words}</span>
        <Button
          icon="stop"
          label={t(asked ? 'stopping' : 'stop')}
          disabled={asked}
          onClick={() => void stop(live)}
        />
      </div>
      <div
        class="bar"
        role="progressbar"
        aria-label={t('progress')}
        aria-valuetext={words}
        aria-valuemin={0}
        aria-valuemax={phase.rows}
        aria-valuenow={phase.row}
      >
        <span style={{ width: `${(100 * phase.row) / phase.rows}%` }} />
      </div>
      <p class="note">
        {t('sketch')} {parts.join(' · ')}
      </p>
    </>
  );
}

/** Under the squares: how far it is, or how it ended. */
function Status({ conversation, node, live }: DrawingProps) {
  conversation.version.value;
  const seed = node.drawing!.pictures[0]?.seed ?? 0;
  const ending = live?.ending.value ?? null;
  if (live !== null && ending === null) {
    const phase = live.phase.value;
    return phase.k === 'drawing' ? (
      <Rows phase={phase} live={live} seed={seed} />
    ) : (
      <Progress live={live} />
    );
  }
  if (node.end === 'cancelled') return <p class="note">{t('draw.stopped')}</p>;
  if (node.end !== undefined && node.end !== 'stop') {
    const failed = node.end === 'failed' && ending?.message;
    const why = failed ? ` ${t('failed.why', { why: failed })}` : '';
    return (
      <div class="card trouble cut">
        <p>{t('draw.cut') + why}</p>
        <Button icon="again" label={t('again')} onClick={() => askAgain(conversation, node)} />
      </div>
    );
  }
  return <p class="note">{t('draw.seed', { n: seed })}</p>;
}

export function Drawing({ conversation, node, live }: DrawingProps) {
  conversation.version.value;
  const { pictures, side } = node.drawing!;
  const question = node.parent === null ? undefined : conversation.tree.nodes.get(node.parent);
  const many = pictures.length > 1;
  const busy = live !== null && live.ending.value === null;
  const first = pictures[0];
  const prompt = question?.content ?? '';
  return (
    <div class="drawing">
      <div class={many ? 'drawn-grid many' : 'drawn-grid'}>
        {pictures.map((picture, i) => {
          const place = many ? `${t('draw.place', { n: i + 1, m: pictures.length })} ` : '';
          return (
            <div key={i}>
              <Square
                live={live}
                index={i}
                picture={picture}
                side={side}
                alt={place + prompt}
              />
              {many && (
                <PictureMenu
                  list={actionsOf(conversation, node, picture)}
                  picture={picture}
                  what={place + titleOf(prompt)}
                />
              )}
            </div>
          );
        })}
      </div>
      <div class="drawing-foot">
        <div class="drawing-status">
          <Status conversation={conversation} node={node} live={live} />
        </div>
        {first !== undefined && first.id !== null && !many && !busy && (
          <PictureActions
            list={actionsOf(conversation, node, first)}
            picture={first}
            what={titleOf(prompt)}
          />
        )}
      </div>
    </div>
  );
}
