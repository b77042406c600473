// Journeys 16 and 17: pictures that are drawn, and pictures that are asked about; on a desk and on
// a phone, in both languages. The engine is scripted; what it draws follows from the seed alone.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import type { Page } from '@playwright/test';
import { violations } from './support/look';
import { screenshotDir } from './support/places';
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

async function drop(page: Page, files: { name: string; buffer: Buffer }[]): Promise<void> {
  const plain = files.map(({ name, buffer }) => ({ name, data: buffer.toString('base64') }));
  await page.evaluate((given) => {
    const transfer = new DataTransfer();
    for (const { name, data } of given) {
      const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
      transfer.items.add(new File([bytes], name, { type: 'image/png' }));
    }
    const how = { bubbles: true, cancelable: true, dataTransfer: transfer };
    document.querySelector('.chat')!.dispatchEvent(new DragEvent('dragover', how));
    document.querySelector('.chat')!.dispatchEvent(new DragEvent('drop', how));
  }, plain);
}

/** The file chooser of a pointer, or the menu of a finger and then the chooser. */
async function choose(page: Page, files: { name: string; mimeType: string; buffer: Buffer }[]) {
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
  return Number(/(?:seed|graine) (\d+)/.exec(words)![1]);
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

for (const phone of [false, true]) {
  const where = phone ? 'phone' : 'desk';
  test.describe(where, () => {
    test.use({
      viewport: phone ? { width: 360, height: 740 } : { width: 1280, height: 800 },
      hasTouch: phone,
      isMobile: phone,
      colorScheme: phone ? 'dark' : 'light',
      locale: phone ? 'fr-FR' : 'en-US',
    });
    const words = phone
      ? { mode: 'Image', stop: 'Arrêter', about: 'Poser une question dessus' }
      : { mode: 'Picture', stop: 'Stop', about: 'Ask about it' };

    test('a picture appears row by row, and nothing moves', async ({ chat, server }) => {
      const heard = await remember(chat, '[role="status"]');
      await switchToDrawing(chat, words.mode);
      await send(chat, script);
      await expect(lastAnswer(chat).locator('[role="progressbar"]')).toHaveAttribute(
        'aria-valuenow',
        '9',
      );
      expect(await coloured(chat)).toBe(9 * 24);
      const moved = await watchShifts(chat);
      const before = await boxOf(chat);
      expect(Math.abs(before.width - before.height)).toBeLessThan(1);
      await chat.screenshot({ path: join(screenshotDir, `drawing-${where}.png`) });
      expect(await violations(chat)).toEqual([]);
      const seed = await seedShown(chat);
      await openGate(chat, server);
      await expect(lastAnswer(chat).locator('[role="progressbar"]')).toHaveAttribute(
        'aria-valuenow',
        '15',
      );
      expect(await coloured(chat)).toBe(15 * 24);
      expect(await boxOf(chat)).toEqual(before);
      await openGate(chat, server);
      const picture = squares(chat).locator('img');
      await expect(picture).toBeVisible();
      await expect(picture).toHaveAttribute('alt', script);
      await expect.poll(() => picture.evaluate((i: HTMLImageElement) => i.naturalWidth)).toBe(384);
      await expect(lastAnswer(chat).locator('.actions[data-busy="false"]')).toBeVisible();
      expect(await boxOf(chat)).toEqual(before);
      expect(await moved()).toEqual([]);
      await chat.screenshot({ path: join(screenshotDir, `drawn-${where}.png`) });
      expect(await violations(chat)).toEqual([]);
      expect(await drawnBytes(chat)).toEqual([await apiPicture(server, chat, seed)]);
      const said = await heard();
      expect(said).toContain(phone ? 'Dessin à moitié.' : 'Half drawn.');
      expect(said).toContain(phone ? 'Réponse prête' : 'Answer ready');
      // It is still there after a reload, from the server's memory.
      await chat.reload();
      await expect(squares(chat).locator('img')).toBeVisible();
      expect(await drawnBytes(chat)).toEqual([await apiPicture(server, chat, seed)]);
    });

    test('stop, the same seed again, four of it, a question about it', async ({ chat }) => {
      await switchToDrawing(chat, words.mode);
      await send(chat, '/script sketch 7 at 2000/s; hold');
      await expect.poll(() => coloured(chat)).toBe(7 * 24);
      await canStop(chat);
      await lastAnswer(chat).getByRole('button', { name: words.stop, exact: true }).click();
      await expect(lastAnswer(chat).locator('.actions[data-busy="false"]')).toBeVisible();
      await expect(lastAnswer(chat).locator('.drawing-status .note')).toHaveText(
        phone ? /Arrêté à votre demande/ : /Stopped by you/,
      );
      expect(await coloured(chat)).toBe(7 * 24);

      await send(chat, 'a lighthouse');
      await expect(squares(chat).locator('img')).toBeVisible();
      const [first] = await drawnBytes(chat);
      const seed = await seedShown(chat);
      const saving = chat.waitForEvent('download');
      await lastAnswer(chat)
        .getByRole('button', { name: phone ? 'Enregistrer' : 'Save', exact: true })
        .click();
      const saved = await saving;
      expect(saved.suggestedFilename()).toBe(`nautile-${seed}.png`);
      expect(digest(readFileSync(await saved.path()))).toBe(first);
      const again = phone ? 'Refaire avec cette graine' : 'Again with this seed';
      await lastAnswer(chat).getByRole('button', { name: again }).click();
      await expect(chat.locator('.versions').last()).toContainText('2/2');
      await expect(squares(chat).locator('img')).toBeVisible();
      expect(await seedShown(chat)).toBe(seed);
      expect(await drawnBytes(chat)).toEqual([first]);

      await lastAnswer(chat)
        .getByRole('button', { name: phone ? 'En faire quatre' : 'Four of it' })
        .click();
      await expect(squares(chat)).toHaveCount(4);
      await expect(squares(chat).locator('img')).toHaveCount(4);
      const four = await drawnBytes(chat);
      expect(new Set(four).size).toBe(4);
      await chat.screenshot({ path: join(screenshotDir, `four-${where}.png`) });
      expect(await violations(chat)).toEqual([]);

      // The third of them is asked about; the model in use is blind, another one is offered.
      await lastAnswer(chat).locator('.drawn-actions button').nth(2).click();
      await chat.getByRole('menuitem', { name: words.about }).click();
      await expect(chat.locator('.file-chip')).toHaveCount(1);
      await expect(chat.locator('.send')).toBeDisabled();
      await chat.locator('#box').fill('What is in it?');
      await expect(chat.locator('.send')).toBeDisabled();
      await chat.screenshot({ path: join(screenshotDir, `blind-${where}.png`) });
      expect(await violations(chat)).toEqual([]);
      await chat.locator('.chip-note .button').click();
      await chat.locator('.send').click();
      await ended(chat);
      await expect(lastAnswer(chat)).toContainText('I see 1 pictures:');
      await expect(chat.locator('.message.user').last().locator('.thumb img')).toBeVisible();
      await expect(chat.locator('.file-chip')).toHaveCount(0);
      expect(await violations(chat)).toEqual([]);
    });

    test('one dropped picture and two chosen ones are asked about', async ({ chat }) => {
      await drop(chat, [sea]);
      await expect(chat.locator('.file-chip .file-name')).toHaveText(['sea.png']);
      await expect(chat.locator('.file-chip img')).toBeVisible();
      await expect(chat.locator('#blind-note')).toBeVisible();
      await chat.locator('.chip-note .button').click();
      await expect(chat.locator('#blind-note')).toBeHidden();
      await send(chat, 'What is this?');
      await ended(chat);
      await expect(lastAnswer(chat)).toContainText(`I see 1 pictures: ${sea.buffer.length} bytes`);

      await choose(chat, [sea, sunset]);
      await expect(chat.locator('.file-chip')).toHaveCount(2);
      await chat.screenshot({ path: join(screenshotDir, `chips-${where}.png`) });
      expect(await violations(chat)).toEqual([]);
      await send(chat, 'And these two?');
      await ended(chat);
      await expect(lastAnswer(chat)).toContainText('I see 2 pictures:');
      await expect(lastAnswer(chat)).toContainText(`${sunset.buffer.length} bytes`);
      await expect(chat.locator('.message.user').last().locator('.thumb img')).toHaveCount(2);
      await chat.screenshot({ path: join(screenshotDir, `asked-${where}.png`) });
      expect(await violations(chat)).toEqual([]);
      const wide = await chat.evaluate(() => document.documentElement.scrollWidth);
      expect(wide).toBeLessThanOrEqual(phone ? 360 : 1280);
    });
  });
}

test('what cannot be taken is said before anything is sent', async ({ chat }) => {
  const text = { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('hello') };
  const fake = { name: 'fake.png', mimeType: 'image/png', buffer: Buffer.from('GIF89a') };
  const start = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  const large = {
    name: 'large.png',
    mimeType: 'image/png',
    buffer: Buffer.concat([start, Buffer.alloc(20 * 1024 * 1024)]),
  };
  await choose(chat, [text]);
  await expect(chat.locator('.chip-note.bad')).toHaveText(/notes\.txt is not a PNG/);
  await choose(chat, [fake]);
  await expect(chat.locator('.chip-note.bad')).toHaveText(/fake\.png is not a PNG/);
  await choose(chat, [large]);
  await expect(chat.locator('.chip-note.bad')).toHaveText(/large\.png has 21 MB; one picture/);
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

test('by keyboard alone: draw, and ask about it', async ({ chat }) => {
  await chat.locator('#box').focus();
  const toggle = chat.getByRole('button', { name: 'Picture', exact: true });
  await chat.keyboard.press('Tab');
  await expect(chat.getByRole('button', { name: 'Add a picture' })).toBeFocused();
  await chat.keyboard.press('Tab');
  await expect(toggle).toBeFocused();
  await chat.keyboard.press('Space');
  await expect(chat.getByRole('textbox', { name: 'Describe a picture' })).toBeVisible();
  await chat.locator('#box').focus();
  await chat.keyboard.type('a quiet harbour');
  await chat.keyboard.press('Enter');
  await expect(squares(chat).locator('img')).toBeVisible();
  const about = lastAnswer(chat).getByRole('button', { name: 'Ask about it' });
  await about.focus();
  await chat.keyboard.press('Enter');
  await expect(chat.locator('#box')).toBeFocused();
  await expect(chat.locator('.file-chip')).toHaveCount(1);
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

test.describe('where no model sees or draws', () => {
  test.use({ serverArgs: [] });
  test('neither is offered, and a dropped picture says so', async ({ chat }) => {
    await expect(chat.getByRole('button', { name: 'Picture', exact: true })).toHaveCount(0);
    await expect(chat.getByRole('button', { name: 'Add a picture' })).toHaveCount(0);
    await drop(chat, [sea]);
    await expect(chat.locator('.chip-note.bad')).toHaveText(/No model on this server sees/);
  });
});
