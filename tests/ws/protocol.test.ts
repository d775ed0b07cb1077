import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createTRPCClient, createWSClient, wsLink } from '@trpc/client';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import type { AppRouter } from '../../server/api/router.ts';
import { isSignal } from '../../shared/protocol.ts';
import {
  created,
  everyone,
  isLive,
  keptLog,
  openServer,
  progress,
  startProxy,
  startServer,
  temporaryFolder,
  tokenFor,
  Wire,
} from '../support/harness.ts';

const publisher = { actor: 'ada' };
const canary = 'CANARY-51b2';
const upwards = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const subscription = (params: unknown, id: unknown = 1) => ({ id, method: 'subscription', params });
const query = (params: unknown, id: unknown = 1) => ({ id, method: 'query', params });

/** A server with a bystander: a client with an open subscription. */
async function withBystander(options: Parameters<typeof startServer>[0] = {}) {
  const { logger, lines } = keptLog();
  const server = await startServer({ logger, ...options });
  const bystander = await Wire.open(server.url, { token: await tokenFor({ sub: 'bystander' }) });
  const stream = bystander.subscribe('onEvent', {});
  await stream.until(isLive);
  let count = 0;
  return {
    ...server,
    lines,
    /** Checks that the server runs, and that the bystander receives the next event. */
    check: async () => {
      expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
      await server.bus.publish([progress('bystander', ++count % 100)], publisher);
      await stream.until((item) => !isSignal(item) && item.seq === server.log.head);
      expect(stream.messages.every(({ error }) => !error)).toBe(true);
      expect(bystander.ws.readyState).toBe(WebSocket.OPEN);
    },
    [Symbol.asyncDispose]: async () => {
      await bystander[Symbol.asyncDispose]();
      await server.close();
    },
  };
}

describe('malformed messages', () => {
  const messages: [string, unknown][] = [
    ['text that is not JSON', canary],
    ['truncated JSON', `{"id":1,"method":"query","params":{"path":"${canary}`],
    ['an empty message', ''],
    ['blanks', ' \n\t '],
    ['a NUL', `\0${canary}`],
    ['100,000 brackets that never close', '['.repeat(100_000)],
    ['100,000 brackets that do', '['.repeat(100_000) + ']'.repeat(100_000)],
    ['100,000 nested objects', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`],
    [
      'nesting inside an input',
      `{"id":1,"method":"query","params":{"path":"run.get","input":${'['.repeat(50_000)}${']'.repeat(50_000)}}}`,
    ],
    ['binary that is not JSON', Buffer.from([0, 1, 2, 255, 254])],
    ['binary that is JSON', Buffer.from(JSON.stringify(query({ path: 'auth.me' })))],
    ['an empty binary message', Buffer.alloc(0)],
    ['a number', '42'],
    ['a string', `"${canary}"`],
    ['null', 'null'],
    ['true', 'true'],
    ['an empty array', '[]'],
    ['an array of junk', JSON.stringify([1, null, canary, [], {}, { id: 1 }])],
    ['an array of 100,000 numbers', JSON.stringify(upwards(1, 100_000))],
    ['an array of 5,000 queries', JSON.stringify(upwards(1, 5_000).map((id) => query({ path: 'auth.me' }, id)))],
    ['an empty object', '{}'],
    ['no id', { method: 'query', params: { path: 'auth.me' } }],
    ['a null id', query({ path: 'auth.me' }, null)],
    ['an object for an id', query({ path: 'auth.me' }, { [canary]: canary })],
    ['a list for an id', query({ path: 'auth.me' }, [canary])],
    ['a boolean id', query({ path: 'auth.me' }, true)],
    ['a negative id', query({ path: 'auth.me' }, -1)],
    ['a huge id', '{"id":1e400,"method":"query","params":{"path":"auth.me"}}'],
    ['a fractional id', query({ path: 'auth.me' }, 0.1)],
    ['__proto__ as an id', subscription({ path: 'onEvent', input: {} }, '__proto__')],
    ['constructor as an id', subscription({ path: 'onEvent', input: {} }, 'constructor')],
    [
      'a __proto__ key',
      '{"__proto__":{"id":1},"id":2,"method":"query","params":{"path":"auth.me","__proto__":{"path":"x"}}}',
    ],
    ['an unknown method', { id: 1, method: canary, params: { path: 'auth.me' } }],
    ['a method that is not text', { id: 1, method: { [canary]: 1 }, params: { path: 'auth.me' } }],
    ['__proto__ as a method', { id: 1, method: '__proto__', params: { path: 'auth.me' } }],
    ['no params', { id: 1, method: 'query' }],
    ['params that are text', query(canary)],
    ['params that are null', query(null)],
    ['params that are a list', query([canary])],
    ['no path', query({ input: canary })],
    ['a path that is not text', query({ path: { toString: canary } })],
    ['an empty path', query({ path: '' })],
    ['an unknown path', query({ path: canary })],
    ['a path beyond a procedure', query({ path: `run.get.${canary}` })],
    ['a path of a router', query({ path: 'run' })],
    ['__proto__ as a path', query({ path: '__proto__' })],
    ['constructor as a path', query({ path: 'constructor' })],
    ['toString as a path', subscription({ path: 'toString' })],
    ['a path into the prototype', query({ path: 'run.__proto__.constructor' })],
    ['_def as a path', query({ path: '_def' })],
    ['a query as a subscription', subscription({ path: 'run.get', input: { runId: canary } })],
    ['a subscription as a query', query({ path: 'onRunEvent', input: { runId: canary } })],
    ['a mutation as a query', query({ path: 'event.publish', input: { events: [created(canary)] } })],
    ['a wrong jsonrpc version', { ...query({ path: 'auth.me' }), jsonrpc: canary }],
    ...[
      null,
      1,
      true,
      canary,
      [],
      [canary],
      [[[]]],
      { [canary]: 1 },
      { runId: { [canary]: 1 } },
      { runId: `${canary} `.repeat(50) },
    ].flatMap((input): [string, unknown][] => [
      [
        `the input ${JSON.stringify(input).slice(0, 40)} of a subscription`,
        subscription({ path: 'onRunEvent', input }),
      ],
      [`the input ${JSON.stringify(input).slice(0, 40)} of a query`, query({ path: 'run.get', input })],
      [
        `the input ${JSON.stringify(input).slice(0, 40)} of a mutation`,
        { id: 1, method: 'mutation', params: { path: 'event.publish', input } },
      ],
    ]),
    ...[null, 1, true, [], {}, canary, '', `${canary}.1`, 'x'.repeat(10_000)].map((lastEventId): [string, unknown] => [
      `lastEventId ${JSON.stringify(lastEventId).slice(0, 40)}`,
      subscription({ path: 'onEvent', input: {}, lastEventId }),
    ]),
    ...[null, 1, {}, [canary], 'x'.repeat(10_000)].map((lastEventId): [string, unknown] => [
      `lastEventId ${JSON.stringify(lastEventId).slice(0, 40)} in the input`,
      subscription({ path: 'onEvent', input: { lastEventId } }),
    ]),
    ['a stop of an unknown id', { id: 99, method: 'subscription.stop' }],
    ['a stop of __proto__', { id: '__proto__', method: 'subscription.stop' }],
    ['a stop without an id', { method: 'subscription.stop' }],
    ['connection params a second time', { method: 'connectionParams', data: { token: canary } }],
    ['a message of the server', { id: 1, result: { type: 'data', data: canary } }],
    ['PING', 'PING'],
    ['PONG', 'PONG'],
    ['a lone surrogate', '{"id":1,"method":"query","params":{"path":"run.get","input":{"runId":"\\ud800"}}}'],
    [
      'a draft full of junk',
      {
        id: 1,
        method: 'mutation',
        params: { path: 'event.publish', input: { events: [canary, 1, null, [canary], { type: canary }] } },
      },
    ],
  ];

  test('[W1] malformed messages of every kind leave the server and other clients undisturbed, and nothing is echoed', async () => {
    await using server = await withBystander();
    const head = server.log.head;
    for (const [name, message] of messages) {
      await using wire = await Wire.open(server.url);
      wire.send(message);
      // The socket answers a query, or has been closed.
      wire.send({ id: 4_711, method: 'query', params: { path: 'auth.me' } });
      await Promise.race([wire.until(() => wire.messages.some(({ id }) => id === 4_711)), wire.closed]).catch(
        () => undefined,
      );
      expect(wire.ws.readyState, name).toBe(WebSocket.OPEN);
      expect(wire.texts.join(), name).not.toContain(canary);
      for (const { error } of wire.messages) {
        if (!error) continue;
        expect(error.data.runwireCode, name).toMatch(/^[A-Z_]+$/);
        expect(error.data.runwireCode, name).not.toBe('INTERNAL');
        expect(JSON.stringify(error), name).not.toMatch(/stack|node_modules|\\n/);
      }
      await server.check();
    }
    expect(server.log.head - head).toBe(messages.length);
    expect(server.lines.join()).not.toContain(canary);
  });

  test('[W1] connection params of every shape close their socket at most', async () => {
    await using server = await withBystander();
    const shapes: unknown[] = [
      canary,
      '',
      '[]',
      'null',
      '{',
      '['.repeat(100_000),
      Buffer.from([255, 0]),
      {},
      { method: 'connectionParams' },
      { method: 'connectionParams', data: null },
      { method: 'connectionParams', data: canary },
      { method: 'connectionParams', data: [] },
      { method: 'connectionParams', data: {} },
      { method: 'connectionParams', data: { token: null } },
      { method: 'connectionParams', data: { token: 1 } },
      { method: 'connectionParams', data: { token: { [canary]: 1 } } },
      { method: 'connectionParams', data: { token: '' } },
      { method: 'connectionParams', data: { token: canary } },
      { method: 'connectionParams', data: { token: 'x'.repeat(100_000) } },
      { method: 'connectionParams', data: { [canary]: canary } },
      '{"method":"connectionParams","data":{"__proto__":{"token":"x"}}}',
      query({ path: 'auth.me', input: canary }),
    ];
    for (const shape of shapes) {
      await using wire = await Wire.open(server.url, { isSilent: true });
      wire.send(shape);
      wire.send(query({ path: 'auth.me' }, 1));
      const { code, reason } = await wire.closed;
      expect(code, JSON.stringify(shape).slice(0, 80)).toBe(4401);
      expect(reason + wire.texts.join()).not.toContain(canary);
      expect(wire.messages.some(({ result }) => result)).toBe(false);
      await server.check();
    }
    expect(server.lines.join()).not.toContain(canary);
  });

  test('[W1] messages sent during the check of the token are answered after it', async () => {
    await using server = await withBystander();
    await using wire = await Wire.open(server.url, { isSilent: true });
    wire.send({ method: 'connectionParams', data: { token: await tokenFor() } });
    for (const id of upwards(1, 200)) wire.send(query({ path: 'auth.me' }, id));
    await wire.until(() => wire.messages.length === 200);
    expect(wire.messages.every(({ result }) => result)).toBe(true);
    await server.check();
  });

  test('[W1] thousands of subscriptions may start and stop at once', async () => {
    await using server = await withBystander({ limits: { messagesPerSecond: 5_000 } });
    await using wire = await Wire.open(server.url);
    const ids = upwards(1, 1_900);
    for (const id of ids) {
      wire.send(subscription({ path: 'onEvent', input: {} }, id));
      if (id % 2) wire.send({ id, method: 'subscription.stop' });
    }
    for (const id of ids) wire.send({ id, method: 'subscription.stop' });
    wire.send(query({ path: 'auth.me' }, 9_999));
    await wire.until(() => wire.messages.some(({ id }) => id === 9_999));
    await server.check();
    await expect.poll(() => server.getStats().subscriptions, { timeout: 10_000 }).toBe(1);
  });

  test('[D13] a stop right after its start, or during the check of the token, is never lost', async () => {
    const checks: (() => void)[] = [];
    await using server = await startServer({
      authSecret: undefined,
      authenticate: () => new Promise((resolve) => checks.push(() => resolve(everyone))),
    });
    await using wire = await Wire.open(server.url);
    wire.subscribe('onEvent', {}).stop();
    await expect.poll(() => checks.length).toBe(1);
    wire.subscribe('onEvent', {}).stop();
    for (const check of checks) check();
    wire.subscribe('onEvent', {}).stop();
    const kept = wire.subscribe('onEvent', {});
    await kept.until(isLive);
    wire.subscribe('onEvent', {}).stop();
    await wire.until(() => wire.messages.filter(({ result }) => result?.type === 'stopped').length === 4);
    expect(server.getStats().subscriptions).toBe(1);
  });

  test('[W1] a request id over the length limit is refused: every frame of the subscription would repeat it', async () => {
    await using server = await withBystander();
    await using wire = await Wire.open(server.url);
    const ids = ['x'.repeat(200), 'x'.repeat(201)];
    wire.send(ids.map((id) => subscription({ path: 'onEvent', input: {} }, id)));
    wire.send(subscription({ path: 'onEvent', input: {} }, ids[1]));
    wire.send(subscription({ path: 'onEvent', input: {} }, ids[0]));
    await wire.until(() => wire.messages.length === 4);
    expect(wire.messages.map(({ id, error }) => [id, error?.data.code])).toEqual([
      [null, 'PARSE_ERROR'],
      [null, 'PARSE_ERROR'],
      [ids[0], undefined],
      [ids[0], undefined],
    ]);
    await server.check();
  });

  test('[W1] a client that disconnects during the check of its token logs nothing', async () => {
    const checks: (() => void)[] = [];
    const { logger, lines } = keptLog();
    await using server = await startServer({
      logger,
      authSecret: undefined,
      authenticate: () => new Promise((resolve) => checks.push(() => resolve(everyone))),
    });
    const wire = await Wire.open(server.url);
    wire.subscribe('onEvent', {});
    await expect.poll(() => checks.length).toBe(1);
    wire.ws.terminate();
    await wire.closed;
    await expect.poll(() => server.getStats().connections).toBe(0);
    for (const check of checks) check();
    await new Promise(setImmediate);
    expect(lines.filter((line) => /"level":(40|50)/.test(line))).toEqual([]);
    expect(server.getStats()).toMatchObject({ connections: 0, subscriptions: 0 });
  });

  test('[W7] more than 2,000 subscriptions close their socket with 4429, and no other', async () => {
    await using server = await withBystander();
    await using wire = await Wire.open(server.url);
    for (const id of upwards(1, 2_001)) wire.send(subscription({ path: 'onEvent', input: {} }, id));
    expect((await wire.closed).code).toBe(4429);
    await server.check();
    await expect.poll(() => server.getStats().subscriptions).toBe(1);
  });

  test('[W1] a message over 1 MiB closes only its socket', async () => {
    await using server = await withBystander();
    await using wire = await Wire.open(server.url);
    wire.send(JSON.stringify(query({ path: 'run.get', input: { runId: canary.repeat(150_000) } })));
    expect((await wire.closed).code).toBe(1009);
    await server.check();
    expect(server.lines.join()).not.toContain(canary);
  });
});

describe('refused sockets', () => {
  const upgrade = (path: string, origin = '') =>
    `GET ${path} HTTP/1.1\r\nhost: localhost\r\n${origin}connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
  const refused = Object.entries({
    'a request that is not HTTP': '\u0000\u0001\r\n\r\n',
    'a request that is not HTTP after a valid one': 'GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n\u0000\r\n\r\n',
    'an upgrade of a foreign page': upgrade('/ws', 'origin: https://evil.example\r\n'),
    'an upgrade of an unknown path': upgrade('/nowhere'),
  });

  test.each(refused)('[W18] %s: the server disconnects a client that stays', async (_name, text) => {
    await using server = await startServer();
    const socket = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true }).resume();
    const ended = once(socket, 'end');
    socket.write(text);
    await ended;
    // The kernel answers with a reset once the socket is closed.
    const reset = new Promise((resolve) => socket.once('error', resolve));
    const talking = setInterval(() => socket.write('x'), 20);
    await reset;
    clearInterval(talking);
  });

  test.each(refused)('[W18] %s: a client that disconnects has no effect on others', async (_name, text) => {
    await using server = await startServer();
    for (let round = 0; round < 20; round++) {
      const socket = connect(server.port, '127.0.0.1');
      socket.on('error', () => undefined);
      await once(socket, 'connect');
      await new Promise((resolve) => socket.write(text, resolve));
      socket.resetAndDestroy();
    }
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  });
});

describe('broken frames', () => {
  const handshake = (host: string, path = '/ws?connectionParams=1') =>
    `GET ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;

  async function dial(port: number): Promise<Socket> {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    await new Promise((resolve) => socket.once('connect', resolve));
    return socket;
  }
  const heard = async (socket: Socket): Promise<string> =>
    String(await new Promise((resolve) => socket.once('data', resolve)));
  const gone = (socket: Socket) =>
    socket.destroyed ? Promise.resolve() : new Promise((resolve) => socket.resume().once('close', resolve));

  const frames: [string, number[]][] = [
    ['an RSV1 bit without an extension', [0xc1, 0x80, 0, 0, 0, 0]],
    ['RSV2 and RSV3 bits', [0xb1, 0x80, 0, 0, 0, 0]],
    ['an unknown opcode', [0x83, 0x80, 0, 0, 0, 0]],
    ['an unmasked frame', [0x81, 0x01, 0x41]],
    ['a continuation frame without a start', [0x80, 0x80, 0, 0, 0, 0]],
    ['a fragmented ping', [0x09, 0x80, 0, 0, 0, 0]],
    ['a ping that is too long', [0x89, 0xfe, 0x00, 0x7e, 0, 0, 0, 0]],
    ['a length beyond 2^53', [0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]],
    ['a length beyond the limit', [0x81, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]],
    ['invalid UTF-8', [0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28]],
    ['a close frame of one byte', [0x88, 0x81, 0, 0, 0, 0, 0x03]],
    ['a close code that does not exist', [0x88, 0x82, 0, 0, 0, 0, 0x00, 0x01]],
    ['noise', Array.from({ length: 4_096 }, (_, i) => (i * 167 + 13) % 256)],
  ];

  test('[W1] broken frames close their socket only', async () => {
    await using server = await withBystander();
    for (const [name, bytes] of frames) {
      const socket = await dial(server.port);
      socket.write(handshake(server.host));
      expect(await heard(socket), name).toContain('101 Switching Protocols');
      socket.write(Buffer.from(bytes));
      await gone(socket);
      await server.check();
    }
  });

  test('[W1] truncated handshakes, resets, and requests that are not HTTP have no effect on others', async () => {
    await using server = await withBystander();
    const halfOpen = await dial(server.port);
    halfOpen.write(handshake(server.host).slice(0, 60));
    for (const head of [
      '\0\0\0\0',
      'GET /ws HTTP/9.9\r\n\r\n',
      `${'A'.repeat(100_000)}\r\n\r\n`,
      '\r\n\r\n',
      '\x16\x03\x01\x02\x00',
    ]) {
      const socket = await dial(server.port);
      socket.write(head);
      socket.end();
      await gone(socket);
    }
    for (let i = 0; i < 20; i++) {
      const socket = await dial(server.port);
      socket.write(handshake(server.host));
      if (i % 2) await heard(socket);
      if (i % 3) socket.write(Buffer.from([0x81, 0xfe, 0x10, 0x00]));
      socket.resetAndDestroy();
    }
    await server.check();
    halfOpen.destroy();
    await server.check();
    await expect.poll(() => server.getStats().connections).toBe(1);
  });

  test.each(['[', 'a b', 'a:b:c', '%', 'http://x', '', 'x:99999', '\u00e9'])(
    '[W1] a handshake with the Host header %j is answered, and the server keeps running',
    async (host) => {
      await using server = await withBystander();
      const socket = await dial(server.port);
      socket.write(handshake(host));
      expect(await heard(socket)).toMatch(/^HTTP\/1\.1 (400|101) /);
      await server.check();
      socket.destroy();
    },
  );

  test.each(['/ws/../ws', '//ws', '/WS', '/ws/', '/wsx', '/', '*', 'http://evil.example/ws', '/%77s'])(
    '[W1] an upgrade of %s is refused',
    async (path) => {
      await using server = await withBystander();
      const socket = await dial(server.port);
      socket.write(handshake(server.host, path));
      expect(await heard(socket)).toMatch(/^HTTP\/1\.1 40[04]/);
      await gone(socket);
      await server.check();
    },
  );
});

describe('heartbeat', () => {
  test('[W2] every client is pinged regularly; a client that answers stays, a silent one is closed', async () => {
    await using server = await startServer({ heartbeatMs: 150 });
    await using lively = await Wire.open(server.url);
    await using talking = await Wire.open(server.url, { options: { autoPong: false } });
    await using silent = await Wire.open(server.url, { options: { autoPong: false } });
    const alive = lively.subscribe('onEvent', {});
    await alive.until(isLive);
    let pings = 0;
    const pinged = new Promise<void>((resolve) => {
      lively.ws.on('ping', () => {
        if (++pings === 5) resolve();
      });
    });
    // Any message counts as an answer.
    talking.ws.on('ping', () => talking.send({ id: 99, method: 'subscription.stop' }));
    let silentPings = 0;
    silent.ws.on('ping', () => silentPings++);
    expect((await silent.closed).code).toBe(1006);
    expect(silentPings).toBeGreaterThanOrEqual(1);
    expect(silentPings).toBeLessThanOrEqual(3);
    await pinged;
    expect([lively, talking].map(({ ws }) => ws.readyState)).toEqual([WebSocket.OPEN, WebSocket.OPEN]);
    await expect.poll(() => server.getStats().connections).toBe(2);
    await server.bus.publish([created('r1')], publisher);
    await alive.until((item) => item.type === 'run.created');
  });

  test('[W2] after a pause of its own, the server closes no client that answered', async () => {
    const heartbeatMs = 200;
    await using server = await startServer({ heartbeatMs });
    await using wire = await Wire.open(server.url);
    await wire.call('query', 'auth.me');
    const until = performance.now() + 5 * heartbeatMs;
    while (performance.now() < until); // Blocks the event loop, as a busy or suspended machine does.
    let pings = 0;
    wire.ws.on('ping', () => pings++);
    await expect.poll(() => pings, { timeout: 10_000 }).toBeGreaterThan(2);
    expect(wire.ws.readyState).toBe(WebSocket.OPEN);
  });
});

describe('clients that send no token', () => {
  // Fakes Date only: sockets and timers stay real.
  const later = (ms: number) => {
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    vi.setSystemTime(Date.now() + ms);
  };

  test('[W5] a socket without a token closes after the time limit, and one with a token stays', async () => {
    await using server = await startServer({ limits: { identifyMs: 1_000 } });
    await using named = await Wire.open(server.url);
    const stream = named.subscribe('onEvent', {});
    await stream.until(isLive);
    await using silent = await Wire.open(server.url, { isSilent: true });
    expect(await silent.closed).toEqual({ code: 4401, reason: 'no token' });
    expect(named.ws.readyState).toBe(WebSocket.OPEN);
  });

  test('[W5] a change of the system clock closes no socket', async () => {
    await using server = await startServer({ heartbeatMs: 400 });
    await using named = await Wire.open(server.url, { token: await tokenFor({ ttlSeconds: 86_400 }) });
    await named.subscribe('onEvent', {}).until(isLive);
    await using silent = await Wire.open(server.url, { isSilent: true });
    later(3_600_000);
    // One ping: before the second, a client may be silent for two intervals.
    await new Promise((resolve) => named.ws.once('ping', resolve));
    expect(silent.ws.readyState).toBe(WebSocket.OPEN);
  });

  test('[W5] a socket without connectionParams and without a cookie closes at once', async () => {
    await using server = await startServer();
    await using nobody = await Wire.open(server.url, { token: null });
    nobody.send(query({ path: 'auth.me' }));
    expect(await nobody.closed).toEqual({ code: 4401, reason: 'no token' });
    expect(nobody.messages).toEqual([]);
  });
});

describe('attach to an existing HTTP server', () => {
  type Handler = (request: IncomingMessage, response: ServerResponse) => void;
  async function listening(handler?: Handler): Promise<{ host: Server; url: string } & AsyncDisposable> {
    const host = handler ? createServer(handler) : createServer();
    await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve));
    const { port } = host.address() as AddressInfo;
    return {
      host,
      url: `http://127.0.0.1:${port}`,
      [Symbol.asyncDispose]: async () => {
        host.closeAllConnections();
        await new Promise((resolve) => host.close(resolve));
      },
    };
  }
  /** A small application: one page, its own health check, and 404. */
  const application: Handler = (request, response) => {
    if (request.url === '/' || request.url === '/healthz') {
      response.end(`the application's ${request.url}`);
      return;
    }
    response.writeHead(404);
    response.end("the application's 404");
  };
  const collaboration = (server: Server) => {
    const wss = new WebSocketServer({ server, path: '/collaboration' });
    wss.on('connection', (ws) => ws.send('the collaboration'));
    return wss;
  };
  const said = (url: string) =>
    new Promise<string>((resolve, reject) => {
      const ws = new WebSocket(url.replace('http', 'ws'));
      ws.once('message', (data) => {
        resolve(data.toString());
        ws.terminate();
      });
      ws.once('error', reject);
    });

  const checkApplication = async (url: string) => {
    expect(await (await fetch(url)).text()).toBe("the application's /");
    expect(await (await fetch(`${url}/healthz`)).text()).toBe("the application's /healthz");
    const missing = await fetch(`${url}/nowhere`);
    expect([missing.status, await missing.text()]).toEqual([404, "the application's 404"]);
  };
  const checkRunwire = async (url: string, publish: () => Promise<unknown>) => {
    const token = await tokenFor();
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const posted = await fetch(`${url}/api/v1/events`, {
      method: 'POST',
      headers,
      body: JSON.stringify(created('r9')),
    });
    expect(await posted.json()).toMatchObject({ accepted: 1 });
    expect((await fetch(`${url}/trpc/auth.me`, { headers })).status).toBe(200);
    expect((await fetch(`${url}/api/v1/nowhere`, { headers })).status).toBe(404);
    await using wire = await Wire.open(url);
    const stream = wire.subscribe('onEvent', {});
    await stream.until(isLive);
    await publish();
    await stream.until((item) => item.type === 'run.created');
  };

  test.each(['before', 'after'] as const)(
    '[W3] Runwire handles its own paths and leaves all others, and another WebSocket set up %s it, to the application',
    async (when) => {
      await using place = await listening(application);
      await using server = await openServer();
      const before = when === 'before' ? collaboration(place.host) : undefined;
      server.attach(place.host);
      const wss = before ?? collaboration(place.host);
      await checkApplication(place.url);
      await checkRunwire(place.url, () => server.bus.publish([created('r1')], publisher));
      expect(await said(`${place.url}/collaboration`)).toBe('the collaboration');
      await server.close();
      await checkApplication(place.url);
      expect(await said(`${place.url}/collaboration`)).toBe('the collaboration');
      const left = await fetch(`${place.url}/trpc/auth.me`);
      expect([left.status, await left.text()]).toEqual([404, "the application's 404"]);
      wss.close();
    },
  );

  test('[W3] handlers added after it, as by Express, receive the other paths only', async () => {
    await using place = await listening();
    await using server = await openServer();
    server.attach(place.host);
    const seen: (string | undefined)[] = [];
    place.host.on('request', (request: IncomingMessage, response: ServerResponse) => {
      seen.push(request.url);
      application(request, response);
    });
    await checkApplication(place.url);
    await checkRunwire(place.url, () => server.bus.publish([created('r1')], publisher));
    expect(seen).toEqual(['/', '/healthz', '/nowhere']);
  });

  test('[W3] an upgrade that no handler takes is refused', async () => {
    await using place = await listening(application);
    await using server = await openServer();
    server.attach(place.host);
    await expect(said(`${place.url}/elsewhere`)).rejects.toThrow(/Unexpected server response: 4\d\d/);
  });

  test('[W3] an upgrade that no handler takes is refused with two attached servers, and a close restores the first state', async () => {
    await using place = await listening(application);
    const { emit } = place.host;
    const first = await openServer();
    const second = await openServer();
    first.attach(place.host);
    second.attach(place.host);
    await expect(said(`${place.url}/elsewhere`)).rejects.toThrow(/Unexpected server response: 4\d\d/);
    await second.close();
    await first.close();
    expect(place.host.emit).toBe(emit);
    expect(place.host.listenerCount('upgrade')).toBe(0);
  });

  test('[W3] two servers can attach to one HTTP server, one after the other', async () => {
    await using place = await listening(application);
    const first = await openServer();
    first.attach(place.host);
    await checkRunwire(place.url, () => first.bus.publish([created('r1')], publisher));
    await first.close();
    await using second = await openServer();
    second.attach(place.host);
    await checkRunwire(place.url, () => second.bus.publish([created('r1')], publisher));
    await checkApplication(place.url);
  });

  test('[W3] HTTP streams end when it closes, though the HTTP server keeps running', async () => {
    await using place = await listening(application);
    await using server = await openServer();
    server.attach(place.host);
    const headers = { authorization: `Bearer ${await tokenFor()}`, accept: 'text/event-stream' };
    const response = await fetch(`${place.url}/trpc/onEvent?input=%7B%7D`, { headers });
    let text = '';
    let closing: Promise<void> | undefined;
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk);
      if (text.includes('stream.live')) closing ??= server.close();
    }
    await closing;
    expect(text).toContain('UNAVAILABLE');
    await checkApplication(place.url);
  });
});

describe('shutdown', () => {
  test('[W4] each of 200 clients receives the notice and 1001, no subscription is stopped, and no accepted event is lost', async () => {
    using folder = temporaryFolder();
    const databaseUrl = `file:${folder.path}/runwire.db`;
    const server = await startServer({ databaseUrl, shutdownSpreadMs: 300 });
    const token = await tokenFor();
    const wires = await Promise.all(upwards(1, 200).map(() => Wire.open(server.url, { token })));
    const streams = wires.map((wire) => wire.subscribe('onEvent', {}));
    await Promise.all(streams.map((stream) => stream.until(isLive)));
    const order: number[] = [];
    for (const [i, wire] of wires.entries()) {
      void wire.until(() => wire.messages.some(({ method }) => method === 'reconnect')).then(() => order.push(i));
    }
    // Publishing continues during the shutdown.
    let accepted = 0;
    const publishing = (async () => {
      try {
        for (;;) accepted = (await server.bus.publish([progress('r1', 1)], publisher)).seq;
      } catch (error) {
        return error;
      }
    })();
    await server.close();
    const ends = await Promise.all(wires.map(({ closed }) => closed));
    expect(ends.every(({ code }) => code === 1001)).toBe(true);
    for (const wire of wires) {
      expect(wire.messages.filter(({ method }) => method === 'reconnect')).toEqual([{ id: null, method: 'reconnect' }]);
      expect(wire.messages.at(-1)?.method).toBe('reconnect');
      expect(wire.messages.some(({ result, error }) => error || result?.type === 'stopped')).toBe(false);
    }
    expect(order).toHaveLength(200);
    expect(order).not.toEqual(upwards(0, 199));
    expect(await publishing).toMatchObject({ code: 'UNAVAILABLE' });

    await using again = await openServer({ databaseUrl });
    expect(again.log.head).toBe(accepted);
    expect(accepted).toBeGreaterThan(0);
  });

  test('[W4] clients are closed over the whole shutdown time', async () => {
    const server = await startServer({ shutdownSpreadMs: 10_000 });
    const token = await tokenFor();
    const wires = await Promise.all(upwards(1, 200).map(() => Wire.open(server.url, { token })));
    await Promise.all(wires.map((wire) => wire.call('query', 'auth.me')));
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const noticed = () => wires.filter(({ messages }) => messages.some(({ method }) => method === 'reconnect')).length;
    const closing = server.close();
    for (const share of [0.25, 0.5, 0.75]) {
      vi.advanceTimersByTime(2_500);
      // Six standard deviations below the expected count.
      await expect.poll(noticed, { timeout: 5_000 }).toBeGreaterThan(200 * share - 42);
      expect(noticed()).toBeLessThan(200);
    }
    vi.advanceTimersByTime(2_500);
    await closing;
    expect(noticed()).toBe(200);
  });

  test('[W4] a connection during the shutdown is refused, and the port is free after it', async () => {
    const server = await startServer({ shutdownSpreadMs: 200 });
    await using wire = await Wire.open(server.url);
    const closing = server.close();
    await expect(Wire.open(server.url)).rejects.toThrow();
    await closing;
    expect((await wire.closed).code).toBe(1001);
    await using next = await startServer({ port: server.port });
    expect(next.port).toBe(server.port);
  });

  test('[W4] a client that does not close is disconnected, and a second close does nothing', async () => {
    const server = await startServer();
    const deaf = await Wire.open(server.url);
    await deaf.subscribe('onEvent', {}).until(isLive);
    deaf.ws.pause();
    await Promise.all([server.close(), server.close()]);
    deaf.ws.terminate();
    await expect(fetch(`${server.url}/healthz`)).rejects.toThrow();
  });
});

describe('the stock client', () => {
  test('[W6] the stock client receives every event of the run in order while its socket is cut again and again', async () => {
    await using server = await startServer();
    await using proxy = await startProxy(server.port);
    const token = await tokenFor();
    const wsClient = createWSClient({
      url: `ws://127.0.0.1:${proxy.port}/ws`,
      WebSocket: WebSocket as never,
      connectionParams: () => ({ token }),
      retryDelayMs: () => 5,
    });
    const client = createTRPCClient<AppRouter>({ links: [wsLink({ client: wsClient })] });
    const seen: number[] = [];
    const faults: unknown[] = [];
    await server.bus.publish([created('r1'), created('other')], publisher);
    const subscription = client.onRunEvent.subscribe(
      { runId: 'r1', from: 'start' },
      {
        onData: ({ data }) => {
          if (isSignal(data)) {
            if (data.type === 'stream.gap') faults.push(data);
          } else seen.push(data.runSeq);
        },
        onError: (error) => faults.push(error),
        onStopped: () => faults.push('stopped'),
      },
    );
    await expect.poll(() => seen.length, { timeout: 5_000 }).toBeGreaterThan(0);
    const total = 601;
    for (let i = 0; i < 60; i++) {
      await server.bus.publish(
        upwards(1, 10).map((n) => progress('r1', n)),
        publisher,
      );
      await server.bus.publish([progress('other', 1)], publisher);
      if (i % 4 === 0) proxy.cut();
      // The client reconnects before the next batch in some rounds only.
      if (i % 8 === 0) await expect.poll(() => seen.at(-1), { timeout: 5_000 }).toBe(1 + (i + 1) * 10);
    }
    await expect.poll(() => seen.at(-1), { timeout: 10_000 }).toBe(total);
    expect(proxy.opened).toBeGreaterThan(5);
    expect(faults).toEqual([]);
    // The wire may repeat items that a cut socket had begun to send. Without repetitions, the order is complete.
    expect([...new Set(seen)]).toEqual(upwards(1, total));
    subscription.unsubscribe();
    await wsClient.close();
  });
});
