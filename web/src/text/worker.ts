/** The text worker: parses Markdown and colours code, so that the page's thread only commits. */
import { GrowingText } from './incremental';
import { parse } from './parse';
import type { Reply, Request } from './protocol';

const growing = new Map<number, GrowingText>();
const reply = (message: Reply): void => self.postMessage(message);

function growingText(doc: number): GrowingText {
  const known = growing.get(doc);
  if (known !== undefined) return known;
  const made = new GrowingText();
  growing.set(doc, made);
  return made;
}

async function answer(request: Request): Promise<void> {
  const { doc } = request;
  switch (request.kind) {
    case 'grow':
      return reply({
        kind: 'update',
        doc,
        update: growingText(doc).grow(request.text, request.hold),
      });
    case 'finish':
      reply({ kind: 'update', doc, update: growingText(doc).finish(request.text) });
      growing.delete(doc);
      return;
    case 'parse':
      return reply({ kind: 'tree', doc, blocks: parse(request.text).blocks });
    case 'forget':
      growing.delete(doc);
      return;
    case 'highlight': {
      const { highlight } = await import('./highlight');
      return reply({ kind: 'pieces', doc, pieces: highlight(request.language, request.code) });
    }
  }
}

self.onmessage = (event: MessageEvent<Request>) => void answer(event.data);

// The first parse is slow (code is compiled): it happens before anybody waits for it.
parse('# a\n\n**b** `c` $d$ [e](https://example.org)\n\n- f\n\n| g | h |\n|---|---|\n| 1 | 2 |\n');
reply({ kind: 'ready' });
