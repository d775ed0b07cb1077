import { expect, onTestFinished, test, vi } from 'vitest';
import { backupSqliteFile, restoreSqliteFile } from '../../server/event-log/sqlite/backup.ts';
import type { RunServerOptions } from '../../server/run-server.ts';
import { keptLog, startServer, temporaryFolder, tokenFor, Wire } from '../support/harness.ts';
import { Browser, cookieOf, signIn, toCallback } from '../support/oidc-browser.ts';
import { type ProviderOptions, startProvider } from '../support/oidc-provider.ts';

/** Sign-in by OpenID Connect against a real provider, with a browser that is made of `fetch` and a jar of cookies. */

type World = Awaited<ReturnType<typeof openWorld>>;

async function openWorld(providerOptions: ProviderOptions = {}, options: Partial<RunServerOptions> = {}) {
  const provider = await startProvider(providerOptions);
  const log = keptLog();
  const server = await startServer({ ...provider.options, logger: log.logger, ...options });
  provider.allow(server.url);
  onTestFinished(async () => {
    await server.close();
    await provider.close();
  });
  return { provider, server, log };
}

/** Stops Date, for the server and the provider. The returned function moves it: sockets and timers stay real. */
function stopClock(): (seconds: number) => void {
  vi.useFakeTimers({ toFake: ['Date'] });
  onTestFinished(() => void vi.useRealTimers());
  return (seconds) => void vi.setSystemTime(Date.now() + seconds * 1_000);
}

async function me(world: Pick<World, 'server'>, browser: Browser) {
  const response = await browser.send(`${world.server.url}/trpc/auth.me`, {
    headers: { 'sec-fetch-site': 'same-origin' },
  });
  const body = (await response.json()) as { result?: { data: Record<string, unknown> } };
  return { status: response.status, data: body.result?.data };
}

const openSocket = (world: Pick<World, 'server'>, browser: Browser) =>
  Wire.open(world.server.url, {
    token: null,
    options: { headers: { origin: world.server.url, cookie: cookieOf(browser, world) ?? '' } },
  });

test('[A20] a user signs in at the provider and has the rights that the claims state', async () => {
  const world = await openWorld();
  const { browser, location, callback } = await signIn(world, undefined, 'vera', '/runs/demo/r1?tab=audit');
  expect(location).toBe('/runs/demo/r1?tab=audit');
  const { data } = await me(world, browser);
  expect(data).toMatchObject({ sub: 'vera', name: 'Vera Lind', projects: ['demo'], roles: ['viewer'], mode: 'oidc' });
  expect(Date.parse(data?.expiresAt as string)).toBeGreaterThan(Date.now());
  // The flow: code, PKCE with S256, state and nonce.
  const begun = await new Browser().send(`${world.server.url}/auth/login`);
  const asked = new URL(begun.headers.get('location') ?? '').searchParams;
  expect(asked.get('response_type')).toBe('code');
  expect(asked.get('code_challenge_method')).toBe('S256');
  for (const name of ['state', 'nonce', 'code_challenge']) expect(asked.get(name)?.length, name).toBeGreaterThan(30);
  expect(callback.searchParams.get('iss')).toBe(world.provider.issuer);
  await using wire = await openSocket(world, browser);
  expect((await wire.call('query', 'auth.me')).result?.data).toMatchObject({ sub: 'vera' });
});

test('[A20] the session cookie is HttpOnly and SameSite=Strict; that of the sign-in is Lax, short, and gone after it', async () => {
  const world = await openWorld();
  const { browser } = await signIn(world);
  const own = browser.setCookies.filter((text) => text.startsWith('runwire_'));
  const [state, gone, session] = own;
  expect(own).toHaveLength(3);
  expect(state).toMatch(/^runwire_signin_[\w-]+=[\w-]+; Path=\/; HttpOnly; SameSite=Lax; Max-Age=600$/);
  expect(gone).toMatch(/^runwire_signin_[\w-]+=; .*Max-Age=0$/);
  expect(session).toMatch(/^runwire_[\w-]+=rws_[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=8\d{4}$/);
  // Over TLS, both are for TLS alone, and no other host of the domain can plant that of the sign-in.
  const secure = await new Browser().send(`${world.server.url}/auth/login`, {
    headers: { 'x-forwarded-proto': 'https' },
  });
  expect(secure.headers.getSetCookie()[0]).toMatch(
    /^__Host-runwire_signin_.*; Path=\/; HttpOnly; SameSite=Lax; .*Secure$/,
  );
  expect(new URL(secure.headers.get('location') ?? '').searchParams.get('redirect_uri')).toMatch(/^https:/);
});

test('[A20] no token of the provider reaches the browser, and none is in the database or in the log', async () => {
  using folder = temporaryFolder();
  const databaseUrl = `file:${folder.path}/runwire.db`;
  const world = await openWorld({ areClaimsInIdToken: true }, { databaseUrl });
  const { browser } = await signIn(world);
  expect((await browser.post(`${world.server.url}/auth/renew`)).status).toBe(200);
  expect(browser.setCookies.filter((text) => text.startsWith('runwire_')).join()).not.toMatch(/eyJ/);
  const stored = await world.server.log.sessions.all();
  expect(stored).toHaveLength(1);
  expect(JSON.stringify(stored)).not.toMatch(/eyJ|vera|Vera|rws_/);
  expect(world.log.lines.join()).not.toMatch(/eyJ|Vera|code=|rws_/);
});

const refusals: Record<string, (world: World, callback: URL, browser: Browser) => Promise<[URL, Browser]>> = {
  'a wrong state': async (_, callback, browser) => {
    callback.searchParams.set('state', 'x'.repeat(43));
    return [callback, browser];
  },
  'no state': async (_, callback, browser) => {
    callback.searchParams.delete('state');
    return [callback, browser];
  },
  'another browser': async (_, callback) => [callback, new Browser()],
  'the state of another sign-in of the same browser': async (world, callback, browser) => {
    const other = await toCallback(world, browser, 'vera');
    callback.searchParams.set('state', other.searchParams.get('state') ?? '');
    return [callback, browser];
  },
  'another issuer (mix-up)': async (_, callback, browser) => {
    callback.searchParams.set('iss', 'https://evil.example');
    return [callback, browser];
  },
  'no issuer, though the provider states it': async (_, callback, browser) => {
    callback.searchParams.delete('iss');
    return [callback, browser];
  },
  'a code that was not issued': async (_, callback, browser) => {
    callback.searchParams.set('code', 'CANARY');
    return [callback, browser];
  },
  'a changed cookie': async (world, callback, browser) => {
    const jar = browser.cookies.get(world.server.url) as Map<string, string>;
    for (const [name, value] of jar) jar.set(name, `${value.slice(0, -2)}AA`);
    return [callback, browser];
  },
  'a code that was used': async (_, callback, browser) => {
    const copy = browser.copy();
    expect((await browser.send(callback.href)).headers.get('location')).toBe('/');
    return [callback, copy];
  },
  'a callback that was opened before': async (_, callback, browser) => {
    await browser.send(callback.href);
    browser.cookies.get(callback.origin)?.forEach((_value, name, jar) => {
      if (!name.includes('signin')) jar.delete(name);
    });
    return [callback, browser];
  },
};

test.each(Object.entries(refusals))('[A21] %s signs nobody in', async (_name, change) => {
  const world = await openWorld();
  const browser = new Browser();
  const [callback, by] = await change(world, await toCallback(world, browser), browser);
  const response = await by.send(callback.href);
  expect(response.status).toBe(303);
  expect(response.headers.get('location')).toMatch(/^\/sign-in\?reason=(state|provider)/);
  expect(response.headers.get('location')).not.toContain('CANARY');
  expect(cookieOf(by, world)).toBeUndefined();
  expect((await me(world, by)).status).toBe(401);
  const entries = await world.server.router
    .createCaller({ principal: { sub: 'root', projects: ['*'], roles: ['admin'] } })
    .audit.access({ action: 'login' });
  expect(entries.entries.some(({ outcome }) => outcome === 'UNAUTHENTICATED')).toBe(true);
});

test('[A21] a user who cancels at the provider returns to the page that states the code', async () => {
  const world = await openWorld();
  const { location } = await signIn(world, undefined, 'cancel', '/approvals');
  expect(location).toBe('/sign-in?reason=provider&code=access_denied&return=%2Fapprovals');
});

test('[A21] a cookie that was planted before the sign-in is worth nothing after it', async () => {
  const world = await openWorld();
  const attacker = await signIn(world, undefined, 'vera');
  const planted = cookieOf(attacker.browser, world) ?? '';
  const victim = new Browser();
  victim.cookies.set(world.server.url, new Map([planted.split('=') as [string, string]]));
  await signIn(world, victim, 'vera');
  expect(cookieOf(victim, world)).not.toBe(planted);
  expect((await me(world, attacker.browser)).status).toBe(401);
  expect((await me(world, victim)).data).toMatchObject({ sub: 'vera' });
});

test('[A22] a session outlives a restart of the server, and not a change of the client secret', async () => {
  using folder = temporaryFolder();
  const databaseUrl = `file:${folder.path}/runwire.db`;
  const world = await openWorld({}, { databaseUrl });
  const { browser } = await signIn(world);
  await world.server.close();
  const again = await startServer({ ...world.provider.options, databaseUrl });
  const jar = browser.cookies.get(world.server.url) ?? new Map();
  browser.cookies.set(again.url, jar); // Cookies are of a host, whatever its port.
  expect((await me({ server: again as never }, browser)).data).toMatchObject({ sub: 'vera' });
  const renewed = await browser.post(`${again.url}/auth/renew`);
  expect(await renewed.json()).toMatchObject({ isRenewable: true });
  await again.close();
  const other = await startServer({ ...world.provider.options, oidcClientSecret: 'another one', databaseUrl });
  onTestFinished(() => other.close());
  browser.cookies.set(other.url, jar);
  expect((await me({ server: other as never }, browser)).status).toBe(401);
  expect(await other.log.sessions.all()).toEqual([]);
});

test('[A23] a renewal has the present rights, on the open socket too, and no event is lost over it', async () => {
  const pass = stopClock();
  const world = await openWorld({ lifeSeconds: 60 });
  const { browser } = await signIn(world);
  const { server, provider } = world;
  await using wire = await openSocket(world, browser);
  const events = wire.subscribe('onProjectEvent', { projectId: 'demo', from: 'start' });
  const publish = (runId: string, projectId = 'demo') =>
    server.bus.publish([{ type: 'run.created', projectId, runId, name: runId }], { actor: 'ci' });
  const first = Date.parse((await me(world, browser)).data?.expiresAt as string);
  provider.accounts.vera = { name: 'Vera Lind', projects: ['demo', 'trials'], roles: ['viewer', 'approver', 'root'] };
  const renew = async () => {
    const response = await browser.post(`${server.url}/auth/renew`);
    return Date.parse(((await response.json()) as { expiresAt: string }).expiresAt);
  };
  // Longer than the first life: the socket stays open because of the renewals alone.
  for (let count = 0, expiry = first; Date.now() < first + 60_000; count++) {
    await publish(`r${count}`);
    pass(20);
    const renewed = await renew();
    expect(renewed).toBeGreaterThan(expiry);
    expiry = renewed;
  }
  await publish('last');
  await events.until((item) => 'runId' in item && item.runId === 'last');
  const seqs = events.items.flatMap((item) => ('runSeq' in item ? [item.seq] : []));
  expect(seqs).toEqual(Array.from({ length: server.log.head }, (_, index) => index + 1));
  expect((await wire.call('query', 'auth.me')).result?.data).toMatchObject({
    projects: ['demo', 'trials'],
    roles: ['viewer', 'approver'],
  });
});

test('[A23] renewals of several tabs at once use the refresh token once', async () => {
  const pass = stopClock();
  const world = await openWorld({ lifeSeconds: 60 });
  const { browser } = await signIn(world);
  pass(61);
  expect((await me(world, browser)).status).toBe(401);
  const before = world.provider.requests.filter((request) => request === 'POST /token').length;
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => browser.copy().post(`${world.server.url}/auth/renew`)),
  );
  expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
  expect(world.provider.requests.filter((request) => request === 'POST /token')).toHaveLength(before + 1);
  // The expired session is valid again.
  expect((await me(world, browser)).status).toBe(200);
});

test('[A23] while the provider is away, the session lasts as long as it did, and is renewed when the provider is back', async () => {
  const pass = stopClock();
  const world = await openWorld({ lifeSeconds: 60 });
  const { browser } = await signIn(world);
  world.provider.setDown(true);
  pass(30);
  expect((await browser.post(`${world.server.url}/auth/renew`)).status).toBe(503);
  expect((await me(world, browser)).status).toBe(200);
  pass(31);
  expect((await me(world, browser)).status).toBe(401);
  expect((await new Browser().send(`${world.server.url}/auth/callback?state=x&code=y`)).status).toBe(303);
  world.provider.setDown(false);
  expect((await browser.post(`${world.server.url}/auth/renew`)).status).toBe(200);
  expect((await me(world, browser)).status).toBe(200);
});

test('[A20] while the provider cannot be reached, the sign-in returns to the page with the reason', async () => {
  const world = await openWorld();
  world.provider.setDown(true);
  const response = await new Browser().send(`${world.server.url}/auth/login?return=%2Fsearch`);
  expect(response.headers.get('location')).toBe('/sign-in?reason=unavailable&return=%2Fsearch');
  world.provider.setDown(false);
  await signIn(world);
});

test('[A23] after the provider has revoked a grant, the next renewal signs the user out everywhere', async () => {
  const pass = stopClock();
  const world = await openWorld({ lifeSeconds: 60 });
  const { browser } = await signIn(world);
  await using wire = await openSocket(world, browser);
  await wire.call('query', 'auth.me');
  await world.provider.revokeGrants();
  pass(30);
  expect((await browser.copy().post(`${world.server.url}/auth/renew`)).status).toBe(401);
  expect((await wire.closed).code).toBe(4403);
  expect((await browser.post(`${world.server.url}/auth/renew`)).status).toBe(401);
  expect((await me(world, browser)).status).toBe(401);
});

test('[A23] only a page of the server renews a session', async () => {
  const world = await openWorld();
  const { browser } = await signIn(world);
  const { server } = world;
  expect((await browser.post(`${server.url}/auth/renew`, { origin: 'https://evil.example' })).status).toBe(403);
  expect((await browser.send(`${server.url}/auth/renew`)).status).toBe(404);
  const without = await new Browser().post(`${server.url}/auth/renew`);
  expect(without.status).toBe(401);
  // A tab with an old cookie must not delete the one with which another tab has just signed in.
  expect(without.headers.get('set-cookie')).toBeNull();
});

test('[A25] a sign-out ends the session in every tab, and its refresh token', async () => {
  const world = await openWorld();
  const { browser } = await signIn(world);
  const other = browser.copy();
  await using wire = await openSocket(world, browser);
  await wire.call('query', 'auth.me');
  const response = await browser.post(`${world.server.url}/auth/logout`);
  expect(response.status).toBe(204);
  expect((await wire.closed).code).toBe(4403);
  expect((await me(world, other)).status).toBe(401);
  expect((await other.post(`${world.server.url}/auth/renew`)).status).toBe(401);
  expect(await world.server.log.sessions.all()).toEqual([]);
  await expect.poll(() => world.provider.requests).toContain('POST /token/revocation');
  const { entries } = await world.server.router
    .createCaller({ principal: { sub: 'root', projects: ['*'], roles: ['admin'] } })
    .audit.access({ sub: 'vera' });
  expect(entries.map(({ action }) => action)).toEqual(expect.arrayContaining(['login', 'logout']));
});

test('[A25] a revocation of the user ends the session, and a renewal does not bring it back', async () => {
  const world = await openWorld();
  const { browser } = await signIn(world);
  await using wire = await openSocket(world, browser);
  await wire.call('query', 'auth.me');
  await world.server.router
    .createCaller({ principal: { sub: 'root', projects: ['*'], roles: ['admin'] } })
    .auth.revoke({ sub: 'vera' });
  expect((await wire.closed).code).toBe(4403);
  expect((await browser.copy().post(`${world.server.url}/auth/renew`)).status).toBe(401);
  expect((await me(world, browser)).status).toBe(401);
});

test('[A25] when another user signs in with the same browser, the session of the former one ends', async () => {
  const accounts = {
    vera: { projects: ['demo'], roles: ['viewer'] },
    ida: { projects: ['trials'], roles: ['viewer'] },
  };
  const world = await openWorld({ accounts });
  const { browser } = await signIn(world);
  await using wire = await openSocket(world, browser);
  await wire.call('query', 'auth.me');
  browser.cookies.delete(world.provider.issuer);
  await signIn(world, browser, 'ida');
  expect((await wire.closed).code).toBe(4403);
  expect((await me(world, browser)).data).toMatchObject({ sub: 'ida', projects: ['trials'] });
});

test('[A25] when the same user signs in again, the open sockets go on, and the old cookie is worth nothing', async () => {
  const world = await openWorld();
  const { browser } = await signIn(world);
  const before = browser.copy();
  await using wire = await openSocket(world, browser);
  await wire.call('query', 'auth.me');
  await signIn(world, browser);
  expect((await wire.call('query', 'auth.me')).result?.data).toMatchObject({ sub: 'vera' });
  expect((await me(world, before)).status).toBe(401);
  expect(await world.server.log.sessions.all()).toHaveLength(1);
  // A sign-out of the new session ends the socket of the former one.
  await browser.post(`${world.server.url}/auth/logout`);
  expect((await wire.closed).code).toBe(4403);
});

const claims: [string, ProviderOptions['accounts'], Partial<RunServerOptions>, object][] = [
  [
    'lists',
    { a: { projects: ['x', 'y'], roles: ['viewer', 'admin'] } },
    {},
    { projects: ['x', 'y'], roles: ['viewer', 'admin'] },
  ],
  [
    'texts',
    { a: { projects: 'x y', roles: 'approver,viewer' } },
    {},
    { projects: ['x', 'y'], roles: ['viewer', 'approver'] },
  ],
  ['all projects', { a: { projects: ['x', '*'], roles: ['viewer'] } }, {}, { projects: ['*'] }],
  [
    'other values',
    { a: { projects: [1, '..', 'x'], roles: ['root', 'viewer', {}] } },
    {},
    { projects: ['x'], roles: ['viewer'] },
  ],
  ['no claims', { a: {} }, {}, { projects: [], roles: [] }],
  [
    'a nested claim',
    { a: { projects: ['x'], realm_access: { roles: ['producer'] } } },
    { oidcRolesClaim: 'realm_access.roles' },
    { roles: ['producer'] },
  ],
];

test.each(claims)('[A26] %s in the claims become projects and roles', async (_name, accounts, options, expected) => {
  for (const areClaimsInIdToken of [false, true]) {
    const world = await openWorld({ accounts: accounts as never, areClaimsInIdToken }, options);
    const { browser } = await signIn(world, undefined, 'a');
    expect((await me(world, browser)).data).toMatchObject({ sub: 'a', ...expected });
  }
});

test.each(['server', 'SYSTEM', 'x\u0007y'])('[A26] a subject that is no user id signs nobody in: %j', async (sub) => {
  const world = await openWorld({ accounts: { [sub]: { projects: ['demo'], roles: ['viewer'] } } });
  const { location } = await signIn(world, undefined, sub);
  expect(location).toMatch(/^\/sign-in\?reason=provider&code=/);
});

test('[A27] programs send tokens beside OpenID Connect, and with OpenID Connect alone no token is valid', async () => {
  const world = await openWorld();
  const headers = { authorization: `Bearer ${await tokenFor()}` };
  expect((await fetch(`${world.server.url}/trpc/auth.me`, { headers })).status).toBe(200);
  const alone = await openWorld({}, { authSecret: undefined });
  expect((await fetch(`${alone.server.url}/trpc/auth.me`, { headers })).status).toBe(401);
  const { browser } = await signIn(alone);
  expect((await me(alone, browser)).data).toMatchObject({ mode: 'oidc' });
});

test('[A27] auth.modes states the ways to sign in to anybody, and nothing else is answered with it', async () => {
  const world = await openWorld();
  const ask = (path: string) => fetch(`${world.server.url}/trpc/${path}`);
  const modes = async () => ((await (await ask('auth.modes')).json()) as { result: { data: object } }).result.data;
  expect(await modes()).toEqual({
    modes: ['oidc', 'secret'],
    provider: new URL(world.provider.issuer).host,
  });
  await signIn(world);
  const { signOutUrl } = (await modes()) as { signOutUrl: string };
  expect(signOutUrl).toBe(`${world.provider.issuer}/session/end?client_id=runwire-app`);
  // Each call of a batch needs its own token.
  for (const [path, code] of [
    ['auth.modes,auth.me', 401],
    ['auth.me,auth.modes', 401],
    ['auth.modes,run.list', 401],
  ] as const) {
    const answers = (await (await ask(`${path}?batch=1`)).json()) as { error?: { data: { httpStatus: number } } }[];
    expect(answers.map(({ error }) => error?.data.httpStatus).filter(Boolean), path).toEqual([code]);
  }
  expect((await ask('auth.me')).status).toBe(401);
  const plain = await startServer();
  onTestFinished(() => plain.close());
  const answer = (await (await fetch(`${plain.url}/trpc/auth.modes`)).json()) as { result: { data: object } };
  expect(answer.result.data).toMatchObject({ modes: ['secret'] });
  expect((await fetch(`${plain.url}/auth/login`)).status).toBe(404);
});

test('[A28] requests that cause requests to the provider are limited by address', async () => {
  const world = await openWorld();
  const statuses = new Set<number>();
  for (let count = 0; count < 150; count++) {
    const { status } = await fetch(`${world.server.url}/auth/callback?state=x`, { redirect: 'manual' });
    statuses.add(status);
  }
  expect([...statuses].sort()).toEqual([303, 429]);
  expect(world.provider.requests).toEqual([]);
});

test('[A28] a browser keeps few sign-ins that were not finished', async () => {
  const world = await openWorld();
  const browser = new Browser();
  for (let count = 0; count < 12; count++) await browser.send(`${world.server.url}/auth/login`);
  expect(browser.cookies.get(world.server.url)?.size).toBeLessThanOrEqual(6);
  await signIn(world, browser);
});

test('[A22] a backup has no sessions', async () => {
  using folder = temporaryFolder();
  const world = await openWorld({}, { databaseUrl: `file:${folder.path}/runwire.db` });
  await signIn(world);
  backupSqliteFile(`${folder.path}/runwire.db`, `${folder.path}/backup.db`);
  restoreSqliteFile(`${folder.path}/backup.db`, `${folder.path}/new/runwire.db`);
  await using restored = await startServer({ databaseUrl: `file:${folder.path}/new/runwire.db` });
  expect(await restored.log.sessions.all()).toEqual([]);
  expect(await world.server.log.sessions.all()).toHaveLength(1);
});

test.each([
  [{ oidcClientId: 'a', oidcClientSecret: 'b' }, 'oidcIssuer'],
  [{ oidcIssuer: 'https://id.example.org', oidcClientSecret: 'b' }, 'oidcClientId'],
  [{ oidcIssuer: 'https://id.example.org', oidcClientId: 'a' }, 'oidcClientSecret'],
  [{ oidcRolesClaim: 'groups' }, 'oidcIssuer'],
  [{ oidcIssuer: 'http://CANARY.example.org', oidcClientId: 'a', oidcClientSecret: 'b' }, 'oidcIssuer'],
  [{ oidcIssuer: 'https://u:CANARY@id.example.org', oidcClientId: 'a', oidcClientSecret: 'b' }, 'oidcIssuer'],
  [
    { oidcIssuer: 'https://id.example.org', oidcClientId: 'a', oidcClientSecret: 'b', oidcScopes: 'CANARY' },
    'oidcScopes',
  ],
  [
    {
      oidcIssuer: 'https://id.example.org',
      oidcClientId: 'a',
      oidcClientSecret: 'b',
      authSecret: undefined,
      authenticate: async () => ({ sub: 'a', projects: [], roles: [] }),
    },
    'oidcIssuer',
  ],
])('[A27] options that do not belong together are refused by name at the start: %#', async (options, path) => {
  await expect(startServer(options)).rejects.toMatchObject({
    code: 'INVALID_INPUT',
    path,
    message: expect.not.stringContaining('CANARY'),
  });
});
