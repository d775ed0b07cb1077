import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { everyone } from '../../tests/support/harness.ts';
import { limitsOf } from '../limits.ts';
import { SLICE_MS, Turns } from '../slices.ts';
import { Connections } from './connections.ts';
import { createSockets } from './upgrade.ts';

/** Uses up the time of a turn. */
const work = () => {
  const until = performance.now() + 2 * SLICE_MS;
  while (performance.now() < until);
};

/** A server of sockets that works for a turn with each upgrade and each token. */
async function openSockets(
  clients: number,
  { onUpgrade = (): unknown => undefined, onVerify = (): unknown => undefined },
) {
  const connections = new Connections({
    ...{ heartbeatMs: 60_000, isDirect: true, limits: limitsOf() },
    ...{ invalidReasonOf: () => undefined, onSweep: () => undefined },
  });
  const upgrade = createSockets({
    ...{ connections, turns: new Turns(), limits: limitsOf(), compression: false, cookieName: 'a' },
    proxies: {
      addressOf: () => {
        onUpgrade();
        work();
        return '127.0.0.1';
      },
    },
    credentials: {
      verify: () => {
        onVerify();
        work();
        return everyone;
      },
    },
    origins: { knowsHost: () => true, allows: () => true },
  } as never);
  const server = createServer().on('upgrade', upgrade).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sockets = Array.from({ length: clients }, () => new WebSocket(`ws://127.0.0.1:${port}/ws?connectionParams=1`));
  onTestFinished(async () => {
    for (const socket of sockets) socket.terminate();
    await connections.close(0);
    server.close();
  });
  return { connections, sockets };
}

test('[W51] sockets that connect together are upgraded, and their tokens verified, in several turns of the event loop', async () => {
  const clients = 5;
  let turn = 0;
  const upgraded: number[] = [];
  const verified: number[] = [];
  const count = () => {
    turn++;
    if (verified.length < clients) setImmediate(count);
  };
  setImmediate(count);
  const { sockets } = await openSockets(clients, {
    onUpgrade: () => upgraded.push(turn),
    onVerify: () => verified.push(turn),
  });
  await Promise.all(sockets.map((socket) => once(socket, 'open')));
  for (const socket of sockets) {
    socket.send('{"method":"connectionParams","data":{"token":"a"}}');
    socket.send('PING'); // It waits for the token.
  }
  const answers = await Promise.all(sockets.map((socket) => once(socket, 'message')));
  expect(answers.map(([data]) => String(data))).toEqual(Array(clients).fill('PONG'));
  expect(new Set(upgraded).size).toBe(clients);
  expect(new Set(verified).size).toBe(clients);
});

test('[W4] sockets that are upgraded after the shutdown has begun are closed with 1001', async () => {
  let closing: Promise<void> | undefined;
  const { connections, sockets } = await openSockets(5, {
    onUpgrade: () => {
      closing ??= connections.close(0);
    },
  });
  const closed = await Promise.all(sockets.map((socket) => once(socket, 'close')));
  expect(closed.map(([code]) => code)).toEqual([1001, 1001, 1001, 1001, 1001]);
  await closing;
});
