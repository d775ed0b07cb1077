import { DatabaseSync } from '@photostructure/sqlite';
import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { SLICE_MS } from '../../server/slices.ts';
import { StatsHistory } from '../../server/stats-history.ts';
import { created, isLive, progress, startServer, temporaryFolder, tokenFor, Wire } from '../support/harness.ts';
import { publisher, query, upwards } from './setup.ts';

/** Calls in progress, and their answers to slow clients. */

const MEGABYTE = 1_000_000;
type Server = Awaited<ReturnType<typeof startServer>>;
const history = (id: number) => query({ path: 'run.history', input: { runId: 'r1', limit: 500 } }, id);

/** A server with a run that has pages of about a megabyte in `run.history`. */
async function serverWithPages(options: Parameters<typeof startServer>[0] = {}) {
  const server = await startServer(options);
  const message = 'x y '.repeat(490);
  await server.bus.publish(
    [created('r1'), ...upwards(1, 499).map((i) => progress('r1', i % 100, { message }))],
    publisher,
  );
  return server;
}

const unsentOf = (server: Server) =>
  server.getStats().clients.reduce((sum: number, { unsentBytes }) => sum + unsentBytes, 0);

/** Opens a socket that accepts nothing, and resolves once its token is verified. */
async function openSlow(server: Server, sub = 'slow') {
  const wire = await Wire.open(server.url, { token: await tokenFor({ sub }) });
  await wire.call('query', 'auth.me');
  wire.ws.pause();
  return wire;
}

test('[W22] a user with more than 256 calls in progress is answered RATE_LIMITED; others are answered', async () => {
  using folder = temporaryFolder();
  const path = `${folder.path}/runwire.db`;
  await using server = await startServer({ databaseUrl: `file:${path}` });
  await using wire = await Wire.open(server.url);
  using other = new DatabaseSync(path);
  other.exec('BEGIN IMMEDIATE'); // Publishing waits.
  const publish = (id: number) => ({ path: 'event.publish', input: { events: [created(`r${id}`)] } });
  wire.send(upwards(101, 400).map((id) => ({ id, method: 'mutation', params: publish(id) })));
  await wire.until(() => wire.messages.length === 44);
  other.exec('COMMIT');
  await wire.until(() => wire.messages.length === 300);
  const codes = wire.messages.map(({ error }) => error?.data.runwireCode ?? 'ok');
  expect(codes.filter((code) => code === 'ok').length).toBe(256);
  expect(codes.filter((code) => code === 'RATE_LIMITED').length).toBe(44);
  expect((await wire.call('query', 'auth.me')).result).toBeDefined();
});

test('[W22] the answers that a user does not read, on any number of sockets, are at most 16', async () => {
  await using server = await serverWithPages();
  const slow: Wire[] = [];
  for (const _ of upwards(1, 4)) slow.push(await openSlow(server));
  for (const { ws } of slow) for (const id of upwards(101, 150)) ws.send(JSON.stringify(history(id)));
  // 200 answers of a megabyte. The kernel has some megabytes of each socket.
  await expect.poll(() => unsentOf(server)).toBeGreaterThan(MEGABYTE);
  for (const _ of upwards(1, 20)) await (await fetch(`${server.url}/healthz`)).text();
  expect(unsentOf(server)).toBeLessThan(20 * MEGABYTE);
  await using other = await Wire.open(server.url);
  expect((await other.call('query', 'run.history', { runId: 'r1', limit: 500 })).result).toBeDefined();
  for (const wire of slow) wire.ws.terminate();
});

test('[W22] the calls of a socket end with it', async () => {
  await using server = await serverWithPages();
  const slow = await openSlow(server, 'ann');
  for (const id of upwards(1, 256)) slow.send(history(id));
  await expect.poll(() => unsentOf(server)).toBeGreaterThan(MEGABYTE);
  slow.ws.terminate();
  await expect.poll(() => server.getStats().connections).toBe(0);
  await using again = await Wire.open(server.url, { token: await tokenFor({ sub: 'ann' }) });
  again.send(upwards(1, 256).map((id) => query({ path: 'auth.me' }, id)));
  await again.until(() => again.messages.length === 256);
  expect(again.messages.every(({ result }) => result)).toBe(true);
});

test('[W22] a call that outlives its socket ends', async () => {
  using folder = temporaryFolder();
  const path = `${folder.path}/runwire.db`;
  await using server = await startServer({ databaseUrl: `file:${path}` });
  const token = await tokenFor({ sub: 'ann' });
  const wire = await Wire.open(server.url, { token });
  await wire.call('query', 'auth.me');
  using other = new DatabaseSync(path);
  other.exec('BEGIN IMMEDIATE'); // Publishing waits.
  for (const id of upwards(101, 116)) {
    wire.send({ id, method: 'mutation', params: { path: 'event.publish', input: { events: [created(`r${id}`)] } } });
  }
  wire.send('PING');
  await wire.until(() => wire.texts.includes('PONG')); // The calls before it have begun.
  wire.ws.terminate();
  await expect.poll(() => server.getStats().connections).toBe(0);
  other.exec('COMMIT');
  await using again = await Wire.open(server.url, { token });
  expect((await again.call('query', 'auth.me')).result).toBeDefined();
});

/** Returns the turn of the event loop of each call of a method, which uses up the time of a turn. */
function turnsOf<T, K extends 'since' | 'arrayBuffer'>(
  prototype: T & { [key in K]: (...values: never[]) => unknown },
  method: K,
) {
  const original = prototype[method];
  const turns: number[] = [];
  let turn = 0;
  const count = () => {
    turn++;
    immediate = setImmediate(count);
  };
  let immediate = setImmediate(count);
  const spy = vi.spyOn(prototype as { [key: string]: () => unknown }, method).mockImplementation(function (
    this: T,
    ...values
  ) {
    turns.push(turn);
    const until = performance.now() + 2 * SLICE_MS;
    while (performance.now() < until);
    return original.apply(this, values as never[]);
  });
  onTestFinished(() => {
    clearImmediate(immediate);
    spy.mockRestore();
  });
  return turns;
}

test('[W22] calls of a message or an HTTP batch that are answered at once are answered in several turns of the event loop', async () => {
  await using server = await startServer();
  await using wire = await Wire.open(server.url);
  const made = turnsOf(StatsHistory.prototype, 'since');
  wire.send(upwards(101, 110).map((id) => query({ path: 'server.history' }, id)));
  await wire.until(() => wire.messages.length === 10);
  expect(new Set(made).size).toBe(10);
  const encoded = turnsOf(Response.prototype, 'arrayBuffer');
  const paths = upwards(1, 10).map(() => 'server.history');
  const answer = await fetch(`${server.url}/trpc/${paths.join(',')}?batch=1`, {
    headers: { authorization: `Bearer ${await tokenFor()}` },
  });
  expect(await answer.json()).toHaveLength(10);
  expect(new Set(made).size).toBe(20);
  expect(new Set(encoded).size).toBe(10);
});

test('[W11] an answer larger than the limit of unsent bytes does not close its socket, and neither do the messages after it', async () => {
  await using server = await serverWithPages({ limits: { unsentBytes: 200_000 } });
  await using slow = await openSlow(server);
  const produced = () =>
    server.getStats().clients.reduce((sum, { sentBytes, unsentBytes }) => sum + sentBytes + unsentBytes, 0);
  let calls = 0;
  // One after another, until the buffers of the kernel are full.
  while (unsentOf(server) < 200_000) {
    const before = produced();
    slow.send(history(++calls + 100));
    await expect.poll(produced).toBeGreaterThan(before + MEGABYTE / 2);
  }
  for (const _ of upwards(1, 50)) slow.send('PING');
  slow.send(history(++calls + 100)); // Waits until the socket has drained.
  for (const _ of upwards(1, 20)) await (await fetch(`${server.url}/healthz`)).text();
  slow.ws.resume();
  await slow.until(() => slow.messages.filter(({ result }) => result).length === calls + 1);
  expect(slow.ws.readyState).toBe(WebSocket.OPEN);
});

test('[W23] sockets of a user with too many unsent bytes together close with 4408, the fullest first', async () => {
  // Subscriptions keep up to 128 KiB and a piece unsent on each socket. The limit of the user is 400,000 bytes.
  await using server = await startServer({ limits: { unsentBytes: 100_000 } });
  const slow = await Promise.all(upwards(1, 8).map(() => Wire.open(server.url)));
  const streams = slow.map((wire) => wire.subscribe('onEvent', {}));
  for (const stream of streams) await stream.until(isLive);
  await using other = await Wire.open(server.url, { token: await tokenFor({ sub: 'bob' }) });
  const stream = other.subscribe('onEvent', { types: ['run.created'] });
  await stream.until(isLive);
  for (const wire of slow) wire.ws.pause();
  const message = 'x y '.repeat(490);
  const closes = async () => (await (await fetch(`${server.url}/metrics`)).text()).includes('code="4408"');
  await expect
    .poll(async () => {
      await server.bus.publish(
        upwards(1, 500).map((i) => progress('r1', i % 100, { message })),
        publisher,
      );
      return closes();
    })
    .toBe(true);
  await expect.poll(() => unsentOf(server)).toBeLessThanOrEqual(400_000);
  expect(other.ws.readyState).toBe(WebSocket.OPEN);
  for (const wire of slow) wire.ws.terminate();
});
