import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { cliPath, serverPath, startChild, startServing } from '../support/cli-harness.ts';
import { secret, startServer, temporaryFolder, tokenFor } from '../support/harness.ts';

test('serve exits 1 with one line when it cannot start', async () => {
  using folder = temporaryFolder();
  await using other = await startServer();
  const taken = { PORT: String(other.port) };
  const failures = [taken, { PORT: 'x' }, { HOST: '0.0.0.0' }];
  for (const path of [cliPath, serverPath]) {
    for (const env of failures) {
      const child = startChild(path, path === cliPath ? ['serve'] : [], { cwd: folder.path, env });
      expect((await child.ended).code).toBe(1);
      expect(child.stderr()).toMatch(/^runwire: [^\n]+\n$/);
    }
  }
});

test(
  '[X6] SIGTERM ends serve with a thousand clients: exit code 0, and each socket closes with 1001',
  async () => {
    using folder = temporaryFolder();
    const env = { PORT: '0', AUTH_SECRET: secret };
    const { child, url } = await startServing(cliPath, ['serve'], { cwd: folder.path, env });
    const token = await tokenFor();
    const clients = await Promise.all(Array.from({ length: 1_000 }, () => subscribeToAll(url, token)));
    const closed = clients.map((socket) => once(socket, 'close') as Promise<[number, Buffer]>);
    child.process.kill('SIGTERM');
    expect(await child.ended).toEqual({ code: 0, signal: null });
    expect(new Set((await Promise.all(closed)).map(([code]) => code))).toEqual(new Set([1001]));
  },
  10_000 + 20_000,
);

/** Resolves once the subscription is live. */
async function subscribeToAll(url: string, token: string): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws?connectionParams=1`);
  onTestFinished(() => socket.terminate());
  await once(socket, 'open');
  const live = new Promise<void>((resolve) => {
    socket.on('message', (data) => {
      if (String(data).includes('stream.live')) resolve();
    });
  });
  socket.send(JSON.stringify({ method: 'connectionParams', data: { token } }));
  socket.send(JSON.stringify({ id: 1, method: 'subscription', params: { path: 'onEvent', input: {} } }));
  await live;
  return socket;
}
