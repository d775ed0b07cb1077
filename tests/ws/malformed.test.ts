import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { created, everyone, isLive, keptLog, startServer, tokenFor, Wire } from '../support/harness.ts';
import { canary, query, subscription, upwards, withBystander } from './setup.ts';

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
    await expect.poll(() => server.getStats().subscriptions).toBe(1);
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
