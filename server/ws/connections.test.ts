import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { everyone } from '../../tests/support/harness.ts';
import { limitsOf } from '../limits.ts';
import { Connections } from './connections.ts';
import { DirectWebSocket } from './socket.ts';

test('[D51] the check of all connections goes on over several turns of the event loop', async () => {
  let turn = 0;
  let isMeasured = false;
  const checkedIn: number[] = [];
  let swept = () => {};
  const connections = new Connections({
    heartbeatMs: 400,
    isDirect: true,
    limits: limitsOf(),
    invalidReasonOf: () => {
      if (!isMeasured) return undefined;
      checkedIn.push(turn);
      const until = performance.now() + 2;
      while (performance.now() < until);
      return undefined;
    },
    onSweep: () => swept(),
  });
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const wss = new WebSocketServer({ server, WebSocket: DirectWebSocket });
  wss.on('connection', (ws, request) => {
    connections.authenticate(connections.add(ws, request.socket, '127.0.0.1'), everyone);
  });
  const { port } = server.address() as AddressInfo;
  const clients = Array.from({ length: 5 }, () => new WebSocket(`ws://127.0.0.1:${port}`));
  await Promise.all(clients.map((client) => once(client, 'open')));
  await expect.poll(() => connections.count).toBe(5);
  await new Promise<void>((resolve) => {
    swept = resolve;
  });
  isMeasured = true;
  const count = () => {
    turn++;
    if (isMeasured) setImmediate(count);
  };
  setImmediate(count);
  await new Promise<void>((resolve) => {
    swept = resolve;
  });
  isMeasured = false;
  expect(checkedIn).toHaveLength(5);
  expect(new Set(checkedIn).size).toBe(5);
  for (const client of clients) client.terminate();
  await connections.close(0);
  server.close();
});
