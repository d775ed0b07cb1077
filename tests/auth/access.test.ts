import { SignJWT, UnsecuredJWT } from 'jose';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { RunwireError } from '../../shared/errors.ts';
import {
  created,
  isLive,
  keptLog,
  progress,
  secret,
  startServer,
  temporaryFolder,
  tokenFor,
  Wire,
} from '../support/harness.ts';

const publisher = { actor: 'ada' };
type Server = Awaited<ReturnType<typeof startServer>>;

/** Opens `/ws` with the given options; resolves with the close code, or with the response of auth.me. */
async function knock(server: Server, { token, headers }: { token?: string | null; headers?: Record<string, string> }) {
  const opened = Wire.open(server.url, {
    ...(token === undefined ? {} : { token }),
    options: headers ? { headers } : {},
  });
  const wire = await opened.catch((error: Error) => Number(/\d{3}/.exec(error.message)?.[0]));
  if (typeof wire === 'number') return wire;
  await using open = wire;
  if (token === null) {
    // A socket with a cookie needs no connectionParams.
    open.send({ id: 1, method: 'query', params: { path: 'auth.me' } });
    return await Promise.race([
      open
        .until(() => open.messages.some(({ id }) => id === 1))
        .then(() => 'in' as const)
        .catch(() => open.closed.then(({ code }) => code)),
      open.closed.then(({ code }) => code),
    ]);
  }
  return await Promise.race([
    open
      .call('query', 'auth.me')
      .then(({ result }) => (result ? 'in' : 'error'))
      .catch(() => open.closed.then(({ code }) => code)),
    open.closed.then(({ code }) => code),
  ]);
}

describe('tokens', () => {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: 'ada', projects: ['*'], roles: ['admin'], exp: now + 3_600 };
  const signed = (alg: string, payload: object) =>
    new SignJWT({ ...claims, ...payload }).setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret));
  const wrong: Record<string, () => string | Promise<string>> = {
    'no JWT': () => 'CANARY',
    expired: () => tokenFor({ ttlSeconds: -1 }),
    'signed with another secret': () => tokenFor({ secret: 'another secret that is also long enough' }),
    'with alg none': () => new UnsecuredJWT(claims).encode(),
    'of HS512': () => signed('HS512', {}),
    'not yet valid': () => signed('HS256', { nbf: now + 3_600 }),
    'with an unknown role': () => signed('HS256', { roles: ['root'] }),
  };

  test.each(Object.entries(wrong))(
    '[A1] a token %s gets 401 over HTTP and 4401 over WebSocket',
    async (_name, make) => {
      await using server = await startServer();
      const token = await make();
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      for (const [path, init] of [
        ['/api/v1/events', { method: 'POST', body: JSON.stringify(created('r1')) }],
        ['/trpc/auth.me', {}],
        ['/trpc/event.publish', { method: 'POST', body: JSON.stringify({ events: [created('r1')] }) }],
      ] as const) {
        const response = await fetch(`${server.url}${path}`, { headers, ...init });
        const text = await response.text();
        expect([response.status, text.includes('UNAUTHENTICATED')], path).toEqual([401, true]);
        expect(text).not.toContain('CANARY');
      }
      // tRPC reports the error within the stream, because EventSource hides the status.
      const streamed = await fetch(`${server.url}/trpc/onEvent`, {
        headers: { ...headers, accept: 'text/event-stream' },
      });
      const text = await streamed.text();
      expect(text).toContain('UNAUTHENTICATED');
      expect(text).not.toMatch(/stream\.live|CANARY/);
      expect((await fetch(`${server.url}/login?token=${token}`, { redirect: 'manual' })).status).toBe(401);
      expect(await knock(server, { token })).toBe(4401);
      expect(server.log.head).toBe(0);
    },
  );

  test('[A1] an expired sign-in link redirects to the app with an explanation, and sets no cookie', async () => {
    await using server = await startServer();
    const token = await tokenFor({ ttlSeconds: -60 });
    const options = { redirect: 'manual', headers: { accept: 'text/html,*/*' } } as const;
    const { status, headers } = await fetch(`${server.url}/login?token=${token}`, options);
    expect([status, headers.get('location'), headers.get('set-cookie')]).toEqual([
      303,
      expect.stringMatching(/^\/sign-in\?reason=expired&at=\d+$/),
      null,
    ]);
  });

  test('[A1] a missing token gets 401 with a challenge, and 4401', async () => {
    await using server = await startServer();
    const response = await fetch(`${server.url}/api/v1/events`, { method: 'POST', body: '{}' });
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toBe('Bearer');
    expect(await response.json()).toMatchObject({ error: { code: 'UNAUTHENTICATED' } });
    expect((await fetch(`${server.url}/trpc/auth.me`)).status).toBe(401);
    expect(await knock(server, { token: null })).toBe(4401);
    for (const authorization of [
      'Bearer',
      'Bearer ',
      `Basic ${await tokenFor()}`,
      `${await tokenFor()}`,
      'Bearer a b',
    ]) {
      expect((await fetch(`${server.url}/trpc/auth.me`, { headers: { authorization } })).status).toBe(401);
    }
    // A token in the address is ignored.
    expect((await fetch(`${server.url}/trpc/auth.me?token=${await tokenFor()}`)).status).toBe(401);
    const params = encodeURIComponent(JSON.stringify({ token: await tokenFor() }));
    expect((await fetch(`${server.url}/trpc/auth.me?connectionParams=${params}`)).status).toBe(401);
  });
});

describe('a custom authenticate function', () => {
  test('[A1] UNAUTHENTICATED gives 401, UNAVAILABLE gives 503, and no response contains another error of it', async () => {
    const { logger, lines } = keptLog();
    const authenticate = async (token: string) => {
      if (token === 'down') throw new RunwireError('UNAVAILABLE', 'the issuer does not answer');
      if (token === 'long') throw new RunwireError('UNAUTHENTICATED', 'é'.repeat(500));
      if (token === 'broken') throw new Error('CANARY');
      return { sub: token, projects: ['*'], roles: ['viewer' as const] };
    };
    await using server = await startServer({ authenticate, logger });
    const codes = { good: ['in', 200], down: [1012, 503], long: [4401, 401], broken: [1012, 500] };
    for (const [token, [code, status]] of Object.entries(codes)) {
      expect(await knock(server, { token }), token).toBe(code);
      const response = await fetch(`${server.url}/trpc/auth.me`, { headers: { authorization: `Bearer ${token}` } });
      expect(response.status, token).toBe(status);
      expect(await response.text()).not.toContain('CANARY');
    }
    expect(lines.join()).toContain('cannot verify a token');
  });
});

describe('origins', () => {
  const allowedOrigins = ['https://app.example.org'];

  test.each([
    ['https://app.example.org', true],
    ['own', true],
    [undefined, true],
    ['https://evil.example.org', false],
    ['https://app.example.org.evil.org', false],
    ['http://app.example.org', false],
    ['null', false],
    ['https://app.example.org:444', false],
  ])('[A2] from %s with a good token: %s, on /ws, /trpc and /api/v1', async (origin, isIn) => {
    await using server = await startServer({ allowedOrigins });
    const token = await tokenFor();
    const headers: Record<string, string> = {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      ...(origin === undefined ? {} : { origin: origin === 'own' ? server.url : origin }),
    };
    expect(await knock(server, { token, headers })).toBe(isIn ? 'in' : 403);
    const asked = await fetch(`${server.url}/trpc/auth.me`, { headers });
    expect(asked.status).toBe(isIn ? 200 : 403);
    expect(asked.headers.get('access-control-allow-origin')).toBe((isIn && headers.origin) || null);
    const body = JSON.stringify(created('r1'));
    const posted = await fetch(`${server.url}/api/v1/events`, { method: 'POST', headers, body });
    expect(posted.status).toBe(isIn ? 200 : 403);
    expect(posted.headers.get('access-control-allow-origin')).toBe((isIn && headers.origin) || null);
    for (const path of ['/trpc/auth.me', '/api/v1/events', '/api/v1/lineage']) {
      const flown = await fetch(`${server.url}${path}`, { method: 'OPTIONS', headers });
      expect(flown.status, path).toBe(isIn ? 204 : 403);
    }
    expect(server.log.head).toBe(isIn ? 1 : 0);
    if (!isIn) expect(await asked.json()).toMatchObject({ error: { code: 'FORBIDDEN' } });
  });

  test('[D39] the cookie stays valid when the log gets a new epoch, also after a restart', async () => {
    using folder = temporaryFolder();
    const options = { databaseUrl: `file:${folder.path}/runwire.db` };
    let server = await startServer(options);
    const login = await fetch(`${server.url}/login?token=${await tokenFor()}`, { redirect: 'manual' });
    const cookie = login.headers.get('set-cookie')?.split(';', 1)[0] as string;
    const ask = () => fetch(`${server.url}/trpc/auth.me`, { headers: { cookie, origin: server.url } });
    expect((await ask()).status).toBe(200);
    await server.log.integrity.renewEpoch('a fail-over');
    expect((await ask()).status).toBe(200);
    await server.close();
    server = await startServer(options);
    expect((await ask()).status).toBe(200);
    await server.close();
  });

  test('[A5] the cookie works with the own or an allowed origin and for a GET of the own page, and never without', async () => {
    await using server = await startServer({ allowedOrigins });
    const login = await fetch(`${server.url}/login?token=${await tokenFor()}`, { redirect: 'manual' });
    expect([login.status, login.headers.get('location')]).toEqual([303, '/']);
    const given = login.headers.get('set-cookie') ?? '';
    expect(given).toMatch(/; HttpOnly/);
    expect(given).toMatch(/; SameSite=Strict/);
    const cookie = given.split(';', 1)[0] as string;

    const body = JSON.stringify(created('r1'));
    const cases: [Record<string, string>, boolean][] = [
      [{ origin: server.url }, true],
      [{ origin: 'https://app.example.org' }, true],
      [{ 'sec-fetch-site': 'same-origin' }, true],
      [{}, false],
      [{ 'sec-fetch-site': 'cross-site' }, false],
      [{ 'sec-fetch-site': 'same-site' }, false],
      [{ 'sec-fetch-site': 'none' }, false],
      [{ origin: 'https://evil.example.org' }, false],
      [{ origin: 'https://evil.example.org', 'sec-fetch-site': 'same-origin' }, false],
    ];
    for (const [more, isIn] of cases) {
      const headers = { cookie, 'content-type': 'application/json', ...more };
      const refused = 'origin' in more ? 403 : 401;
      const name = JSON.stringify(more);
      expect((await fetch(`${server.url}/trpc/auth.me`, { headers })).status, name).toBe(isIn ? 200 : refused);
      if ('sec-fetch-site' in more && isIn) continue;
      const posted = await fetch(`${server.url}/api/v1/events`, { method: 'POST', headers, body });
      expect(posted.status, name).toBe(isIn ? 200 : refused);
      expect(await knock(server, { token: null, headers }), name).toBe(isIn ? 'in' : 'origin' in more ? 403 : 4401);
    }
    // The cookie of another server is ignored, and does not repair an invalid bearer token.
    await using other = await startServer({ authSecret: 'another secret that is also long enough' });
    expect((await fetch(`${other.url}/trpc/auth.me`, { headers: { cookie, origin: other.url } })).status).toBe(401);
    const both = { cookie, origin: server.url, authorization: 'Bearer wrong' };
    expect((await fetch(`${server.url}/trpc/auth.me`, { headers: both })).status).toBe(401);
  });
});

describe('roles and projects', () => {
  test('[A3] one draft for a foreign project refuses the whole batch', async () => {
    await using server = await startServer();
    const token = await tokenFor({ projects: ['demo'], roles: ['producer'] });
    await using wire = await Wire.open(server.url, { token });
    const events = [created('r1'), created('r1', { projectId: 'secret' })];
    const { error } = await wire.call('mutation', 'event.publish', { events });
    expect(error?.data).toMatchObject({ runwireCode: 'FORBIDDEN', field: 'events.1.projectId' });
    expect(server.log.head).toBe(0);
  });

  test('[A4] a run of another project gives the same responses as an absent run', async () => {
    await using server = await startServer({ quietMs: 50 });
    await server.bus.publish([created('hidden', { projectId: 'secret' }), created('own')], publisher);
    const token = await tokenFor({ sub: 'eve', projects: ['demo'], roles: ['viewer'] });
    await using wire = await Wire.open(server.url, { token });
    const alike = (text: string) => text.replaceAll('missing', 'hidden');
    for (const path of ['run.get', 'run.history']) {
      for (const projectId of [undefined, 'secret']) {
        const there = await wire.call('query', path, { runId: 'hidden', projectId });
        const not = await wire.call('query', path, { runId: 'missing', projectId });
        expect(JSON.stringify({ ...there, id: 0 })).toBe(alike(JSON.stringify({ ...not, id: 0 })));
        expect(there.error?.data.runwireCode).toBe('RUN_NOT_FOUND');
      }
      // The project gives nothing away either: a run that is not in an own project looks the same.
      const own = await wire.call('query', path, { runId: 'missing', projectId: 'demo' });
      expect(own.error?.data.runwireCode, path).toBe('RUN_NOT_FOUND');
    }
    for (const text of ['hidden', 'missing']) {
      const answer = await wire.call('query', 'run.list', { text });
      expect(answer.result?.data).toMatchObject({ runs: [] });
    }
    for (const [path, inputs] of [
      ['onRunEvent', [{ runId: 'hidden' }, { runId: 'missing' }]],
      [
        'onRunEvent',
        [
          { runId: 'hidden', projectId: 'secret' },
          { runId: 'missing', projectId: 'secret' },
        ],
      ],
      ['onProjectEvent', [{ projectId: 'secret' }, { projectId: 'missing' }]],
      ['onRunSummary', [{ projectId: 'secret' }, { projectId: 'missing' }]],
    ] as const) {
      const streams = inputs.map((input) => wire.subscribe(path, { ...input, from: 'start' }));
      for (const stream of streams) await stream.until(isLive);
      await server.bus.publish([progress('hidden', 5, { projectId: 'secret' })], publisher);
      const { head } = server.log;
      for (const stream of streams) await stream.until((item) => item.type === 'stream.live' && item.seq === head);
      const [there, not] = streams.map(({ messages }) => messages.map((message) => ({ ...message, id: 0 })));
      expect(there).toEqual(not);
    }
  });
});

describe('a token on an open socket', () => {
  // Fakes Date only: sockets and timers stay real.
  const at = (ms: number) => {
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    vi.setSystemTime(ms);
  };

  test('[A6] an expired token closes its socket with 4401 and sends no error to any subscription', async () => {
    await using server = await startServer({ heartbeatMs: 100 });
    await using short = await Wire.open(server.url, { token: await tokenFor({ ttlSeconds: 60 }) });
    await using long = await Wire.open(server.url, { token: await tokenFor({ ttlSeconds: 3_600 }) });
    const stream = short.subscribe('onEvent', {});
    await stream.until(isLive);
    await long.subscribe('onEvent', {}).until(isLive);
    at(Date.now() + 61_000);
    expect(await short.closed).toEqual({ code: 4401, reason: 'the token has expired' });
    expect(stream.messages.some(({ error, result }) => error || result?.type === 'stopped')).toBe(false);
    expect(long.ws.readyState).toBe(WebSocket.OPEN);
  });

  test('[A6] auth.refresh replaces the token, and the subscriptions stay', async () => {
    await using server = await startServer({ heartbeatMs: 100 });
    await using wire = await Wire.open(server.url, { token: await tokenFor({ ttlSeconds: 60 }) });
    await using bystander = await Wire.open(server.url, { token: await tokenFor({ ttlSeconds: 60 }) });
    const stream = wire.subscribe('onEvent', {});
    await stream.until(isLive);
    await bystander.subscribe('onEvent', {}).until(isLive);
    const answer = await wire.call('mutation', 'auth.refresh', { token: await tokenFor({ ttlSeconds: 3_600 }) });
    expect(answer.result?.data).toEqual({ expiresAt: expect.stringMatching(/^\d{4}-.*Z$/) });
    at(Date.now() + 61_000);
    expect((await bystander.closed).code).toBe(4401);
    await server.bus.publish([created('r1')], publisher);
    const items = await stream.until((item) => item.type === 'run.created');
    expect(items.map((item) => item.type)).toEqual(['stream.live', 'run.created']);
  });

  test('[A6] auth.refresh refuses a token of another subject, an invalid one and an expired one', async () => {
    await using server = await startServer();
    await using wire = await Wire.open(server.url, { token: await tokenFor({ sub: 'ada', roles: ['viewer'] }) });
    const refresh = async (token: unknown) =>
      (await wire.call('mutation', 'auth.refresh', { token })).error?.data.runwireCode;
    expect(await refresh(await tokenFor({ sub: 'eve' }))).toBe('FORBIDDEN');
    expect(await refresh(await tokenFor({ sub: 'ada', ttlSeconds: -5 }))).toBe('UNAUTHENTICATED');
    expect(await refresh('CANARY')).toBe('UNAUTHENTICATED');
    expect(await refresh(7)).toBe('INVALID_INPUT');
    expect(wire.texts.join()).not.toContain('CANARY');
    expect((await wire.call('query', 'auth.me')).result?.data).toMatchObject({ sub: 'ada', roles: ['viewer'] });
    const headers = { authorization: `Bearer ${await tokenFor()}`, 'content-type': 'application/json' };
    const body = JSON.stringify({ token: await tokenFor() });
    const overHttp = await fetch(`${server.url}/trpc/auth.refresh`, { method: 'POST', headers, body });
    expect(overHttp.status).toBe(400);
  });

  test('[A6] an expired token also ends a stream over HTTP', async () => {
    await using server = await startServer();
    const headers = { authorization: `Bearer ${await tokenFor({ ttlSeconds: 60 })}`, accept: 'text/event-stream' };
    const response = await fetch(`${server.url}/trpc/onEvent?input=%7B%7D`, { headers });
    const decoder = new TextDecoder();
    let text = '';
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk);
      if (!text.includes('stream.live') || text.includes('"never"')) continue;
      at(Date.now() + 61_000);
      await server.bus.publish([created('never')], publisher);
    }
    expect(text).toContain('UNAUTHENTICATED');
    expect(text).not.toContain('never');
  });
});
