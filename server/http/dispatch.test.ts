import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, test } from 'vitest';
import { SLICE_MS, Turns } from '../slices.ts';
import { createDispatcher } from './dispatch.ts';
import { Origins } from './origins.ts';

/** Dispatches `GET /slow`, which holds the event loop for a time after `onBegin`. */
const slowDispatcher = (ms: number, onBegin: () => void) =>
  createDispatcher({
    routes: [
      {
        methods: ['GET'],
        path: '/slow',
        auth: 'none',
        handle: (_: IncomingMessage, response: ServerResponse) => {
          onBegin();
          const until = performance.now() + ms;
          while (performance.now() < until);
          response.end();
        },
      },
    ],
    origins: new Origins({ allowed: [], onlyLocalHosts: false }),
    turns: new Turns(),
    limits: { stalledMs: 60_000 },
  } as never);

test('[D50] requests that arrive together begin in several turns of the event loop', async () => {
  let turn = 0;
  const begun: number[] = [];
  const dispatcher = slowDispatcher(2 * SLICE_MS, () => begun.push(turn));
  const server = createServer();
  const arrived: [IncomingMessage, ServerResponse][] = [];
  const all = new Promise<void>((resolve) => {
    server.on('request', (request, response) => {
      if (arrived.push([request, response]) === 5) resolve();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const answers = Array.from({ length: 5 }, () => fetch(`http://127.0.0.1:${port}/slow`));
  await all;
  const count = () => {
    turn++;
    if (begun.length < 5) setImmediate(count);
  };
  setImmediate(count);
  for (const [request, response] of arrived) dispatcher.all(request, response);
  expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
  expect(new Set(begun).size).toBe(5);
  server.close();
});

test('[D50] a connection is closed when too many of its requests wait to begin', async () => {
  let begun = 0;
  const dispatcher = slowDispatcher(SLICE_MS, () => {
    begun++;
  });
  const server = createServer(dispatcher.all).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const send = async (requests: number) => {
    const socket = connect(port, '127.0.0.1');
    const last = 'GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
    socket.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(requests - 1) + last);
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('error', () => undefined);
    await once(socket, 'close');
    return text.match(/200 OK/g)?.length ?? 0;
  };
  expect(await send(50)).toBe(50);
  begun = 0;
  await send(1_000);
  expect(begun).toBeLessThan(100);
  server.close();
});
