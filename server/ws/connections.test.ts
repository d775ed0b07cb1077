import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, Socket } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { everyone } from '../../tests/support/harness.ts';
import { limitsOf } from '../limits.ts';
import { SLICE_MS } from '../slices.ts';
import type { Connection } from './connection.ts';
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

test('[W40] closed sockets do not wait for the messages of users', async () => {
  const connections = new Connections({
    ...{ heartbeatMs: 60_000, isDirect: true, limits: limitsOf() },
    ...{ invalidReasonOf: () => undefined, onSweep: () => undefined },
  });
  onTestFinished(() => connections.close(0));
  const now = vi.spyOn(performance, 'now');
  onTestFinished(() => now.mockRestore());
  let ms = 0;
  now.mockImplementation(() => ++ms); // Each look at the clock takes a millisecond.
  let isOver = false;
  const talk = async (user: string) => {
    while (!isOver) await (connections.turnToAnswer(user) ?? new Promise(setImmediate));
  };
  const users = Array.from({ length: 100 }, (_, index) => talk(`user ${index}`));
  let closed = 0;
  const closing = Array.from({ length: 100 }, async () => {
    await connections.turnToClose({} as Connection);
    closed++;
  });
  for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
  isOver = true;
  expect(closed).toBe(100);
  await Promise.all([...users, ...closing]);
});

test('[W44] a connection is checked in each sweep only while there is something to observe', async () => {
  let checks = 0;
  let sweeps = 0;
  const connections = new Connections({
    heartbeatMs: 60_000,
    isDirect: true,
    limits: limitsOf({ identifyMs: 400 }), // A pause of 0.3 s, after which a sweep checks all, is rare.
    invalidReasonOf: () => {
      checks++;
      return undefined;
    },
    onSweep: () => sweeps++,
  });
  const ws = Object.assign(new DirectWebSocket(null as never, undefined, {}), {
    _readyState: WebSocket.OPEN as number,
  });
  const connection = connections.add(ws, new Socket(), '127.0.0.1');
  connections.authenticate(connection, everyone);
  const checksOf = async (count: number) => {
    const [checksBefore, sweepsBefore] = [checks, sweeps];
    await expect.poll(() => sweeps - sweepsBefore).toBeGreaterThanOrEqual(count);
    return checks - checksBefore;
  };
  expect(await checksOf(20)).toBeLessThan(10);
  const reader = { lag: 3, recheckAccess: () => undefined };
  connection.attach(reader);
  expect(connections.totals()).toMatchObject({ subscriptions: 1, mostLag: 3 });
  expect(await checksOf(20)).toBeGreaterThanOrEqual(20);
  connection.detach(reader);
  expect(connections.totals()).toMatchObject({ subscriptions: 0, mostLag: 0 });
  ws._readyState = WebSocket.CLOSED;
  ws.emit('close', 1006, Buffer.alloc(0));
  await connections.close(0);
});

test('[W44] a connection at rest is checked in the next sweep after a step of the clock', async () => {
  const checkedAt: number[] = [];
  let sweeps = 0;
  const connections = new Connections({
    heartbeatMs: 60_000,
    isDirect: true,
    limits: limitsOf({ identifyMs: 400 }),
    invalidReasonOf: () => {
      checkedAt.push(sweeps);
      return undefined;
    },
    onSweep: () => sweeps++,
  });
  const ws = Object.assign(new DirectWebSocket(null as never, undefined, {}), {
    _readyState: WebSocket.OPEN as number,
  });
  connections.authenticate(connections.add(ws, new Socket(), '127.0.0.1'), everyone);
  const next = (count: number) => expect.poll(() => sweeps, { interval: 5 }).toBeGreaterThanOrEqual(count);
  await next(2); // It rests.
  const before = sweeps;
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 });
  await next(before + 2).finally(vi.useRealTimers);
  expect(checkedAt.some((sweep) => sweep === before || sweep === before + 1)).toBe(true);
  ws._readyState = WebSocket.CLOSED;
  ws.emit('close', 1006, Buffer.alloc(0));
  await connections.close(0);
});

test('[W40] a connection with a closed socket refuses no other one while it waits for its turn to end', async () => {
  for (const limit of ['connectionsPerUser', 'connectionsPerAddress', 'subscriptionsPerUser'] as const) {
    const connections = new Connections({
      heartbeatMs: 60_000,
      isDirect: true,
      limits: limitsOf({ [limit]: 2 }),
      invalidReasonOf: () => undefined,
      onSweep: () => undefined,
    });
    const open = () => {
      const ws = Object.assign(new DirectWebSocket(null as never, undefined, {}), {
        _readyState: WebSocket.OPEN as number,
      });
      const connection = connections.add(ws, new Socket(), '127.0.0.1');
      expect(connections.authenticate(connection, everyone)).toBe(true);
      connection.attach({} as never);
      const close = () => {
        ws._readyState = WebSocket.CLOSED;
        ws.emit('close', 1006, Buffer.alloc(0));
      };
      return { connection, close };
    };
    const [first, second] = [open(), open()];
    first.close();
    const until = performance.now() + 2 * SLICE_MS;
    while (performance.now() < until);
    second.close();
    expect(connections.count).toBe(1); // The turn has no time left for the second one.
    const opened = [open(), open()];
    expect(opened.map(({ connection }) => connection.isOpen)).toEqual([true, true]);
    await expect.poll(() => connections.count).toBe(2);
    for (const { close } of opened) close();
    await connections.close(0);
  }
});
