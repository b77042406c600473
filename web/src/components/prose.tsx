/** Markdown's tree as Preact nodes. A block that is the same object is never touched again. */
import { Component, type VNode } from 'preact';
import { useState } from 'preact/hooks';
import { t } from '../i18n';
import { copyText } from '../services/files';
import { say } from '../stores/ui';
import type { Block, Inline, Item } from '../text/tree';
import { IconButton } from './button';
import { Code } from './code';
import { Formula } from './formula';

export function Blocks({ blocks }: { blocks: readonly Block[] }) {
  return (
    <>
      {blocks.map((block, index) => (
        <Frozen key={index} block={block} />
      ))}
    </>
  );
}

class Frozen extends Component<{ block: Block }> {
  override shouldComponentUpdate(next: { block: Block }): boolean {
    return next.block !== this.props.block;
  }
  override render() {
    return drawBlock(this.props.block);
  }
}

function drawBlock(block: Block): VNode {
  switch (block.t) {
    case 'p':
      return <p dir={block.dir}>{draw(block.c)}</p>;
    case 'h':
      return <Heading level={block.n} dir={block.dir} content={draw(block.c)} />;
    case 'code':
      return <Code lang={block.lang} text={block.v} open={block.open === true} />;
    case 'math':
      return <Formula tex={block.v} display open={block.open === true} />;
    case 'quote':
      return (
        <blockquote dir={block.dir}>
          <Blocks blocks={block.c} />
        </blockquote>
      );
    case 'list':
      return <List block={block} />;
    case 'table':
      return <Table block={block} />;
    case 'hr':
      return <hr />;
    case 'html':
      return <p class="plain">{block.v}</p>;
  }
}

/** A message's own heading is a level 2 of the page: its headings go on from there. */
function Heading({ level, dir, content }: { level: number; dir: string; content: VNode[] }) {
  const Tag = `h${Math.min(6, level + 2)}` as 'h3';
  return (
    <Tag dir={dir as 'ltr'} class={`h${level}`}>
      {content}
    </Tag>
  );
}

function List({ block }: { block: Block & { t: 'list' } }) {
  const items = block.c.map((item, index) => (
    <ListItem key={index} item={item} loose={block.loose} />
  ));
  if (block.start === null) return <ul dir={block.dir}>{items}</ul>;
  return (
    <ol dir={block.dir} start={block.start}>
      {items}
    </ol>
  );
}

function ListItem({ item, loose }: { item: Item; loose: boolean }) {
  const task = item.checked;
  const inner = item.c.map((block, index) =>
    !loose && block.t === 'p' ? (
      <span key={index} class="tight" dir={block.dir}>
        {draw(block.c)}
      </span>
    ) : (
      <Frozen key={index} block={block} />
    ),
  );
  if (task === undefined) return <li>{inner}</li>;
  return (
    <li class="task">
      <span
        class={task ? 'box done' : 'box'}
        role="img"
        aria-label={t(task ? 'task.done' : 'task.open')}
      />
      {inner}
    </li>
  );
}

function plain(pieces: readonly Inline[]): string {
  return pieces
    .map((piece) => {
      if (typeof piece === 'string') return piece;
      if (piece.t === 'br') return ' ';
      return 'v' in piece ? piece.v : plain(piece.c);
    })
    .join('');
}

function tsv(rows: readonly Inline[][][]): string {
  const cell = (pieces: Inline[]): string => plain(pieces).replace(/[\t\n]/g, ' ');
  return rows.map((row) => row.map(cell).join('\t')).join('\n');
}

function Table({ block }: { block: Block & { t: 'table' } }) {
  const [copied, setCopied] = useState(false);
  const [head, ...body] = block.rows;
  const align = (column: number): string => `align-${block.align[column] ?? 'none'}`;
  const copy = async (): Promise<void> => {
    if (!(await copyText(tsv(block.rows), null))) return say(t('copy.select'));
    setCopied(true);
    window.setTimeout(() => setCopied(false), 2000);
  };
  return (
    <div class="table" dir={block.dir}>
      <IconButton
        icon={copied ? 'check' : 'copy'}
        label={copied ? t('copied') : t('table.copy')}
        onClick={copy}
      />
      <div class="table-scroll" tabIndex={0} role="region" aria-label={t('table.region')}>
        <table>
          <thead>
            <tr>
              {head?.map((cell, column) => (
                <th key={column} scope="col" class={align(column)}>
                  {draw(cell)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {body.map((row, index) => (
              <tr key={index}>
                {row.map((cell, column) => (
                  <td key={column} class={align(column)}>
                    {draw(cell)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

/** The place that a link leads to, shown beside its words unless they already say it. */
function target(href: string, content: readonly Inline[]): string {
  const url = new URL(href);
  const host = url.protocol === 'mailto:' ? url.pathname : url.host;
  return plain(content).includes(host) ? '' : host;
}

function draw(pieces: readonly Inline[]): VNode[] {
  return pieces.map((piece, index) => drawInline(piece, index) as VNode);
}

function drawInline(piece: Inline, key: number): VNode | string {
  if (typeof piece === 'string') return piece;
  switch (piece.t) {
    case 'em':
      return <em key={key}>{draw(piece.c)}</em>;
    case 'strong':
      return <strong key={key}>{draw(piece.c)}</strong>;
    case 'del':
      return <del key={key}>{draw(piece.c)}</del>;
    case 'code':
      return (
        <code key={key} dir="ltr">
          {piece.v}
        </code>
      );
    case 'math':
      return <Formula key={key} tex={piece.v} display={piece.display} open={piece.open === true} />;
    case 'br':
      return <br key={key} />;
    case 'a': {
      const host = target(piece.href, piece.c);
      return (
        <a
          key={key}
          href={piece.href}
          title={piece.href}
          target="_blank"
          rel="noopener noreferrer nofollow"
        >
          {draw(piece.c)}
          {host && <span class="host"> ({host})</span>}
        </a>
      );
    }
  }
}
