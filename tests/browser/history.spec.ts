// The history and the branches of a conversation.
import {
  answers,
  canStop,
  ended,
  expect,
  lastAnswer,
  openGate,
  send,
  stored,
  test,
} from './support/test';

test('rename, search, select many, delete', async ({ chat }) => {
  for (const text of ['alpha question', 'beta question', 'gamma question']) {
    await send(chat, text);
    await ended(chat);
    await chat.locator('.sidebar .new').click();
    await expect(chat.locator('.empty')).toBeVisible();
  }
  const rows = chat.locator('.history a');
  await expect(rows).toHaveCount(3);
  await expect(chat.locator('.history h2')).toHaveText('Today');

  await rows.last().hover();
  await chat.getByRole('button', { name: 'Actions: alpha question' }).click();
  await chat.getByRole('menuitem', { name: 'Rename' }).click();
  await chat.getByLabel('Title').fill('Orbits');
  await chat.getByRole('button', { name: 'Save' }).click();
  await expect(rows.last()).toHaveText('Orbits');

  await chat.getByLabel('Search history').fill('alpha');
  await expect(rows).toHaveText(['Orbits']);
  await chat.getByLabel('Search history').fill('no such words');
  await expect(chat.locator('.history')).toContainText('Nothing found');
  await chat.getByLabel('Search history').fill('');
  await expect(rows).toHaveCount(3);

  await chat.getByRole('button', { name: 'Select' }).click();
  await chat.getByLabel('beta question').check();
  await chat.getByLabel('gamma question').check();
  await chat.locator('.select-bar').getByRole('button', { name: 'Delete' }).click();
  const dialog = chat.getByRole('dialog');
  await expect(dialog).toContainText('Delete 2 conversations?');
  await expect(dialog.getByRole('button', { name: 'Cancel' })).toBeFocused();
  await dialog.getByRole('button', { name: 'Delete' }).click();
  await expect(rows).toHaveText(['Orbits']);
  await rows.first().click();
  await expect(chat.locator('.bubble')).toHaveText('alpha question');
});

test('edit makes a branch, ask again a version; the prompt is the visible path', async ({
  chat,
  server,
}) => {
  await send(chat, '/script say first');
  await ended(chat);
  await lastAnswer(chat).getByRole('button', { name: 'Ask again' }).click();
  await expect(lastAnswer(chat).locator('.versions')).toContainText('2/2');
  await ended(chat);
  await chat.locator('.message.user').hover();
  await chat.locator('.message.user').getByRole('button', { name: 'Edit' }).click();
  await chat.getByLabel('Edit the question').fill('/script say second');
  await chat.locator('.editor').getByRole('button', { name: 'Send' }).click();
  await expect(lastAnswer(chat).locator('.prose')).toHaveText('second');
  await ended(chat);
  expect(await stored(chat, server)).toBe('second');

  await chat.locator('.message.user').hover();
  await chat.getByRole('button', { name: 'Previous version' }).click();
  await expect(lastAnswer(chat).locator('.prose')).toHaveText('first');
  const sent = chat.waitForRequest(
    (r) => r.method() === 'POST' && r.url().endsWith('/generations'),
  );
  await send(chat, 'go on');
  const { path } = (await sent).postDataJSON() as { path: { content: string }[] };
  expect(path.map((node) => node.content)).toEqual(['/script say first', 'first', 'go on']);
  await ended(chat);

  await chat.locator('.message.user').first().hover();
  await chat
    .locator('.message.user')
    .first()
    .getByRole('button', { name: 'Delete this version' })
    .click();
  await expect(chat.getByRole('dialog')).toContainText(/[45] messages go with it/);
  await chat.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(lastAnswer(chat).locator('.prose')).toHaveText('second');
  await expect(answers(chat)).toHaveCount(1);
});

test('find in this chat', async ({ chat }) => {
  await send(chat, '/script say the needle is here');
  await ended(chat);
  await chat.keyboard.press('Control+k');
  await chat.keyboard.type('find');
  await chat.keyboard.press('Enter');
  await chat.getByRole('textbox', { name: 'Find in this chat' }).fill('needle');
  await expect(chat.locator('.find')).toContainText('1 of 2');
  await chat.keyboard.press('Enter');
  await expect(chat.locator('.find')).toContainText('2 of 2');
  await chat.keyboard.press('Escape');
  await expect(chat.locator('.find')).toBeHidden();
});

test('the title of the window says nothing but that an answer is ready', async ({ chat }) => {
  await send(chat, 'a secret title');
  await ended(chat);
  await expect(chat).toHaveTitle('Nautile');
  expect(chat.url()).not.toContain('secret');
});

test.describe('with two models', () => {
  test.use({ serverArgs: ['--janus'] });

  test('a conversation goes on with its model, a new one with the last choice', async ({
    chat,
  }) => {
    const name = chat.locator('.model-name');
    const first = await name.innerText();
    const choose = async (model: string): Promise<void> => {
      await name.click();
      await chat.getByRole('menuitemradio', { name: new RegExp(`^${model} `) }).click();
      await expect(name).toHaveText(model);
    };
    await send(chat, 'alpha question');
    await ended(chat);
    await chat.locator('.sidebar .new').click();
    await choose('Janus-Pro-1B');
    await send(chat, 'beta question');
    await ended(chat);
    await chat.locator('.sidebar .new').click();
    await expect(name).toHaveText('Janus-Pro-1B');

    await chat.getByRole('link', { name: 'alpha question' }).click();
    await expect(name).toHaveText(first);
    await chat.reload();
    await expect(name).toHaveText(first);
    // An older version of an answer is looked at, not gone back to.
    await choose('Janus-Pro-1B');
    await lastAnswer(chat).getByRole('button', { name: 'Ask again' }).click();
    await expect(lastAnswer(chat).locator('.versions')).toContainText('2/2');
    await ended(chat);
    await chat.getByRole('button', { name: 'Previous version' }).click();
    await expect(lastAnswer(chat).locator('.versions')).toContainText('1/2');
    await expect(name).toHaveText('Janus-Pro-1B');
    await choose(first);

    await chat.locator('.sidebar .new').click();
    await expect(name).toHaveText(first);
    await chat.getByRole('link', { name: 'beta question' }).click();
    await expect(name).toHaveText('Janus-Pro-1B');
    // A choice that nobody has been asked with yet waits where it was made.
    await choose(first);
    await chat.getByRole('link', { name: 'alpha question' }).click();
    await expect(chat.locator('.bubble')).toHaveText('alpha question');
    await chat.getByRole('link', { name: 'beta question' }).click();
    await expect(chat.locator('.bubble')).toHaveText('beta question');
    await expect(name).toHaveText(first);
  });

  test('what waits in one conversation is asked of its model, whatever is open', async ({
    chat,
    server,
  }) => {
    const name = chat.locator('.model-name');
    const first = await name.innerText();
    await send(chat, 'beta question');
    await ended(chat);
    await chat.locator('.sidebar .new').click();
    await name.click();
    await chat.getByRole('menuitemradio', { name: /^Janus-Pro-1B / }).click();
    await send(chat, '/script stream 3 tokens; gate; stream 2 tokens');
    await expect(lastAnswer(chat).locator('.prose')).not.toBeEmpty();
    await canStop(chat);
    await chat.locator('#box').fill('and then');
    await chat.keyboard.press('Enter');
    await expect(chat.locator('.waiting')).toContainText('and then');
    await chat.getByRole('link', { name: 'beta question' }).click();
    await expect(name).toHaveText(first);
    await openGate(chat, server);
    await expect(chat.getByRole('link', { name: /gate/ })).toBeVisible();
    await chat.getByRole('link', { name: /gate/ }).click();
    await expect(answers(chat)).toHaveCount(2);
    await ended(chat);
    await expect(name).toHaveText('Janus-Pro-1B');
    await expect(chat.locator('.mark')).toHaveCount(0);
  });
});
