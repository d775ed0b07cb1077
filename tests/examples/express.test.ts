import { once } from 'node:events';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { WebSocket } from 'ws';
import { Example } from './example.ts';

const example = new Example('express', inject('tarball'));
beforeAll(() => example.install());
afterAll(() => example[Symbol.asyncDispose]());

test('[K30] examples/express has no type errors', async () => {
  expect(await example.script('typecheck')).toBe('');
});

test('[K31] an Express app keeps its routes and its own WebSockets beside those of Runwire', async () => {
  const app = example.start(['--import=tsx', 'server.ts'], { PORT: '0' });
  const [url] = await app.until(/http:\S+/);
  const editors = [`${url}/collaboration`, `${url}/collaboration`].map((address) => new WebSocket(address));
  const [first, second] = editors as [WebSocket, WebSocket];
  await Promise.all(editors.map((editor) => once(editor, 'open')));
  const send = async (text: string) => {
    const received = once(second, 'message');
    first.send(text);
    return String((await received)[0]);
  };

  const status = async (path: string, init: RequestInit = {}) => (await fetch(url + path, init)).status;
  expect(await (await fetch(url)).text()).toBe('the app');
  expect(await status('/nothing')).toBe(404);
  expect(await status('/runwire-token', { method: 'POST' })).toBe(401);
  expect(await status('/trpc/run.list')).toBe(401);

  // The events arrive over /ws, with those of the app's own type, while the other sockets are in use.
  const follower = example.start(['--import=tsx', 'follow.ts', url]);
  await follower.until(/page 1/);
  expect(await send('while a run is followed')).toBe('while a run is followed');
  expect(await follower.ended).toBe(0);
  expect(follower.output().trim().split('\n')).toEqual([
    'run.created',
    'stage.started',
    ...['page 1: 412 words', 'stage.progress'],
    ...['page 2: 388 words', 'stage.progress'],
    ...['page 3: 97 words', 'stage.progress'],
    'stage.completed',
    'run.completed',
  ]);

  // Neither end of a socket, nor a refused upgrade, ends the others.
  const refused = new WebSocket(`${url}/other`);
  const [error] = await once(refused, 'error');
  expect(String(error)).toContain('400');
  expect(await send('afterwards')).toBe('afterwards');
  first.terminate();
  const again = example.start(['--import=tsx', 'follow.ts', url]);
  expect(await again.ended).toBe(0);
  second.terminate();
  app.process.kill('SIGTERM');
  expect(await app.ended).toBe(0);
});
