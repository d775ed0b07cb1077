import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { SLICE_MS, Turns } from '../slices.ts';
import { createDispatcher } from './dispatch.ts';
import { Origins } from './origins.ts';

test('[D50] requests that arrive together begin in several turns of the event loop', async () => {
  let turn = 0;
  const begun: number[] = [];
  const dispatcher = createDispatcher({
    routes: [
      {
        methods: ['GET'],
        path: '/slow',
        auth: 'none',
        handle: (_: IncomingMessage, response: ServerResponse) => {
          begun.push(turn);
          const until = performance.now() + 2 * SLICE_MS;
          while (performance.now() < until);
          response.end();
        },
      },
    ],
    origins: new Origins({ allowed: [], onlyLocalHosts: false }),
    turns: new Turns(),
    limits: { stalledMs: 60_000 },
  } as never);
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
