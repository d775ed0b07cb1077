import { EventEmitter, once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { DatabaseSync } from '@photostructure/sqlite';
import { type JWTPayload, SignJWT } from 'jose';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { createRunwireClient } from '../../client/index.ts';
import type { Authenticate, Principal, Role } from '../../server/auth/principal.ts';
import { RunwireError } from '../../shared/errors.ts';
import {
  countedWebSocket,
  created,
  everyone,
  headOf,
  isLive,
  isOnThree,
  keptLog,
  openServer,
  progress,
  secret,
  startServer,
  temporaryFolder,
  tokenFor,
  Wire,
} from '../support/harness.ts';

const publisher = { actor: 'ada' };
type Server = Awaited<ReturnType<typeof startServer>>;

/** Sets Date only: sockets and timers stay real. */
const at = (ms: number) => {
  vi.useFakeTimers({ toFake: ['Date'] });
  onTestFinished(() => void vi.useRealTimers());
  vi.setSystemTime(ms);
};

/** Stops Date until the returned function is called: a token with a short life is valid while a busy machine prepares. */
function stopClock(): () => void {
  vi.useFakeTimers({ toFake: ['Date'] });
  const release = () => void vi.useRealTimers();
  onTestFinished(release);
  return release;
}

/** Returns the time by which a busy machine has held up two timers at most, in ms. */
function watchDelays(): () => number {
  const delays = monitorEventLoopDelay({ resolution: 10 });
  delays.enable();
  onTestFinished(() => void delays.disable());
  return () => (2 * delays.max) / 1e6;
}

const nowSeconds = () => Math.floor(Date.now() / 1000);
/** Signs the given claims with the secret. */
const signed = (claims: JWTPayload) =>
  new SignJWT({ sub: 'ada', projects: ['*'], roles: ['viewer'], exp: nowSeconds() + 3_600, ...claims })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(new TextEncoder().encode(secret));
const idOf = (token: string): string =>
  (JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()) as { jti: string }).jti;

async function trpc(server: Server, path: string, token: string, input?: object) {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const init = input ? { method: 'POST', body: JSON.stringify(input) } : {};
  const response = await fetch(`${server.url}/trpc/${path}`, { headers, ...init });
  const { error } = (await response.json()) as { error?: { message: string; data: { runwireCode: string } } };
  return { status: response.status, code: error?.data.runwireCode ?? 'ok', message: error?.message };
}
const revoke = (server: Server, which: object, token?: string) =>
  tokenFor({ sub: 'root' }).then((admin) => trpc(server, 'auth.revoke', token ?? admin, which));

/** Reads a stream of server-sent events to its end. */
async function readStream(server: Server, token: string, onLive: () => void): Promise<string> {
  const headers = { authorization: `Bearer ${token}`, accept: 'text/event-stream' };
  const response = await fetch(`${server.url}/trpc/onEvent?input=%7B%7D`, { headers });
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body ?? []) {
    const wasLive = text.includes('stream.live');
    text += decoder.decode(chunk);
    if (!wasLive && text.includes('stream.live')) onLive();
  }
  return text;
}

describe.each(['direct', 'iterator'] as const)('a revoked token, with delivery %s', (delivery) => {
  test.each(['jti', 'sub'] as const)(
    '[A11] a revocation by %s closes the sockets of its tokens with 4403, and no others',
    async (kind) => {
      await using server = await startServer({ delivery });
      const token = await tokenFor({ sub: 'eve' });
      const sockets = await Promise.all([1, 2].map(() => Wire.open(server.url, { token })));
      onTestFinished(async () => {
        for (const wire of sockets) await wire[Symbol.asyncDispose]();
      });
      const streams = sockets.map((wire) => wire.subscribe('onEvent', {}));
      for (const stream of streams) await stream.until(isLive);
      await using bystander = await Wire.open(server.url, { token: await tokenFor({ sub: 'bob' }) });
      const seen = bystander.subscribe('onEvent', {});
      await seen.until(isLive);

      const answered = revoke(server, kind === 'jti' ? { jti: idOf(token) } : { sub: 'eve' });
      for (const wire of sockets) {
        expect(await wire.closed).toEqual({ code: 4403, reason: 'the token has been revoked' });
      }
      expect(await answered).toMatchObject({ status: 200 });
      await server.bus.publish([created('r1')], publisher);
      await seen.until((item) => item.type === 'run.created');
      for (const stream of streams) {
        // An error or a stop would make the client drop the subscription.
        expect(stream.messages.some(({ error, result }) => error || result?.type === 'stopped')).toBe(false);
        expect(stream.items.map(({ type }) => type)).toEqual(['stream.live']);
      }
      await using again = await Wire.open(server.url, { token });
      expect((await again.closed).code).toBe(4403);
      expect(bystander.ws.readyState).toBe(WebSocket.OPEN);
    },
  );

  // On three servers within a second (M42), and not with the answer.
  test.skipIf(isOnThree)(
    '[A11] a socket of a revoked token receives no further event, and its messages are ignored',
    async () => {
      await using server = await startServer({ delivery });
      const token = await tokenFor({ sub: 'eve' });
      await using wire = await Wire.open(server.url, { token });
      const stream = wire.subscribe('onEvent', {});
      await stream.until(isLive);
      let count = 0;
      let isOver = false;
      const publishing = (async () => {
        while (!isOver) await server.bus.publish([progress('r1', 1, { eventId: `e${++count}` })], publisher);
      })();
      await stream.until((item) => item.type === 'stage.progress' && item.seq >= 50);
      await server.router.createCaller({ principal: everyone }).auth.revoke({ jti: idOf(token) });
      const { head } = server.log; // The response was sent after every socket had closed.
      wire.send({
        id: 99,
        method: 'mutation',
        params: { path: 'event.publish', input: { events: [created('late')] } },
      });
      expect((await wire.closed).code).toBe(4403);
      isOver = true;
      await publishing;
      const seqs = stream.items.flatMap((item) => ('runSeq' in item ? [item.seq] : []));
      expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, index) => index + 1));
      expect(seqs.length).toBeLessThanOrEqual(head);
      expect(await server.log.runs.projectsOf('late')).toEqual([]);
    },
  );
});

describe('a revoked token', () => {
  test('[A11] a revoked token gets 401 on every route, and its SSE stream ends', async () => {
    await using server = await startServer();
    const token = await tokenFor({ sub: 'eve' });
    const text = await readStream(server, token, () => void revoke(server, { jti: idOf(token) }));
    expect(text).toContain('the token has been revoked');
    expect(await trpc(server, 'auth.me', token)).toEqual({
      status: 401,
      code: 'UNAUTHENTICATED',
      message: 'the token has been revoked',
    });
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const body = JSON.stringify(created('r1'));
    for (const path of ['/api/v1/events', '/api/v1/lineage']) {
      const response = await fetch(`${server.url}${path}`, { method: 'POST', headers, body });
      expect(response.status, path).toBe(401);
      expect(await response.json()).toMatchObject({ error: { code: 'UNAUTHENTICATED' } });
    }
    expect((await fetch(`${server.url}/login?token=${token}`, { redirect: 'manual' })).status).toBe(401);
    const cookie = `runwire_${server.log.epoch}=${token}`;
    const own = { cookie, origin: server.url };
    expect((await fetch(`${server.url}/trpc/auth.me`, { headers: own })).status).toBe(401);
    await using wire = await Wire.open(server.url, { token: null, options: { headers: own } });
    expect((await wire.closed).code).toBe(4403);
    expect(await headOf(server)).toBe(0);
  });

  test('[A11] auth.refresh refuses a revoked token, and the socket stays open', async () => {
    await using server = await startServer();
    const [first, second] = [await tokenFor({ roles: ['viewer'] }), await tokenFor()];
    await revoke(server, { jti: idOf(second) });
    // Another server knows it within a second (M42).
    const isRefused = async () => (await trpc(server, 'auth.me', second)).status === 401;
    await expect.poll(async () => (await Promise.all([1, 2, 3].map(isRefused))).every(Boolean)).toBe(true);
    await using wire = await Wire.open(server.url, { token: first });
    const { error } = await wire.call('mutation', 'auth.refresh', { token: second });
    expect(error?.data.runwireCode).toBe('UNAUTHENTICATED');
    expect((await wire.call('query', 'auth.me')).result?.data).toMatchObject({ roles: ['viewer'] });
    // A replaced token can be revoked without an effect on the socket.
    await wire.call('mutation', 'auth.refresh', { token: await tokenFor() });
    await revoke(server, { jti: idOf(first) });
    expect((await wire.call('query', 'auth.me')).result?.data).toMatchObject({ sub: 'ada' });
  });

  test.skipIf(isOnThree)('[A11] a token revoked during its check opens nothing', async () => {
    const checks = new EventEmitter();
    const authenticate: Authenticate = async (token) => {
      if (token === 'slow') {
        checks.emit('begun');
        await once(checks, 'end');
      }
      return { ...everyone, jti: token };
    };
    await using server = await startServer({ authenticate });
    const begun = once(checks, 'begun');
    await using wire = await Wire.open(server.url, { token: 'slow' });
    wire.subscribe('onEvent', {});
    await begun;
    await revoke(server, { jti: 'slow' }, 'admin');
    checks.emit('end');
    expect((await wire.closed).code).toBe(4403);
    expect(wire.messages).toEqual([]);
  });

  test('[A11] a revocation ends the subscriptions of a caller at once and refuses its calls', async () => {
    vi.useFakeTimers({ toFake: ['setInterval'] }); // No sweep runs.
    onTestFinished(() => void vi.useRealTimers());
    await using server = await openServer();
    const principal: Principal = { ...everyone, jti: 'a' };
    const caller = server.router.createCaller({ principal });
    const stream = (await caller.onEvent({}))[Symbol.asyncIterator]();
    await stream.next();
    const waiting = stream.next();
    await server.router.createCaller({ principal: everyone }).auth.revoke({ jti: 'a' });
    const refused = { code: 'UNAUTHORIZED', cause: { code: 'UNAUTHENTICATED', message: 'the token has been revoked' } };
    await expect(waiting).rejects.toMatchObject(refused);
    expect(await stream.next()).toMatchObject({ done: true });
    await expect(caller.run.list()).rejects.toMatchObject(refused);
    await expect(caller.event.publish({ events: [created('r1')] })).rejects.toMatchObject(refused);
    await expect(caller.onEvent({})).rejects.toMatchObject(refused);
    expect(await headOf(server)).toBe(0);
  });

  test('[A11] a revocation by subject covers tokens issued before it, and none issued later', async () => {
    await using server = await startServer();
    const before = await tokenFor({ sub: 'eve' });
    const undated = await signed({ sub: 'eve', jti: 'undated' });
    await revoke(server, { sub: 'eve' });
    at(Date.now() + 2_000);
    const after = await tokenFor({ sub: 'eve' });
    // After a jump of its clock, a server is UNAVAILABLE until it has read the state of the log.
    await expect
      .poll(async () => {
        const answers = await Promise.all([before, undated, after].map((token) => trpc(server, 'auth.me', token)));
        return answers.map(({ code }) => code);
      })
      .toEqual(['UNAUTHENTICATED', 'UNAUTHENTICATED', 'ok']);
    // A clock that is set back makes no token valid again.
    at(Date.now() - 3_600_000);
    await revoke(server, { sub: 'eve' });
    at(Date.now() + 3_600_000);
    expect((await trpc(server, 'auth.me', before)).status).toBe(401);
  });

  test('[A10] a revocation survives a restart, and is deleted once the token has expired', async () => {
    using folder = temporaryFolder();
    const options = { databaseUrl: `file:${folder.path}/runwire.db`, retentionDays: 0.000_001 };
    const [lost, stolen] = [await tokenFor({ ttlSeconds: 600 }), await tokenFor({ sub: 'eve' })];
    {
      await using server = await startServer(options);
      await revoke(server, { jti: idOf(lost) });
      await revoke(server, { sub: 'eve' });
    }
    {
      await using server = await startServer(options);
      for (const token of [lost, stolen]) expect((await trpc(server, 'auth.me', token)).status).toBe(401);
      // The first use of the token showed how long the revocation has to be kept.
      await expect.poll(async () => (await server.log.revocations.all())[0]?.untilMs).toBeGreaterThan(Date.now());
      at(Date.now() + 601_000);
      expect((await trpc(server, 'auth.me', lost)).message).toMatch(/expired/);
      await revoke(server, { jti: 'another' });
      expect((await server.log.revocations.all()).map(({ id }) => id)).toEqual(['another', 'eve']);
    }
  });

  test.skipIf(isOnThree)(
    '[A11] a revocation that cannot be stored takes effect, and its caller receives the error',
    async () => {
      await using server = await startServer();
      const token = await tokenFor({ sub: 'eve' });
      vi.spyOn(server.log.revocations, 'put').mockRejectedValue(new RunwireError('UNAVAILABLE', 'disk full'));
      expect(await revoke(server, { sub: 'eve' })).toMatchObject({ status: 503, code: 'UNAVAILABLE' });
      expect((await trpc(server, 'auth.me', token)).status).toBe(401);
    },
  );

  test('[A11] the client stops after a revocation, until the user signs in again', async () => {
    await using server = await startServer();
    let token = await tokenFor({ sub: 'eve' });
    const fetchToken = vi.fn(() => token);
    const { client, connection } = createRunwireClient({
      url: server.url,
      token: fetchToken,
      WebSocket: WebSocket as unknown as typeof globalThis.WebSocket,
    });
    onTestFinished(() => connection.close());
    const live = vi.fn();
    const onError = vi.fn();
    client.onEvent.subscribe({}, { onData: live, onError });
    await vi.waitFor(() => expect(live).toHaveBeenCalled(), 30_000);
    await revoke(server, { jti: idOf(token) });
    await vi.waitFor(() => expect(connection.getStatus().state).toBe('failed'), 30_000);
    expect(connection.getStatus().error).toMatchObject({
      code: 'UNAUTHENTICATED',
      message: 'the token has been revoked',
    });
    expect(fetchToken).toHaveBeenCalledTimes(1);
    token = await tokenFor({ sub: 'eve' });
    connection.reconnect();
    await vi.waitFor(() => expect(connection.getStatus().state).toBe('connected'), 30_000);
    expect(onError).not.toHaveBeenCalled();
  });
});

describe('permission to revoke', () => {
  const cases: [string[], Role[], boolean][] = [
    [['*'], ['admin'], true],
    [['demo'], ['admin'], false],
    [[], ['admin'], false],
    [['*'], ['viewer', 'approver', 'producer'], false],
  ];
  test.each(cases)('[A11] a token of %j with %j: allowed is %s', async (projects, roles, may) => {
    await using server = await startServer();
    const victim = await tokenFor({ sub: 'eve' });
    const token = await tokenFor({ sub: 'root', projects, roles });
    for (const which of [{ jti: idOf(victim) }, { sub: 'eve' }]) {
      expect((await revoke(server, which, token)).code).toBe(may ? 'ok' : 'FORBIDDEN');
    }
    expect((await trpc(server, 'auth.me', victim)).status).toBe(may ? 401 : 200);
  });

  test('[A11] a revocation that names neither, both or an invalid id is refused', async () => {
    await using server = await startServer();
    for (const which of [
      {},
      { jti: 'a', sub: 'b' },
      { jti: '' },
      { sub: 'x'.repeat(201) },
      { jti: 7 },
      { jti: 'a', x: 1 },
    ]) {
      expect((await revoke(server, which)).code, JSON.stringify(which)).toBe('INVALID_INPUT');
    }
    expect(await server.log.revocations.all()).toEqual([]);
  });
});

describe.each(['direct', 'iterator'] as const)('an expiring token, with delivery %s', (delivery) => {
  test('[A12] no event is sent later than a second after the expiry, and the client resumes with another token without a loss', async () => {
    await using server = await startServer({ delivery });
    const delayMs = watchDelays();
    const startClock = stopClock();
    const expiresAtMs = (nowSeconds() + 2) * 1000;
    await using wire = await Wire.open(server.url, { token: await signed({ exp: expiresAtMs / 1000 }) });
    const stream = wire.subscribe('onRunEvent', { runId: 'r1', from: 'start' });
    await stream.until(isLive);
    let last = 0;
    wire.ws.on('message', () => {
      last = Date.now();
    });
    let isOver = false;
    const publishing = (async () => {
      for (let n = 0; !isOver; n++) {
        await server.bus.publish([progress('r1', n % 100)], publisher);
        if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    await stream.until((item) => item.type === 'stage.progress');
    startClock();
    const lateMs = Math.max(Date.now(), expiresAtMs) + 1_000;
    expect(await wire.closed).toEqual({ code: 4401, reason: 'the token has expired' });
    expect(last).toBeGreaterThan(0);
    expect(last).toBeLessThan(lateMs + delayMs());
    expect(stream.messages.some(({ error, result }) => error || result?.type === 'stopped')).toBe(false);

    await using next = await Wire.open(server.url, { token: await tokenFor() });
    const resumed = next.subscribe('onRunEvent', { runId: 'r1' }, stream.tracked.at(-1)?.id);
    await resumed.until((item) => item.type === 'stream.live');
    isOver = true;
    await publishing;
    const count = await headOf(server);
    await resumed.until((item) => 'runSeq' in item && item.runSeq === count);
    const runSeqs = [...stream.items, ...resumed.items].flatMap((item) => ('runSeq' in item ? [item.runSeq] : []));
    expect(runSeqs).toEqual(Array.from({ length: count }, (_, index) => index + 1));
  });
});

describe('an expired token', () => {
  test('[A12] a quiet SSE stream ends within a second of the expiry', async () => {
    await using server = await startServer();
    const delayMs = watchDelays();
    const startClock = stopClock();
    const expiresAtMs = (nowSeconds() + 2) * 1000;
    let lateMs = 0;
    const text = await readStream(server, await signed({ exp: expiresAtMs / 1000 }), () => {
      startClock();
      lateMs = Math.max(Date.now(), expiresAtMs) + 1_000;
    });
    expect(text).toContain('the token has expired');
    expect(Date.now()).toBeGreaterThanOrEqual(expiresAtMs);
    expect(Date.now()).toBeLessThan(lateMs + delayMs());
  });

  test('[A12] the expiry ends the subscriptions of a caller and refuses its calls', async () => {
    await using server = await openServer();
    const delayMs = watchDelays();
    const startClock = stopClock();
    const expiresAtMs = Date.now() + 400;
    const principal: Principal = { ...everyone, expiresAtMs };
    const caller = server.router.createCaller({ principal });
    const stream = (await caller.onEvent({}))[Symbol.asyncIterator]();
    await stream.next();
    startClock();
    const lateMs = Math.max(Date.now(), expiresAtMs) + 1_000;
    const refused = { code: 'UNAUTHORIZED', cause: { code: 'UNAUTHENTICATED', message: 'the token has expired' } };
    await expect(stream.next()).rejects.toMatchObject(refused);
    expect(Date.now()).toBeLessThan(lateMs + delayMs());
    for (const call of [
      () => caller.run.list(),
      () => caller.event.publish({ events: [created('r1')] }),
      () => caller.onEvent({}),
      () => caller.auth.me(),
    ]) {
      await expect(call()).rejects.toMatchObject(refused);
    }
    expect(await headOf(server)).toBe(0);
  });

  test('[A12] a socket closes with 4401 at the first message after the expiry', async () => {
    // The sweep, which would also close it, runs every 500 ms.
    await using server = await startServer();
    await using wire = await Wire.open(server.url, { token: await tokenFor({ ttlSeconds: 60 }) });
    await wire.call('query', 'auth.me');
    at(Date.now() + 61_000);
    wire.send({ id: 9, method: 'mutation', params: { path: 'event.publish', input: { events: [created('r1')] } } });
    wire.send({ id: 10, method: 'subscription', params: { path: 'onEvent', input: {} } });
    expect((await wire.closed).code).toBe(4401);
    expect(await headOf(server)).toBe(0);
    expect(wire.messages.filter(({ id }) => id === 9 || id === 10)).toEqual([]);
  });
});

describe('a custom authenticate function', () => {
  const never = () => new Promise<never>(() => undefined);
  /** Emits `now` after the time limit of every waiting caller. */
  let late = new EventEmitter();
  const faults: Record<string, [Authenticate, number, number]> = {
    'throws an Error': [() => Promise.reject(new Error('CANARY')), 1012, 500],
    'throws synchronously': [
      () => {
        throw new TypeError('CANARY');
      },
      1012,
      500,
    ],
    'throws undefined': [() => Promise.reject(undefined), 1012, 500],
    'throws a string': [() => Promise.reject('CANARY'), 1012, 500],
    'throws an object without a prototype': [() => Promise.reject(Object.create(null)), 1012, 500],
    'returns undefined': [() => Promise.resolve(undefined as never), 1012, 500],
    'returns no principal': [() => Promise.resolve({ sub: 'ada', roles: 'admin' } as never), 1012, 500],
    'is unavailable': [
      () => Promise.reject(new RunwireError('UNAVAILABLE', 'the users are not to be reached')),
      1012,
      503,
    ],
    'never settles': [never, 1012, 503],
    'resolves late': [() => once(late, 'now').then(() => everyone), 1012, 503],
    'throws late': [() => once(late, 'now').then(() => Promise.reject(new Error('CANARY'))), 1012, 503],
    refuses: [() => Promise.reject(new RunwireError('UNAUTHENTICATED', 'no such user')), 4401, 401],
  };

  test.each(Object.entries(faults))(
    '[A13] an authenticate function that %s causes one close, and the client backs off',
    async (_name, fault) => {
      const [authenticate, code, status] = fault;
      const { logger, lines } = keptLog();
      late = new EventEmitter().setMaxListeners(100);
      await using server = await startServer({ authenticate, logger, limits: { identifyMs: 200 } });
      await using wire = await Wire.open(server.url, { token: 'any' });
      wire.subscribe('onEvent', {});
      wire.send({ id: 7, method: 'query', params: { path: 'auth.me' } });
      expect((await wire.closed).code).toBe(code);
      expect(wire.messages).toEqual([]);
      const response = await fetch(`${server.url}/trpc/auth.me`, { headers: { authorization: 'Bearer any' } });
      expect(response.status).toBe(status);
      expect(await response.text()).not.toContain('CANARY');
      late.emit('now');
      await new Promise(setImmediate);
      expect(wire.messages).toEqual([]);
      if (status === 500) expect(lines.join()).toContain('cannot verify a token');

      const sockets = countedWebSocket();
      const { client, connection } = createRunwireClient({
        url: server.url,
        token: () => 'any',
        identity: 'ada', // Without it, the client asks the server for the user before it opens a socket.
        WebSocket: sockets.WebSocket,
        reconnectDelayMs: 1,
        maxReconnectAttempts: 3,
      });
      onTestFinished(() => connection.close());
      const onError = vi.fn();
      client.onEvent.subscribe({}, { onError });
      await vi.waitFor(() => expect(connection.getStatus().state).toBe('failed'), { timeout: 30_000 });
      // One more fetch for a refused token; for any other failure as many as maxReconnectAttempts.
      expect(sockets.opened).toBe(code === 4401 ? 2 : 4);
      expect(onError).not.toHaveBeenCalled();
    },
  );
});

describe.skipIf(isOnThree)('claims beyond what can be kept', () => {
  const far = 9_999_999_999_999; // Milliseconds where seconds are meant.
  const claims: [string, object][] = [
    ['exp', { exp: far }],
    ['exp', { exp: Number.MAX_SAFE_INTEGER }],
    ['exp', { exp: 1e300 }],
    ['iat', { iat: far }],
    ['iat', { iat: -1 }],
    ['nbf', { nbf: far }],
    ['sub', { sub: 'system' }],
    ['sub', { sub: 'Server' }],
    ['sub', { sub: 'a\nb' }],
  ];
  test.each(claims)(
    '[A14] a token with such a claim (%s) is refused everywhere, and the log names the claim',
    async (claim, more) => {
      const { logger, lines } = keptLog();
      await using server = await startServer({ logger });
      const token = await signed({ jti: 'far', ...more });
      expect(await trpc(server, 'auth.me', token)).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
      await using wire = await Wire.open(server.url, { token });
      wire.send({ id: 1, method: 'query', params: { path: 'auth.me' } });
      expect((await wire.closed).code).toBe(4401);
      await using open = await Wire.open(server.url, { token: await signed({}) });
      const refreshed = await open.call('mutation', 'auth.refresh', { token });
      expect(refreshed.error?.data).toMatchObject({ runwireCode: 'UNAUTHENTICATED', field: claim });
      expect((await open.call('query', 'auth.me')).result).toBeDefined();
      expect(lines.filter((line) => line.includes(`"claim":"${claim}"`))).toHaveLength(1);
    },
  );

  test('[A10] a server starts with a revocation that expires beyond every date', async () => {
    using folder = temporaryFolder();
    const databaseUrl = `file:${folder.path}/runwire.db`;
    {
      await using server = await startServer({ databaseUrl });
      await revoke(server, { jti: 'far' });
      const token = await signed({ jti: 'far', exp: 9_999_999_999_999 });
      expect((await trpc(server, 'auth.me', token)).status).toBe(401);
    }
    // A row of a release that stored such an expiry.
    const db = new DatabaseSync(`${folder.path}/runwire.db`);
    db.exec("INSERT INTO revocations (kind, id, at_ms, until_ms) VALUES ('jti', 'older', 1, 9999999999999000)");
    db.close();
    await using server = await startServer({ databaseUrl });
    for (const jti of ['far', 'older']) {
      expect((await trpc(server, 'auth.me', await signed({ jti }))).message).toBe('the token has been revoked');
    }
  });

  const results: [string, object][] = [
    ['sub', { sub: 'a\nb\0'.padEnd(1_000, 'x') }],
    ['sub', { sub: 'system' }],
    ['projects', { projects: [7] }],
    ['roles', { roles: ['root'] }],
    ['jti', { jti: 7 }],
    ['expiresAtMs', { expiresAtMs: Number.POSITIVE_INFINITY }],
    ['expiresAtMs', { expiresAtMs: Number.NaN }],
    ['issuedAtMs', { issuedAtMs: new Date() }],
  ];
  test.each(results)(
    '[A14] a principal of a custom authenticator with such a %s is refused like a token, and the log names the field',
    async (field, more) => {
      const { logger, lines } = keptLog();
      const authenticate = async () => ({ ...everyone, ...more }) as Principal;
      await using server = await startServer({ logger, authenticate });
      for (let round = 0; round < 3; round++) {
        expect(await trpc(server, 'auth.me', 'any')).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
      }
      const draft = JSON.stringify(created('r1'));
      const response = await fetch(`${server.url}/api/v1/events`, {
        method: 'POST',
        headers: { authorization: 'Bearer any', 'content-type': 'application/json' },
        body: draft,
      });
      expect(response.status).toBe(401);
      expect(await headOf(server)).toBe(0);
      const logged = lines.filter((line) => line.includes(`"claim":"${field}"`));
      expect(logged).toHaveLength(1);
      expect(logged[0]).toContain('authenticate');
      expect(lines.join()).not.toContain('xxx');
    },
  );
});
