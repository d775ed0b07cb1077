import { once } from 'node:events';
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../tests/support/harness.ts';
import { toRunwireError } from '../errors.ts';
import { sendError } from './messages.ts';
import { serveApp } from './web-app.ts';

async function serve(folder: string) {
  const route = serveApp(folder);
  const server = createServer((request, response) => {
    route(request, response).catch((error: unknown) => sendError(response, toRunwireError(error)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    get: async (path: string, headers: Record<string, string> = {}) => {
      const response = await fetch(`${url}${path}`, { headers });
      return [response.status, await response.text()];
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test('[Q15] a file removed while the server runs gives an error response, and the server continues', async () => {
  using temporary = temporaryFolder();
  const folder = `${temporary.path}/app`;
  mkdirSync(`${folder}/assets`, { recursive: true });
  writeFileSync(`${folder}/index.html`, 'the app');
  writeFileSync(`${folder}/assets/a.js`, 'script');
  await using app = await serve(folder);
  expect(await app.get('/')).toEqual([200, 'the app']);
  expect(await app.get('/runs/demo/1')).toEqual([200, 'the app']);
  expect(await app.get('/assets/a.js')).toEqual([200, 'script']);
  renameSync(folder, `${folder}-away`);
  for (const path of ['/', '/runs/demo/1', '/assets/a.js']) expect((await app.get(path))[0]).toBe(404);
  expect((await app.get('/nowhere', { accept: 'text/html' }))[0]).toBe(404);
  renameSync(`${folder}-away`, folder);
  expect(await app.get('/')).toEqual([200, 'the app']);
  // A file that exists and cannot be read, as when no file descriptors are left.
  symlinkSync(`${folder}/loop`, `${folder}/loop`);
  expect((await app.get('/loop'))[0]).toBe(503);
  expect(await app.get('/')).toEqual([200, 'the app']);
});

test('[Q11] folders, hidden files and files outside the folder are not served', async () => {
  using temporary = temporaryFolder();
  const folder = `${temporary.path}/app`;
  mkdirSync(`${folder}/assets`, { recursive: true });
  writeFileSync(`${folder}/index.html`, 'the app');
  writeFileSync(`${folder}/.env`, 'secret');
  writeFileSync(`${temporary.path}/outside`, 'secret');
  await using app = await serve(folder);
  for (const path of ['/assets', '/assets/', '/.env', '/..%2foutside', '/%2e%2e/outside', '/%00', '/%']) {
    const [status, text] = await app.get(path);
    expect([path, status]).toEqual([path, 404]);
    expect(text).not.toContain('secret');
  }
});
