import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { created, openServer, tokenFor } from '../../tests/support/harness.ts';
import { createRunwireClient } from '../index.ts';
import { createPublisher } from '../publisher/index.ts';

/** A server behind a proxy that forwards only the paths below `prefix`. */
async function startServerUnder(prefix: string) {
  const server = await openServer();
  const behind = createServer();
  server.attach(behind);
  const proxy = createServer((request, response) => {
    if (!strip(request)) response.writeHead(404).end();
    else behind.emit('request', request, response);
  });
  proxy.on('upgrade', (request, socket, head) => {
    if (!strip(request)) socket.destroy();
    else behind.emit('upgrade', request, socket, head);
  });
  const strip = (request: { url?: string | undefined }): boolean => {
    if (!request.url?.startsWith(`${prefix}/`)) return false;
    request.url = request.url.slice(prefix.length);
    return true;
  };
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  onTestFinished(async () => {
    await server.close();
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
  });
  return `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
}

test.for([
  ['http', '', ''],
  ['http', '', '/'],
  ['ws', '', '/ws'],
  ['http', '/runs', '/runs'],
  ['http', '/runs', '/runs/'],
  ['ws', '/runs', '/runs/ws'],
  ['ws', '/runs', '/runs/ws/'],
] as const)(
  '[Q4] [Q10] %s address: for a server at "%s", the path "%s" leads to its socket, queries and events',
  async ([protocol, prefix, path]) => {
    const host = await startServerUnder(prefix);
    const options = { url: `${protocol}://${host}${path}`, token: await tokenFor() };
    const publisher = createPublisher(options);
    expect(await publisher.publish(created('r1'))).toMatchObject({ accepted: 1 });

    const { client, connection } = createRunwireClient({
      ...options,
      WebSocket: WebSocket as unknown as typeof globalThis.WebSocket,
      maxReconnectAttempts: 0,
    });
    onTestFinished(() => connection.close());
    expect(await client.auth.me.query()).toMatchObject({ sub: 'ada' });
    const first = await new Promise<string>((resolve, reject) => {
      connection.subscribe(() => {
        const { state, error } = connection.getStatus();
        if (state === 'failed') reject(error);
      });
      client.onRunEvent.subscribe({ runId: 'r1', from: 'start' }, { onData: ({ data }) => resolve(data.type) });
    });
    expect(first).toBe('run.created');
  },
);
