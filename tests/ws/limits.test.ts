import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { loadConfig } from '../../server/config.ts';
import { defaultLimits } from '../../server/limits.ts';
import { isSignal } from '../../shared/protocol.ts';
import { startCuttableServer } from '../browser/server.ts';
import { follow, open } from '../support/client.ts';
import {
  created,
  isLive,
  openServer,
  progress,
  startServer,
  temporaryFolder,
  tokenFor,
  Wire,
  type WireMessage,
} from '../support/harness.ts';

const publisher = { actor: 'ada' };
const upwards = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

const closesOf = async (url: string) =>
  (await (await fetch(`${url}/metrics`)).text()).match(/^runwire_closes_total.*$/gm)?.join() ?? '';

describe('limits of one client', () => {
  test('[W25] a message with too many values is answered with TOO_LARGE, and its socket stays open', async () => {
    await using server = await startServer();
    await using wire = await Wire.open(server.url);
    const message = (input: string) => `{"id":9,"method":"query","params":{"path":"auth.me","input":${input}}}`;
    wire.send(message(`[${'[],'.repeat(30_000)}0]`));
    await wire.until(() => wire.messages.some(({ id, error }) => id === 9 && error?.data.runwireCode === 'TOO_LARGE'));
    // A comma in a string is no value.
    wire.send(message(JSON.stringify('\\",['.repeat(60_000))));
    await wire.until(() => wire.messages.some(({ id, result }) => id === 9 && result !== undefined));
  });

  test.each(['"a\n"', '01', '"\\u0061"', '{}'])(
    '[W25] a large message with the id %j, which is not simple JSON, is refused too',
    async (id) => {
      await using server = await startServer();
      await using wire = await Wire.open(server.url);
      wire.send(`{"id":${id},"method":"query","params":{"path":"auth.me","input":[${'[],'.repeat(30_000)}0]}}`);
      const isRefused = ({ error }: WireMessage) => /TOO_LARGE|INVALID_INPUT/.test(error?.data.runwireCode ?? '');
      await wire.until(() => wire.messages.some(isRefused));
      await wire.call('query', 'auth.me');
    },
  );

  test('[W7] a socket with too many subscriptions closes with 4429', async () => {
    await using server = await startServer({ limits: { subscriptionsPerSocket: 20 } });
    await using wire = await Wire.open(server.url);
    for (const _ of upwards(1, 20)) wire.subscribe('onEvent', {});
    await wire.until(() => wire.messages.length >= 40);
    wire.subscribe('onEvent', {});
    expect(await wire.closed).toEqual({ code: 4429, reason: 'too many subscriptions on this socket' });
    await expect.poll(() => server.getStats().subscriptions).toBe(0);
  });

  test('[W7] the sockets of a user with too many subscriptions in total close with 4429, and no others', async () => {
    await using server = await startServer({ limits: { subscriptionsPerUser: 10 } });
    await using other = await Wire.open(server.url, { token: await tokenFor({ sub: 'bob' }) });
    await using first = await Wire.open(server.url);
    await using second = await Wire.open(server.url);
    const stopped = upwards(1, 8).map(() => first.subscribe('onEvent', {}))[0];
    await first.until(() => first.messages.length >= 16);
    stopped?.stop();
    await first.until(() => first.messages.length >= 17);
    for (const _ of upwards(1, 3)) second.subscribe('onEvent', {});
    await second.until(() => second.messages.length >= 6);
    second.subscribe('onEvent', {});
    expect(await second.closed).toEqual({ code: 4429, reason: 'too many subscriptions of this user' });
    // The closed socket no longer counts.
    await using third = await Wire.open(server.url);
    for (const _ of upwards(1, 3)) third.subscribe('onEvent', {});
    await third.until(() => third.messages.length >= 6);
    await other.subscribe('onEvent', {}).until(isLive);
  });

  test('[W8] a connection over the limit of its user or address closes with 4429 and a reason', async () => {
    await using server = await startServer({ limits: { connectionsPerUser: 2, connectionsPerAddress: 4 } });
    const [first] = await Promise.all([Wire.open(server.url), Wire.open(server.url)]);
    await Promise.all(upwards(1, 2).map(() => first?.subscribe('onEvent', {}).until(isLive)));
    await using third = await Wire.open(server.url);
    expect(await third.closed).toEqual({ code: 4429, reason: 'too many connections of this user' });
    const bob = { token: await tokenFor({ sub: 'bob' }) };
    await using fourth = await Wire.open(server.url, bob);
    await fourth.subscribe('onEvent', {}).until(isLive);
    await Wire.open(server.url, bob);
    await using sixth = await Wire.open(server.url, { token: await tokenFor({ sub: 'eve' }) });
    expect(await sixth.closed).toEqual({ code: 4429, reason: 'too many connections from this address' });
    first?.ws.close();
    await first?.closed;
    await using again = await Wire.open(server.url);
    await again.subscribe('onEvent', {}).until(isLive);
  });

  test('[W8] a connection over the limit that sends a broken frame ends nothing but itself', async () => {
    await using server = await startServer({ limits: { connectionsPerAddress: 1 } });
    await using first = await Wire.open(server.url);
    await first.subscribe('onEvent', {}).until(isLive);
    const second = connect(server.port, '127.0.0.1');
    const handshake = `GET /ws HTTP/1.1\r\nhost: ${server.host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
    second.write(Buffer.concat([Buffer.from(handshake), Buffer.from([0xb1, 0x80, 0, 0, 0, 0])])); // RSV2 and RSV3.
    await once(second.resume(), 'close');
    await expect.poll(() => server.getStats().connections).toBe(1);
    await first.call('query', 'auth.me');
  });

  describe('[W9] messages over the rate close the socket with 4429', () => {
    const rate = 10;
    const burst = 10 * rate;
    /** Opens a socket, sends its token (the first message) and then `count` calls or pings, `perMessage` in each. */
    const flood = async (url: string, count: number, message: (ids: number[]) => unknown, perMessage = 1) => {
      const wire = await Wire.open(url);
      for (let id = 1; id <= count; id += perMessage) wire.send(message(upwards(id, id + perMessage - 1)));
      return wire;
    };
    const call = (id: number) => ({ id, method: 'query', params: { path: 'auth.me' } });
    const cases: [string, (ids: number[]) => unknown, number][] = [
      ['pings', () => 'PING', 1],
      ['single calls', ([id]) => call(id as number), 1],
      ['batches of 11 calls', (ids) => ids.map(call), 11],
      ['a batch of 99 calls', (ids) => ids.map(call), 99],
    ];

    test.each(cases)(
      '[W9] %s: ten seconds of the rate at once pass, each message or call counted once',
      async (...of) => {
        const [, message, perMessage] = of;
        await using server = await startServer({ limits: { messagesPerSecond: rate } });
        // 99 after the token are exactly the burst.
        await using within = await flood(server.url, burst - 1, message, perMessage);
        const answers = () => within.texts.filter((text) => text === 'PONG' || text.includes('"data"')).length;
        await within.until(() => answers() >= burst - 1);
        await using beyond = await flood(server.url, 2 * (burst - 1), message, perMessage);
        expect(await beyond.closed).toEqual({ code: 4429, reason: 'too many messages' });
        expect(within.ws.readyState).toBe(WebSocket.OPEN);
      },
    );

    test.each<[string, (id: number) => object]>([
      ['of no procedure', (id) => ({ id, method: 'query', params: { path: 'nowhere' } })],
      ['to stop nothing', (id) => ({ id, method: 'subscription.stop' })],
      ['with an id in use', () => ({ id: 'one', method: 'subscription', params: { path: 'onEvent' } })],
      ['without an id', () => ({ id: null, method: 'query', params: { path: 'auth.me' } })],
    ])('[W9] requests %s count too', async (_name, request) => {
      await using server = await startServer({ limits: { messagesPerSecond: rate } });
      await using beyond = await flood(server.url, 1_000, (ids) => ids.map(request), 1_000);
      expect(await beyond.closed).toEqual({ code: 4429, reason: 'too many messages' });
    });

    test('[W9] a socket over the rate leaves others undisturbed', async () => {
      await using server = await startServer({ limits: { messagesPerSecond: rate } });
      await using steady = await Wire.open(server.url);
      for (const _ of upwards(1, 40)) await steady.call('query', 'auth.me');
      await using beyond = await flood(server.url, 2 * burst, () => 'PING');
      expect((await beyond.closed).code).toBe(4429);
      expect((await steady.call('query', 'auth.me')).result).toBeDefined();
    });
  });

  test('[W9] requests over the rate are not executed', async () => {
    await using server = await startServer({ limits: { messagesPerSecond: 10 } });
    await using wire = await Wire.open(server.url);
    const publish = (id: number) => ({
      id,
      method: 'mutation',
      params: { path: 'event.publish', input: { events: [progress('r1', id % 100)] } },
    });
    const begun = performance.now();
    wire.send(upwards(1, 1_000).map(publish));
    expect((await wire.closed).code).toBe(4429);
    // The burst, the event below, and ten for each second that the machine took.
    const refilled = Math.ceil((performance.now() - begun) / 100);
    await server.bus.publish([progress('r2', 1)], publisher);
    expect(server.log.head).toBeLessThanOrEqual(101 + refilled);
  });

  test('[W10] a message over the size limit closes the socket with 1009', async () => {
    await using server = await startServer({ limits: { messageBytes: 10_000 } });
    await using wire = await Wire.open(server.url);
    wire.send({ id: 1, method: 'query', params: { path: 'auth.me', input: 'x'.repeat(9_000) } });
    await wire.until(() => wire.messages.length === 1);
    wire.send({ id: 1, method: 'query', params: { path: 'auth.me', input: 'x'.repeat(11_000) } });
    expect((await wire.closed).code).toBe(1009);
  });

  test('[W5] a socket that sends no token within the limit closes with 4401', async () => {
    await using server = await startServer({ limits: { identifyMs: 60 } });
    await using wire = await Wire.open(server.url, { isSilent: true });
    expect(await wire.closed).toEqual({ code: 4401, reason: 'no token' });
  });

  test('[Q12] a publisher over the rate receives RATE_LIMITED with 429, and nothing is stored', async () => {
    await using server = await startServer({ limits: { publishedPerSecond: 20 } });
    const token = await tokenFor();
    const post = (events: object[]) =>
      fetch(`${server.url}/api/v1/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify(events),
      });
    // Of 200 at once: a second batch fits after nine seconds.
    const batch = upwards(1, 190).map((value) => progress('r1', value % 100));
    expect((await post(batch)).status).toBe(200);
    const refused = await post(batch);
    expect(refused.status).toBe(429);
    expect(await refused.json()).toMatchObject({ error: { code: 'RATE_LIMITED' } });
    expect(server.log.head).toBe(batch.length);
    await using wire = await Wire.open(server.url);
    const { error } = await wire.call('mutation', 'event.publish', { events: batch });
    expect(error?.data.runwireCode).toBe('RATE_LIMITED');
    // Another user and server code still publish. OpenLineage clients treat 429 as final, hence 503 for them.
    await server.bus.publish(batch, publisher);
    const lineage = await fetch(`${server.url}/api/v1/lineage/batch`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(upwards(1, 200).map(() => ({}))),
    });
    expect(lineage.status).toBe(503);
  });
});

describe('stalled sockets', () => {
  test('[W11] a socket with unsent bytes that takes nothing for the limit closes with 4408', async () => {
    await using server = await startServer({ limits: { stalledMs: 300 } });
    await using slow = await Wire.open(server.url, { token: await tokenFor({ sub: 'slow' }) });
    await using idle = await Wire.open(server.url);
    const stream = slow.subscribe('onEvent', {});
    await stream.until(isLive);
    await idle.subscribe('onEvent', { types: ['run.completed'] }).until(isLive);
    slow.ws.pause();
    const message = 'x'.repeat(2_000);
    while (server.getStats().clients.find(({ sub }) => sub === 'slow')?.unsentBytes === 0) {
      await server.bus.publish(
        upwards(1, 500).map((i) => progress('r1', i % 100, { message })),
        publisher,
      );
    }
    // Unsent messages precede the close frame.
    await expect.poll(() => closesOf(server.url)).toContain('{code="4408"} 1');
    slow.ws.resume();
    expect(await slow.closed).toEqual({ code: 4408, reason: 'too slow' });
    const seen = stream.items.flatMap((item) => (isSignal(item) ? [] : [item.seq]));
    expect(seen).toEqual(upwards(1, seen.length));
    expect(idle.ws.readyState).toBe(WebSocket.OPEN);
    await using again = await Wire.open(server.url);
    const rest = again.subscribe('onEvent', {}, stream.tracked.at(-1)?.id);
    await rest.until(isLive);
    expect(rest.items.flatMap((item) => (isSignal(item) ? [] : [item.seq]))).toEqual(
      upwards(seen.length + 1, server.log.head),
    );
  });

  test('[W11] a socket that sends requests and does not take the responses closes with 4408', async () => {
    // Calls wait while the socket has 128 KiB unsent, so only a low limit is reached by several small answers.
    await using server = await startServer({ limits: { unsentBytes: 50_000 } });
    const stages = upwards(1, 400).map((i) => ({ stageId: `s${i}`, name: 'x'.repeat(100) }));
    await server.bus.publish([created('r1', { stages })], publisher);
    await using slow = await Wire.open(server.url);
    await slow.call('query', 'auth.me');
    slow.ws.pause();
    for (const id of upwards(1, 250)) {
      slow.send({ id: `q${id}`, method: 'query', params: { path: 'run.get', input: { runId: 'r1' } } });
    }
    await expect.poll(() => closesOf(server.url)).toContain('{code="4408"} 1');
    slow.ws.resume();
    expect(await slow.closed).toEqual({ code: 4408, reason: 'too slow' });
  });
});

describe('compression', () => {
  const offer = { options: { perMessageDeflate: true } };

  test('[W12] compression is off by default', async () => {
    await using server = await startServer();
    await using wire = await Wire.open(server.url, offer);
    expect(wire.ws.extensions).toBe('');
  });

  test('[W12] with compression the same items are delivered, and back pressure holds', async () => {
    await using server = await startServer({ compression: true });
    await using plain = await Wire.open(server.url, { options: { perMessageDeflate: false } });
    await using wire = await Wire.open(server.url, { ...offer, token: await tokenFor({ sub: 'slow' }) });
    expect(wire.ws.extensions).toContain('permessage-deflate');
    const streams = [wire.subscribe('onEvent', {}), plain.subscribe('onEvent', {})];
    for (const stream of streams) await stream.until(isLive);
    wire.ws.pause();
    const noise = () =>
      Array.from({ length: 50 }, () => Math.random().toString(36).slice(2))
        .join('')
        .slice(0, 1_900);
    let highest = 0;
    // `started` and `stream.live`, then the events. Parsing all items each time would dominate the test.
    const all = () => server.log.head + 2;
    for (const _ of upwards(1, 20)) {
      await server.bus.publish(
        upwards(1, 500).map((i) => progress('r1', i % 100, { message: noise() })),
        publisher,
      );
      await plain.until(() => plain.messages.length >= all());
      highest = Math.max(highest, server.getStats().clients.find(({ sub }) => sub === 'slow')?.unsentBytes ?? 0);
    }
    expect(highest).toBeGreaterThan(0);
    expect(highest).toBeLessThan(1024 * 1024);
    wire.ws.resume();
    await wire.until(() => wire.messages.length >= all());
    const seen = streams[0]?.items.flatMap((item) => (isSignal(item) ? [] : [item.seq]));
    expect(seen).toEqual(upwards(1, server.log.head));
  });
});

test('[W13] a server that refuses its options releases its database', async () => {
  using folder = temporaryFolder();
  const databaseUrl = `file:${join(folder.path, 'runwire.db')}`;
  const phi = { patterns: [{ kind: 'BED', shape: 'no sign in it' }] };
  await expect(openServer({ databaseUrl, phi })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  await using server = await openServer({ databaseUrl });
  expect(server.log.head).toBe(0);
});

test('[W13] every number among the options is refused outside of its range, which is that of a timer for times', async () => {
  const times = ['heartbeatMs', 'quietMs', 'shutdownSpreadMs', 'retentionDays'];
  for (const path of times) {
    for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY, '5' as never, 2 ** 31]) {
      await expect(openServer({ [path]: value }), `${path} ${value}`).rejects.toMatchObject({ path });
    }
    if (path !== 'shutdownSpreadMs') await expect(openServer({ [path]: 0 })).rejects.toMatchObject({ path });
  }
  for (const port of [-1, 65_536, 80.5, Number.NaN]) {
    await expect(openServer({ port })).rejects.toMatchObject({ code: 'INVALID_INPUT', path: 'port' });
  }
  for (const limits of [{ identifyMs: 2 ** 31 }, { stalledMs: Number.POSITIVE_INFINITY }, { messageBytes: 2 ** 60 }]) {
    await expect(openServer({ limits })).rejects.toMatchObject({ path: `limits.${Object.keys(limits)[0]}` });
  }
});

test('[W13] an unknown limit, and one that is not a positive number, is refused by name, as an option and in the environment', async () => {
  await expect(openServer({ limits: { subscriptionsPerSocket: 0 } })).rejects.toMatchObject({
    code: 'INVALID_INPUT',
    path: 'limits.subscriptionsPerSocket',
  });
  await expect(openServer({ limits: { sockets: 5 } as never })).rejects.toMatchObject({ path: 'limits.sockets' });
  await expect(openServer({ limits: { valueOf: 5 } as never })).rejects.toMatchObject({ path: 'limits.valueOf' });
  for (const days of [0, -1, Number.NaN]) {
    await expect(openServer({ retentionDays: days })).rejects.toMatchObject({ path: 'retentionDays' });
  }
  const AUTH_SECRET = 'a secret of the tests, 32 bytes long or more';
  expect(loadConfig({ AUTH_SECRET, LIMIT_MESSAGE_BYTES: '2000' }).limits).toEqual({ messageBytes: 2_000 });
  for (const [name, value] of [
    ['LIMIT_MESSAGE_BYTES', 'many'],
    ['LIMIT_STALLED_MS', '-1'],
    ['LIMIT_STALLED_MS', '1e12'],
    ['LIMIT_IDENTIFY_MS', ' '],
    ['RETENTION_DAYS', ' '],
    ['RETENTION_DAYS', '1e9'],
    ['RETENTION_RUNS_DAYS', '5'],
    ['PORT', ' '],
    ['LIMIT_SOCKETS', '5'],
  ] as const) {
    expect(() => loadConfig({ AUTH_SECRET, [name]: value })).toThrow(expect.objectContaining({ path: name }));
  }
  expect(Object.keys(defaultLimits).length).toBe(10);
});

test('[W8] clients with a silent network come back by themselves, though their dead sockets fill the limit of the user', async () => {
  // The server's heartbeat would keep the dead sockets for 16 s, and a probe needs 1.3 s: shorter than the silence after
  // which the clients reconnect, as with the default times. The clients have five attempts, the last one at least 7.6 s after the silence began.
  await using server = await startCuttableServer({ heartbeatMs: 8_000, limits: { connectionsPerUser: 2 } });
  const token = await tokenFor();
  const clients = [1, 2].map(() => open({ url: server.url, token, heartbeatMs: 1_500, reconnectDelayMs: 300 }));
  const runs = clients.map(({ client }) => follow(client, 'r1'));
  await Promise.all(clients.map(({ reaches }) => reaches('connected')));
  server.freeze();
  await server.bus.publish([created('r1')], { actor: 'ada' });
  await Promise.all(runs.map((run) => run.until(() => run.seqs().length === 1)));
  const statuses = clients.flatMap((client) => client.statuses);
  expect(statuses.map(({ error }) => error?.code)).toContain('RATE_LIMITED');
  expect(statuses.map(({ state }) => state)).not.toContain('failed');
  expect(server.getStats().connections).toBe(2);
});
