// Journeys 16 and 17: pictures that are drawn, and pictures that are asked about; on a desk and on
// a phone, each in both languages and both themes. The engine is scripted; what it draws follows
// from the seed alone.
import { createHash } from 'node:crypto';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { deflateSync } from 'node:zlib';
import type { Page } from '@playwright/test';
import { look, looks, violations } from './support/look';
import type { Server } from './support/server';
import { canStop, ended, expect, lastAnswer, openGate, remember, send, test } from './support/test';

test.use({ serverArgs: ['--janus'] });

const crcTable = Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

function chunk(name: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(name), data]);
  let crc = 0xffffffff;
  for (const byte of body) crc = crcTable[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length);
  body.copy(out, 4);
  out.writeUInt32BE(~crc >>> 0, body.length + 4);
  return out;
}

/** A real PNG of one colour. */
function png(side: number, red: number): Buffer {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(side);
  head.writeUInt32BE(side, 4);
  head.set([8, 2], 8);
  const row = Buffer.from([0, ...Array.from({ length: side }, () => [red, 90, 140]).flat()]);
  const rows = Buffer.concat(Array.from({ length: side }, () => row));
  const start = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  return Buffer.concat([
    start,
    chunk('IHDR', head),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

const sea = { name: 'sea.png', mimeType: 'image/png', buffer: png(60, 20) };
const sunset = { name: 'sunset.png', mimeType: 'image/png', buffer: png(90, 220) };

type Given = { name: string; buffer: Buffer }[];

/** Files over the page, and then let go. */
async function drag(page: Page, files: Given, events: ('dragover' | 'drop')[]): Promise<void> {
  const plain = files.map(({ name, buffer }) => ({ name, data: buffer.toString('base64') }));
  await page.evaluate(
    ({ given, kinds }) => {
      const transfer = new DataTransfer();
      for (const { name, data } of given) {
        const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type: 'image/png' }));
      }
      const how = { bubbles: true, cancelable: true, dataTransfer: transfer };
      const chat = document.querySelector('.chat')!;
      for (const kind of kinds) chat.dispatchEvent(new DragEvent(kind, how));
    },
    { given: plain, kinds: events },
  );
}

const drop = (page: Page, files: Given) => drag(page, files, ['dragover', 'drop']);

/** The file chooser of a pointer, or the menu of a finger and then the chooser. */
async function choose(
  page: Page,
  files: string | { name: string; mimeType: string; buffer: Buffer }[],
) {
  await page.locator('input[type="file"][multiple]').setInputFiles(files);
}

interface Shift {
  hadRecentInput: boolean;
  sources: { node: Element | null; previousRect: DOMRect; currentRect: DOMRect }[];
}

/** Collects what moves on the page from now on, unless the person made it move. */
async function watchShifts(page: Page): Promise<() => Promise<string[]>> {
  await page.evaluate(() => {
    const all = window as never as { moved: string[] };
    all.moved = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const shift = entry as never as Shift;
        if (shift.hadRecentInput) continue;
        for (const { node, previousRect: a, currentRect: b } of shift.sources) {
          const place = `${a.x},${a.y} -> ${b.x},${b.y}`;
          all.moved.push(`${node?.outerHTML?.slice(0, 90) ?? node?.textContent} ${place}`);
        }
      }
    }).observe({ type: 'layout-shift' });
  });
  return () => page.evaluate(() => (window as never as { moved: string[] }).moved);
}

const squares = (page: Page) => lastAnswer(page).locator('.drawn');

interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}
const boxOf = async (page: Page): Promise<Box> => (await squares(page).first().boundingBox())!;

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

interface Stored {
  drawing?: { pictures: { id: string; seed: number }[] };
}

/** A digest of each picture of the last drawing, as the server keeps it for the page. */
async function drawnBytes(page: Page): Promise<string[]> {
  const { origin, pathname } = new URL(page.url());
  const reply = await page.request.get(`${origin}/site/conversations/${pathname.split('/')[2]}`);
  const { messages } = (await reply.json()) as { messages: Stored[] };
  const last = messages.filter((one) => one.drawing !== undefined).pop()!;
  const out: string[] = [];
  for (const { id } of last.drawing!.pictures) {
    const picture = await page.request.get(`${origin}/site/attachments/${id}`);
    expect(picture.headers()['cache-control']).toBe('no-store');
    out.push(digest(await picture.body()));
  }
  return out;
}

/** How many squares of the sketch have a colour. */
const coloured = (page: Page): Promise<number> =>
  squares(page)
    .first()
    .locator('canvas')
    .evaluate((area) => {
      const { width, height } = area as HTMLCanvasElement;
      const copy = Object.assign(document.createElement('canvas'), { width, height });
      const context = copy.getContext('2d')!;
      context.drawImage(area as HTMLCanvasElement, 0, 0);
      const { data } = context.getImageData(0, 0, width, height);
      let count = 0;
      for (let i = 3; i < data.length; i += 4) count += data[i] === 255 ? 1 : 0;
      return count;
    });

async function switchToDrawing(page: Page, name = 'Picture'): Promise<void> {
  const toggle = page.getByRole('button', { name, exact: true });
  await toggle.click();
  await expect(toggle).toHaveAttribute('aria-pressed', 'true');
}

async function seedShown(page: Page): Promise<number> {
  const words = await lastAnswer(page).locator('.drawing-status').innerText();
  return Number(/(?:Seed|Graine)\s(\d+)/.exec(words)![1]);
}

/** The API's picture of this seed: the scripted engine draws by the seed alone. */
async function apiPicture(server: Server, page: Page, seed: number): Promise<string> {
  const reply = await page.request.post(`${server.origin}/v1/images/generations`, {
    headers: { authorization: `Bearer ${server.key}` },
    data: { prompt: 'a lighthouse', seed },
  });
  expect(reply.status()).toBe(200);
  const body = (await reply.json()) as { data: { b64_json: string }[] };
  return digest(Buffer.from(body.data[0]!.b64_json, 'base64'));
}

const script = '/script sketch 9 at 2000/s; gate; sketch 6 at 2000/s; gate';

const wordsOf = {
  en: {
    mode: 'Picture',
    stop: 'Stop',
    save: 'Save',
    again: 'Again with this seed',
    four: 'Four of it',
    about: 'Ask about it',
    third: 'Actions: Picture 3 of 4: a lighthouse',
    stopped: 'Stopped by you. The picture was not finished.',
    said: ['Drawing.', 'Half drawn.', 'Answer ready'],
    disk: /^The server's disk is full/,
  },
  fr: {
    mode: 'Image',
    stop: 'Arrêter',
    save: 'Enregistrer',
    again: 'Refaire avec cette graine',
    four: 'En faire quatre',
    about: 'Poser une question dessus',
    third: 'Actions : Image 3 sur 4 : a lighthouse',
    stopped: 'Arrêté à votre demande. L’image n’est pas terminée.',
    said: ['Dessin en cours.', 'Dessin à moitié.', 'Réponse prête'],
    disk: /^Le disque du serveur est plein/,
  },
};

const progressBar = (page: Page) => lastAnswer(page).locator('[role="progressbar"]');

/** The drawing has ended, one way or the other. */
const settled = (page: Page) =>
  expect(lastAnswer(page).locator('.actions[data-busy="false"]')).toBeVisible();

const useOf = ({ width, height, theme, language }: (typeof looks)[0]) => ({
  viewport: { width, height },
  hasTouch: width < 500,
  isMobile: width < 500,
  colorScheme: theme,
  locale: language === 'fr' ? 'fr-FR' : 'en-US',
});

for (const how of looks.filter(({ width }) => width > 320)) {
  const { name, language, width } = how;
  const words = wordsOf[language];
  test.describe(name, () => {
    test.use(useOf(how));

    test(`${name}: a picture appears row by row, and nothing moves`, async ({ chat, server }) => {
      const heard = await remember(chat, '.hidden[role="status"]');
      await switchToDrawing(chat, words.mode);
      await send(chat, script);
      await expect(progressBar(chat)).toHaveAttribute('aria-valuenow', '9');
      await expect(progressBar(chat)).toHaveAttribute('aria-valuetext', / 9 (?:of|sur) 24$/);
      expect(await coloured(chat)).toBe(9 * 24);
      await expect(progressBar(chat)).toBeInViewport({ ratio: 1 });
      await expect(lastAnswer(chat).getByRole('button', { name: words.stop })).toBeInViewport({
        ratio: 1,
      });
      const moved = await watchShifts(chat);
      const before = await boxOf(chat);
      expect(Math.abs(before.width - before.height)).toBeLessThan(1);
      await look(chat, how, 'drawing');
      const seed = await seedShown(chat);
      await openGate(chat, server);
      await expect(progressBar(chat)).toHaveAttribute('aria-valuenow', '15');
      expect(await coloured(chat)).toBe(15 * 24);
      expect(await boxOf(chat)).toEqual(before);
      await openGate(chat, server);
      const picture = squares(chat).locator('img');
      await expect(picture).toBeVisible();
      await expect(lastAnswer(chat).getByRole('img', { name: script })).toHaveCount(1);
      await expect.poll(() => picture.evaluate((i: HTMLImageElement) => i.naturalWidth)).toBe(384);
      await settled(chat);
      expect(await boxOf(chat)).toEqual(before);
      expect(await moved()).toEqual([]);
      await look(chat, how, 'drawn');
      expect(await drawnBytes(chat)).toEqual([await apiPicture(server, chat, seed)]);
      // How far it is is said twice, politely, and not for each row.
      expect((await heard()).split('\n').filter((text) => text !== '')).toEqual(words.said);
      await expect(chat.locator('.hidden[role="alert"]')).toBeEmpty();
      // It is still there after a reload, from the server's memory.
      await chat.reload();
      await expect(squares(chat).locator('img')).toBeVisible();
      expect(await drawnBytes(chat)).toEqual([await apiPicture(server, chat, seed)]);
    });

    test(`${name}: stop; the same seed again; four of it; asked about`, async ({ chat }) => {
      await switchToDrawing(chat, words.mode);
      await send(chat, '/script sketch 7 at 2000/s; hold');
      await expect.poll(() => coloured(chat)).toBe(7 * 24);
      await canStop(chat);
      await lastAnswer(chat).getByRole('button', { name: words.stop, exact: true }).click();
      await settled(chat);
      await expect(lastAnswer(chat).locator('.drawing-status .note')).toHaveText(words.stopped);
      expect(await coloured(chat)).toBe(7 * 24);
      await look(chat, how, 'draw-stopped');

      await send(chat, 'a lighthouse');
      await expect(squares(chat).locator('img')).toBeVisible();
      const [first] = await drawnBytes(chat);
      const seed = await seedShown(chat);
      const action = (which: 'save' | 'again' | 'four') => {
        const colon = language === 'fr' ? '\u00a0:' : ':';
        const label = `${words[which]}${colon} a lighthouse`;
        return lastAnswer(chat).getByRole('button', { name: label, exact: true });
      };
      const saving = chat.waitForEvent('download');
      await action('save').click();
      const saved = await saving;
      expect(saved.suggestedFilename()).toBe(`nautile-${seed}.png`);
      expect(digest(readFileSync(await saved.path()))).toBe(first);
      await action('again').click();
      await expect(chat.locator('.versions').last()).toContainText('2/2');
      await expect(squares(chat).locator('img')).toBeVisible();
      expect(await seedShown(chat)).toBe(seed);
      expect(await drawnBytes(chat)).toEqual([first]);

      await action('four').click();
      await expect(squares(chat)).toHaveCount(4);
      await expect(squares(chat).locator('img')).toHaveCount(4);
      const four = await drawnBytes(chat);
      expect(new Set(four).size).toBe(4);
      await look(chat, how, 'four');

      // The third of them is asked about; the model in use is blind, another one is offered.
      await lastAnswer(chat).getByRole('button', { name: words.third }).click();
      await look(chat, how, 'four-menu');
      await chat.getByRole('menuitem', { name: words.about }).click();
      await expect(chat.locator('.file-chip')).toHaveCount(1);
      await expect(chat.locator('.send')).toBeDisabled();
      await chat.locator('#box').fill('What is in it?');
      await expect(chat.locator('.send')).toBeDisabled();
      await look(chat, how, 'blind');
      await chat.locator('.chip-note .button').click();
      await expect(chat.locator('#box')).toBeFocused();
      await chat.locator('.send').click();
      await ended(chat);
      await expect(lastAnswer(chat)).toContainText('I see 1 pictures:');
      await expect(chat.locator('.message.user').last().locator('.thumb img')).toBeVisible();
      await expect(chat.locator('.file-chip')).toHaveCount(0);
      await look(chat, how, 'asked-drawn');
    });

    test(`${name}: one dropped picture and two chosen ones are asked about`, async ({ chat }) => {
      await drag(chat, [sea], ['dragover']);
      await expect(chat.locator('.composer-box.dropping')).toBeVisible();
      await look(chat, how, 'dropping');
      await drop(chat, [sea]);
      await expect(chat.locator('.file-chip .file-name')).toHaveText(['sea.png']);
      await expect(chat.locator('.file-chip img')).toBeVisible();
      await expect(chat.locator('#blind-note')).toBeVisible();
      await look(chat, how, 'dropped');
      await chat.locator('.chip-note .button').click();
      await expect(chat.locator('#blind-note')).toBeHidden();
      await send(chat, 'What is this?');
      await ended(chat);
      await expect(lastAnswer(chat)).toContainText(`I see 1 pictures: ${sea.buffer.length} bytes`);
      await look(chat, how, 'asked');

      await choose(chat, [sea, sunset]);
      await expect(chat.locator('.file-chip')).toHaveCount(2);
      await look(chat, how, 'chips');
      await send(chat, 'And these two?');
      await expect(chat.locator('.message.user')).toHaveCount(2);
      await ended(chat);
      // The chips have left the box, which gave the transcript room: the question stays at the top.
      const at = (await chat.locator('.message.user').last().boundingBox())!.y;
      expect(at - (await chat.locator('.scroller').boundingBox())!.y).toBeLessThan(40);
      await expect(lastAnswer(chat)).toContainText('I see 2 pictures:');
      await expect(lastAnswer(chat)).toContainText(`${sunset.buffer.length} bytes`);
      await expect(chat.locator('.message.user').last().locator('.thumb img')).toHaveCount(2);
      await look(chat, how, 'asked-two');
      expect(await chat.evaluate(() => document.documentElement.scrollWidth)).toBe(width);

      // A full disk: nothing of what was asked is lost, and the card says what to do.
      const full = { status: 507, contentType: 'application/json', body: '{"error":{}}' };
      await chat.route('**/site/generations', (route) => route.fulfill(full), { times: 1 });
      await switchToDrawing(chat, words.mode);
      await send(chat, 'a lighthouse');
      await expect(chat.locator('.trouble.disk p')).toHaveText(words.disk);
      await expect(chat.locator('.message.user').last()).toContainText('a lighthouse');
      await look(chat, how, 'draw-disk');
    });
  });
}

/**
 * What the pill lies on, wherever the transcript is scrolled to: the boxes of buttons, bars and
 * words that are in view, against the pill's own.
 */
async function underPill(page: Page): Promise<{ seen: number; hit: string[] }> {
  return page.evaluate(async () => {
    const frame = (): Promise<number> => new Promise(requestAnimationFrame);
    const view = document.querySelector('.scroller')!;
    const hit = new Set<string>();
    let seen = 0;
    for (let top = view.scrollHeight; top >= 0; top -= 20) {
      view.scrollTop = top;
      await frame();
      await frame();
      const pill = document.querySelector('.pill')?.getBoundingClientRect();
      if (pill === undefined) continue;
      seen++;
      const inView = view.getBoundingClientRect();
      for (const one of view.querySelectorAll('button, [role="progressbar"], .drawn, p, .bubble')) {
        const box = one.getBoundingClientRect();
        const above = Math.min(box.bottom, inView.bottom) <= pill.top;
        const below = Math.max(box.top, inView.top) >= pill.bottom;
        const beside = box.right <= pill.left || box.left >= pill.right;
        if (!above && !below && !beside) hit.add(one.outerHTML.slice(0, 80));
      }
    }
    return { seen, hit: [...hit] };
  });
}

for (const how of looks.filter(({ name }) => name.startsWith('phone'))) {
  test.describe('the pill', () => {
    test.use(useOf(how));
    test(`${how.name}: the pill lies on no progress and no button`, async ({ chat, server }) => {
      await switchToDrawing(chat, wordsOf[how.language].mode);
      await send(chat, '/script sketch 9 at 2000/s; gate');
      await expect(progressBar(chat)).toHaveAttribute('aria-valuenow', '9');
      // One picture: how far it is, and the button, are in view at once, pill or not.
      const status = (await lastAnswer(chat).locator('.drawing-status').boundingBox())!;
      const view = (await chat.locator('.scroller').boundingBox())!;
      expect(status.y + status.height).toBeLessThanOrEqual(view.y + view.height);
      await openGate(chat, server);
      await settled(chat);
      expect((await underPill(chat)).hit).toEqual([]);
      // Four of them do not fit into the view: the pill is there while they are drawn.
      await lastAnswer(chat).locator('.drawn-actions button').nth(1).click();
      await expect(squares(chat)).toHaveCount(4);
      await expect(progressBar(chat)).toHaveAttribute('aria-valuenow', '9');
      await expect(chat.locator('.pill')).toBeVisible();
      await look(chat, how, 'four-drawing');
      const drawing = await underPill(chat);
      expect(drawing.seen).toBeGreaterThan(5);
      expect(drawing.hit).toEqual([]);
      const pill = (await chat.locator('.pill').boundingBox())!;
      await chat.locator('.pill').tap();
      await expect(chat.locator('.pill')).toBeHidden();
      const stop = lastAnswer(chat).locator('.drawing-status button');
      await expect(stop).toBeInViewport({ ratio: 1 });
      await look(chat, how, 'four-drawing-end');
      expect(pill.height).toBeGreaterThanOrEqual(44);
      await stop.click();
      await settled(chat);
    });
  });
}

for (const how of looks.filter(({ width }) => width === 320)) {
  test.describe('narrow', () => {
    test.use(useOf(how));
    test(`${how.name}: pictures`, async ({ chat, server }) => {
      const long = { ...sea, name: 'a-long-name-of-a-picture-of-the-sea-at-night.png' };
      await drop(chat, [long, sunset]);
      await expect(chat.locator('.file-chip img')).toHaveCount(2);
      await look(chat, how, 'dropped');
      await chat.locator('.file-chip button').first().click();
      await chat.locator('.file-chip button').click();
      await switchToDrawing(chat, wordsOf[how.language].mode);
      await send(chat, '/script sketch 9 at 2000/s; gate');
      await expect(progressBar(chat)).toHaveAttribute('aria-valuenow', '9');
      await expect(lastAnswer(chat).locator('.drawing-status .row')).toBeInViewport({ ratio: 1 });
      await look(chat, how, 'drawing');
      await openGate(chat, server);
      await settled(chat);
      await look(chat, how, 'drawn');
      await lastAnswer(chat).locator('.drawn-actions button').nth(1).click();
      await expect(squares(chat)).toHaveCount(4);
      await expect(progressBar(chat)).toHaveAttribute('aria-valuenow', '9');
      await look(chat, how, 'four-drawing');
    });
  });
}

test('what cannot be taken is said before anything is sent', async ({ chat }, info) => {
  const text = { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('hello') };
  const fake = { name: 'fake.png', mimeType: 'image/png', buffer: Buffer.from('GIF89a') };
  const start = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  const large = info.outputPath('large.png'); // the browser takes it from the disk
  writeFileSync(large, start);
  truncateSync(large, start.length + 20 * 1024 * 1024);
  await choose(chat, [text]);
  await expect(chat.locator('.chip-note.bad')).toHaveText(/notes\.txt is not a PNG/);
  await choose(chat, [fake]);
  await expect(chat.locator('.chip-note.bad')).toHaveText(/fake\.png is not a PNG/);
  await choose(chat, large);
  await expect(chat.locator('.chip-note.bad')).toHaveText(/large\.png has 21\sMB; one picture/);
  await expect(chat.locator('.file-chip')).toHaveCount(0);
  await choose(chat, Array.from({ length: 17 }, (_, i) => ({ ...sea, name: `${i}.png` })));
  await expect(chat.locator('.chip-note.bad')).toHaveText(/At most 16 pictures/);
  await expect(chat.locator('.file-chip')).toHaveCount(16);
  await expect(chat.getByRole('button', { name: 'Picture', exact: true })).toBeDisabled();
  await chat.getByRole('button', { name: 'Remove 0.png' }).click();
  await expect(chat.locator('.file-chip')).toHaveCount(15);
});

test('a pasted picture is attached; pasted text stays text', async ({ chat }) => {
  await chat.evaluate(
    ([data]) => {
      const paste = (text: string): void => {
        const transfer = new DataTransfer();
        const bytes = Uint8Array.from(atob(data!), (c) => c.charCodeAt(0));
        transfer.items.add(new File([bytes], 'image.png', { type: 'image/png' }));
        if (text !== '') transfer.setData('text/plain', text);
        const how = { bubbles: true, cancelable: true, clipboardData: transfer };
        document.querySelector('#box')!.dispatchEvent(new ClipboardEvent('paste', how));
      };
      paste('a cell of a table');
      paste('');
    },
    [sea.buffer.toString('base64')],
  );
  await expect(chat.locator('.file-chip')).toHaveCount(1);
});

test('by keyboard alone: draw, draw again, ask about it; the focus is never lost', async ({
  chat,
  server,
}) => {
  await chat.locator('#box').focus();
  const toggle = chat.getByRole('button', { name: 'Picture', exact: true });
  const add = chat.getByRole('button', { name: 'Add a picture' });
  await chat.keyboard.press('Tab');
  await expect(add).toBeFocused();
  await chat.keyboard.press('Tab');
  await expect(toggle).toBeFocused();
  await chat.keyboard.press('Space');
  await expect(chat.getByRole('textbox', { name: 'Describe a picture' })).toBeVisible();
  await chat.locator('#box').focus();
  await chat.keyboard.type('/script sketch 3 at 2000/s; gate');
  await chat.keyboard.press('Enter');
  // Stop has the focus when it goes because the picture is there: the answer takes it.
  const stop = lastAnswer(chat).getByRole('button', { name: 'Stop', exact: true });
  await stop.focus();
  await openGate(chat, server);
  await expect(squares(chat).locator('img')).toBeVisible();
  await expect(lastAnswer(chat)).toBeFocused();
  await chat.keyboard.press('Tab');
  const again = lastAnswer(chat).getByRole('button', { name: 'Again with this seed' });
  await expect(again).toBeFocused();
  // Another version takes the place of the one whose button was pressed, and its focus.
  await chat.keyboard.press('Enter');
  await expect(progressBar(chat)).toBeVisible();
  await expect(lastAnswer(chat)).toBeFocused();
  await openGate(chat, server);
  await expect(squares(chat).locator('img')).toBeVisible();
  await expect(chat.locator('.versions').last()).toContainText('2/2');
  const about = lastAnswer(chat).getByRole('button', { name: 'Ask about it' });
  await about.focus();
  await chat.keyboard.press('Enter');
  await expect(chat.locator('#box')).toBeFocused();
  await expect(chat.locator('.file-chip')).toHaveCount(1);
  await chat.locator('.file-chip button').focus();
  await chat.keyboard.press('Enter');
  await expect(chat.locator('.file-chip')).toHaveCount(0);
  await expect(add).toBeFocused();
});

test('the engine dies while it draws: said, and drawn again', async ({ chat }) => {
  await switchToDrawing(chat);
  await send(chat, '/script sketch 5 at 2000/s; die');
  await expect(lastAnswer(chat).locator('.card.cut')).toContainText('cut short');
  await expect(squares(chat)).toHaveCount(1);
  await expect(squares(chat).locator('img')).toHaveCount(0);
  expect(await violations(chat)).toEqual([]);
});

test('a reload in the middle joins the drawing again', async ({ chat, server }) => {
  await switchToDrawing(chat);
  await send(chat, '/script sketch 8 at 2000/s; gate');
  await expect.poll(() => coloured(chat)).toBe(8 * 24);
  const seed = await seedShown(chat);
  await chat.reload();
  await expect.poll(() => coloured(chat)).toBe(8 * 24);
  expect(await seedShown(chat)).toBe(seed);
  await openGate(chat, server);
  await expect(squares(chat).locator('img')).toBeVisible();
});

// Its conversation is read between the session and the stream: what it follows is not forgotten.
test('a reload joins again when the stream opens last', async ({ chat, server }) => {
  await switchToDrawing(chat);
  await send(chat, '/script sketch 4 at 2000/s; gate');
  await expect.poll(() => coloured(chat)).toBe(4 * 24);
  await chat.addInitScript(() => {
    const lateMs = 400; // for what waits for a frame, the opening of the stream too
    const later = window.setTimeout.bind(window);
    window.requestAnimationFrame = (call) => later(() => call(performance.now()), lateMs);
    const late = (call: TimerHandler, ms = 0): number => later(call, ms > 100 ? ms : lateMs);
    window.setTimeout = late as typeof window.setTimeout;
  });
  await chat.reload();
  await expect.poll(() => coloured(chat)).toBe(4 * 24);
  await openGate(chat, server);
  await expect(squares(chat).locator('img')).toBeVisible();
});

test.describe('where no model sees or draws', () => {
  test.use({ serverArgs: [] });
  test('neither is offered, and a dropped picture says so', async ({ chat }) => {
    await expect(chat.getByRole('button', { name: 'Picture', exact: true })).toHaveCount(0);
    await expect(chat.getByRole('button', { name: 'Add a picture' })).toHaveCount(0);
    await drop(chat, [sea]);
    await expect(chat.locator('.chip-note.bad')).toHaveText(/No model on this server sees/);
  });
});
