/** Reads one event stream by fetch (an EventSource would hide the status). */
import type { Frame } from './wire';

/** Splits a stream of text into the `data:` of its events. Comments and ids are not needed. */
export class EventParser {
  private rest = '';
  private data: string[] = [];

  push(chunk: string): string[] {
    const events: string[] = [];
    const lines = (this.rest + chunk).split('\n');
    this.rest = lines.pop()!;
    for (const raw of lines) {
      const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
      if (line === '') {
        if (this.data.length > 0) events.push(this.data.join('\n'));
        this.data = [];
      } else if (line.startsWith('data:')) {
        this.data.push(line.slice(line[5] === ' ' ? 6 : 5));
      }
    }
    return events;
  }
}

export interface StreamEnd {
  status: number; // 0: never connected or lost
  retryAfterS: number | null;
}

/** Calls `onFrame` for each frame and `onBytes` for any sign of life; resolves when it is over. */
export async function readStream(
  url: string,
  signal: AbortSignal,
  onOpen: () => void,
  onFrame: (frame: Frame) => void,
): Promise<StreamEnd> {
  try {
    const init: RequestInit = { credentials: 'same-origin', cache: 'no-store', signal };
    const response = await fetch(url, { ...init, headers: { accept: 'text/event-stream' } });
    if (!response.ok || response.body === null) {
      const wait = response.headers.get('retry-after');
      return { status: response.status, retryAfterS: wait === null ? null : Number(wait) };
    }
    onOpen();
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    const parser = new EventParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return { status: 0, retryAfterS: null };
      for (const data of parser.push(decoder.decode(value, { stream: true }))) {
        onFrame(JSON.parse(data) as Frame);
      }
    }
  } catch {
    return { status: 0, retryAfterS: null };
  }
}
