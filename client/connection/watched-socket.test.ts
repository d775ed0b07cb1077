import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { startCuttableServer } from '../../tests/browser/server.ts';
import { follow, open } from '../../tests/support/client.ts';
import { created, progress, startServer, tokenFor } from '../../tests/support/harness.ts';
import { createRunwireClient, type WebSocketClass } from '../index.ts';

/** What the connection does on platforms and networks that refuse sockets, or leave them without an answer. */

async function listen(http: Server): Promise<string> {
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  onTestFinished(() => {
    http.closeAllConnections();
    http.close();
  });
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
}

/** A class of sockets that a platform refuses. `count` is the number of tries. */
function refusing(refuse: (socket: EventTarget & { readyState: number }) => void) {
  const tries = { count: 0 };
  class Refused extends EventTarget {
    readyState = 0;
    constructor() {
      super();
      tries.count++;
      refuse(this);
    }
    close() {}
  }
  return { Refused: Refused as unknown as WebSocketClass, tries };
}

test('[C12] a socket that the platform refuses to create is a failed attempt with its cause', async () => {
  const { Refused, tries } = refusing(() => {
    throw new DOMException('an insecure socket on a secure page', 'SecurityError');
  });
  const { client, reaches, statuses } = open({ url: 'http://127.0.0.1:1', token: 'any', WebSocket: Refused });
  const run = follow(client, 'r1');
  const { error } = await reaches('failed');
  expect(error).toMatchObject({ code: 'UNAVAILABLE', message: expect.stringContaining('an insecure socket') });
  expect(error?.cause).toMatchObject({ name: 'SecurityError' });
  expect(tries.count).toBe(6);
  expect([...new Set(statuses.map(({ attempts }) => attempts))]).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(run.onError).not.toHaveBeenCalled();
});

test('[C12] a socket that ends with an error and no close is a failed attempt', async () => {
  const { Refused, tries } = refusing((socket) => {
    setTimeout(() => {
      socket.readyState = 3;
      socket.dispatchEvent(new Event('error'));
    });
  });
  const { client, connection, reaches } = open({ url: 'http://127.0.0.1:1', token: 'any', WebSocket: Refused });
  follow(client, 'r1');
  const { error } = await reaches('failed');
  expect(error).toMatchObject({ code: 'UNAVAILABLE', message: expect.stringContaining('refused') });
  expect(tries.count).toBe(6);
  connection.reconnect();
  await reaches('failed');
  expect(tries.count).toBe(12);
});

test('[C12] an upgrade without an answer, and a socket without a message, are failed attempts', async () => {
  const stuck = createServer();
  stuck.on('upgrade', (_request, socket) => void socket.on('error', () => undefined));
  const silent = new WebSocketServer({ server: createServer() });
  for (const http of [stuck, silent.options.server as Server]) {
    const { client, reaches } = open({
      url: await listen(http),
      token: 'any',
      heartbeatMs: 30,
      maxReconnectAttempts: 2,
    });
    follow(client, 'r1');
    const { error, attempts } = await reaches('failed');
    expect(attempts).toBe(3);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', message: 'the server did not answer' });
  }
});

test('[C12] a connection that stops responding is lost: the client states it, and resumes on another socket', async () => {
  await using server = await startCuttableServer();
  const { client, reaches, statuses } = open({ url: server.url, token: await tokenFor(), heartbeatMs: 100 });
  const run = follow(client, 'r1');
  await reaches('connected');
  await server.bus.publish([created('r1')], { actor: 'ada' });
  await run.until(() => run.seqs().length === 1);
  server.freeze();
  await server.bus.publish([progress('r1', 1)], { actor: 'ada' });
  const { error, attempts } = await reaches('reconnecting');
  expect(error).toMatchObject({ code: 'UNAVAILABLE', message: 'the connection stopped responding' });
  expect(attempts).toBe(1);
  await run.until(() => run.seqs().length === 2);
  expect(statuses.map(({ state }) => state)).not.toContain('idle');
});

test('[C12] close() waits neither for an answer of the network nor for a token', async () => {
  const stuck = createServer();
  stuck.on('upgrade', (_request, socket) => void socket.on('error', () => undefined));
  const upgraded = once(stuck, 'upgrade');
  const connecting = open({ url: await listen(stuck), token: 'any' });
  follow(connecting.client, 'r1');
  await upgraded;
  await connecting.connection.close();

  const asked = vi.fn(() => new Promise<string>(() => undefined));
  const waiting = open({ url: 'http://127.0.0.1:1', token: asked });
  follow(waiting.client, 'r1');
  await expect.poll(() => asked.mock.calls.length).toBe(1);
  await waiting.connection.close();
  expect(waiting.connection.getStatus().state).toBe('disconnected');
});

test('[C12] all subscriptions get their data after sockets that closed before their requests were sent', async () => {
  await using server = await startServer();
  // Each socket closes as soon as it is open, and the next one is of the real server.
  const closing = new WebSocketServer({ server: createServer() });
  closing.on('connection', (socket) => socket.terminate());
  const targets = [await listen(closing.options.server as Server)];
  class Redirected extends WebSocket {
    constructor(url: string | URL) {
      const target = new URL(url);
      target.host = new URL(targets.shift() ?? server.url).host;
      super(target);
    }
  }
  const { client, reaches } = open({ url: server.url, token: await tokenFor(), WebSocket: Redirected, idleMs: 0 });
  await server.bus.publish([created('r1')], { actor: 'ada' });
  for (let round = 0; round < 10; round++) {
    const runs = Array.from({ length: 4 }, () => follow(client, 'r1'));
    await Promise.all(runs.map((run) => run.until(() => run.seqs().length === 1)));
    for (const run of runs) run.unsubscribe();
    await reaches('idle');
    targets.push(
      new URL(`http://${(closing.address() as AddressInfo).address}:${(closing.address() as AddressInfo).port}`).href,
    );
  }
});

test('[C11] without subscriptions nothing is tried, and a later subscription gets its data', async () => {
  await using server = await startCuttableServer();
  const tries = { count: 0 };
  class Counted extends WebSocket {
    constructor(url: string | URL) {
      super(url);
      tries.count++;
    }
  }
  const options = { url: server.url, token: await tokenFor(), WebSocket: Counted, maxReconnectDelayMs: 5 };
  const { client, reaches, until } = open(options);
  const run = follow(client, 'r1');
  await reaches('connected');
  await server.away();
  await until(({ attempts }) => attempts > 1);
  run.unsubscribe();
  expect(await reaches('idle')).toMatchObject({ state: 'idle', error: null, attempts: 0, retryAtMs: null });
  const triesBefore = tries.count;
  await server.back();
  await server.bus.publish([created('r1')], { actor: 'ada' });
  await expect(fetch(server.url).then(({ status }) => status)).resolves.toBe(404); // A round trip, longer than a delay.
  expect(tries.count).toBe(triesBefore);

  const later = follow(client, 'r1');
  await later.until(() => later.seqs().length === 1);
  expect(tries.count).toBe(triesBefore + 1);
});

test('[C2] a failed connection comes back by itself, unless afterFailed is stop', async () => {
  await using server = await startCuttableServer();
  const options = { url: server.url, token: await tokenFor(), maxReconnectAttempts: 1, maxReconnectDelayMs: 10 };
  const retrying = open(options);
  const stopped = open({ ...options, afterFailed: 'stop' });
  const runs = [retrying, stopped].map(({ client }) => follow(client, 'r1'));
  await Promise.all([retrying.reaches('connected'), stopped.reaches('connected')]);
  await server.away();
  await Promise.all([retrying.until(({ attempts }) => attempts > 3), stopped.reaches('failed')]);
  expect(retrying.connection.getStatus()).toMatchObject({ state: 'failed', error: { code: 'UNAVAILABLE' } });
  await server.back();
  await server.bus.publish([created('r1')], { actor: 'ada' });
  await runs[0]?.until(() => runs[0]?.seqs().length === 1);
  expect(retrying.connection.getStatus()).toMatchObject({ state: 'connected', attempts: 0, error: null });
  expect(stopped.connection.getStatus()).toMatchObject({ state: 'failed', retryAtMs: null, attempts: 2 });
  stopped.connection.reconnect();
  await runs[1]?.until(() => runs[1]?.seqs().length === 1);
});

test('[C13] an error that a callback throws is reported, and all subscriptions of the socket go on', async () => {
  await using server = await startServer();
  for (const hasReportError of [true, false]) {
    const reported: unknown[] = [];
    const keep = (error: unknown) => void reported.push(error);
    vi.stubGlobal('navigator', { userAgent: 'Mozilla/5.0' });
    vi.stubGlobal('reportError', hasReportError ? keep : undefined);
    const logged = vi.spyOn(console, 'error').mockImplementation(keep);
    onTestFinished(() => {
      vi.unstubAllGlobals();
      logged.mockRestore();
    });
    const runId = `r-${hasReportError}`;
    const { client, connection, reaches } = open({ url: server.url, token: await tokenFor(), idleMs: 0 });
    const removeListener = connection.subscribe(() => {
      throw new Error('of a listener');
    });
    const throwing: string[] = [];
    const subscription = client.onRunEvent.subscribe(
      { runId, from: 'start' },
      {
        onStarted: () => {
          throw new Error('of onStarted');
        },
        onData: ({ data }) => {
          throwing.push(data.type);
          throw new Error('of onData');
        },
      },
    );
    const failing = vi.fn(() => {
      throw new Error('of onError');
    });
    client.onRunEvent.subscribe({ runId, lastEventId: 'no cursor' }, { onError: failing });
    const run = follow(client, runId);
    await reaches('connected');
    await expect.poll(() => failing.mock.calls.length).toBe(1);
    for (let index = 0; index < 3; index++) await server.bus.publish([progress(runId, index)], { actor: 'ada' });
    await run.until(() => run.seqs().length === 3);
    await expect.poll(() => throwing.filter((type) => type === 'stage.progress').length).toBe(3);
    expect(connection.getStatus().state).toBe('connected');
    removeListener();
    const messages = new Set(reported.map((error) => (error as Error).message));
    expect(messages).toEqual(new Set(['of a listener', 'of onStarted', 'of onData', 'of onError']));
    // The subscription that failed has ended, so the socket closes after the other two.
    subscription.unsubscribe();
    run.unsubscribe();
    await reaches('idle');
  }
});

test('[C14] Infinity means never for each time, and a negative time is refused', async () => {
  await using server = await startServer();
  const sent: unknown[] = [];
  const closed = vi.fn();
  class Recorded extends WebSocket {
    override send(data: string) {
      sent.push(data);
      super.send(data);
    }
    override close(code?: number) {
      closed();
      super.close(code);
    }
  }
  const never = Number.POSITIVE_INFINITY;
  const times = { heartbeatMs: never, idleMs: never, probeMs: never, stableMs: never, maxReconnectDelayMs: never };
  const { client, connection } = open({ url: server.url, token: await tokenFor(), WebSocket: Recorded, ...times });
  const run = follow(client, 'r1');
  for (let index = 0; index < 20; index++) {
    await server.bus.publish([progress('r1', index)], { actor: 'ada' });
    await run.until(() => run.seqs().length === index + 1);
  }
  run.unsubscribe();
  await client.auth.me.query();
  expect(connection.getStatus().state).toBe('connected');
  expect(sent).not.toContain('PING');
  expect(closed).not.toHaveBeenCalled();
  for (const heartbeatMs of [-1, Number.NaN]) {
    const refused = expect.objectContaining({ code: 'INVALID_INPUT', path: 'heartbeatMs' });
    expect(() => createRunwireClient({ url: server.url, heartbeatMs })).toThrow(refused);
  }
});

test('[C14] a platform without WebSocket fails at the first subscription, by the name of the class to pass; queries work', async () => {
  vi.stubGlobal('WebSocket', undefined);
  onTestFinished(() => void vi.unstubAllGlobals());
  await using server = await startServer();
  const { client, reaches } = open({ url: server.url, token: await tokenFor(), WebSocket: undefined });
  expect(await client.auth.me.query()).toMatchObject({ sub: 'ada' });
  follow(client, 'r1');
  const { error, retryAtMs } = await reaches('failed');
  expect(error).toMatchObject({
    code: 'INVALID_INPUT',
    path: 'WebSocket',
    message: /pass the class of the package ws/,
  });
  expect(retryAtMs).toBeNull();
});
