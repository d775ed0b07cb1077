import { get } from 'node:http';
import { DatabaseSync } from '@photostructure/sqlite';
import { expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { AccessLogger } from '../../server/audit/access-logger.ts';
import type { Principal } from '../../server/auth/principal.ts';
import { Health } from '../../server/health.ts';
import type { AccessEntry } from '../../shared/audit.ts';
import {
  created,
  everyone,
  isLive,
  keptLog,
  openServer,
  progress,
  startServer,
  temporaryFolder,
  tokenFor,
  Wire,
} from '../support/harness.ts';

const admin: Principal = { sub: 'auditor', projects: ['*'], roles: ['admin'] };
type Server = Awaited<ReturnType<typeof openServer>>;

async function serve(options: Parameters<typeof startServer>[0] = {}) {
  const server = await startServer(options);
  onTestFinished(() => server.close());
  return server;
}

/** The entries, oldest first, without the time and without the auditor's own. */
async function recordOf(server: Pick<Server, 'router'>, query: object = {}): Promise<Omit<AccessEntry, 'at'>[]> {
  const caller = server.router.createCaller({ principal: admin });
  const { entries } = await caller.audit.access({ limit: 500, ...query });
  return entries
    .filter(({ sub }) => sub !== admin.sub)
    .reverse()
    .map(({ at, ...entry }) => {
      expect(Math.abs(Date.now() - Date.parse(at))).toBeLessThan(60_000);
      return entry;
    });
}

/** Makes writes to the table fail until the returned function is called. */
function breakRecord(path: string): () => void {
  const db = new DatabaseSync(path);
  db.exec('ALTER TABLE access RENAME TO hidden');
  return () => {
    db.exec('ALTER TABLE hidden RENAME TO access');
    db.close();
  };
}

const ok = { outcome: 'ok', count: 1 };

test('[R13] every subscribe, resume, read, search, export and decision is recorded over every transport', async () => {
  const server = await serve();
  await server.bus.publish([created('r1', { name: 'Nightly' }), progress('r1', 5)], { actor: 'ci' });
  const token = await tokenFor({ sub: 'ann' });
  const headers = { authorization: `Bearer ${token}` };
  await using wire = await Wire.open(server.url, { token });
  const live = wire.subscribe('onRunEvent', { runId: 'r1' });
  await live.until(isLive);
  const cursor = live.tracked.at(-1)?.id as string;
  const again = wire.subscribe('onRunEvent', { runId: 'r1', projectId: 'demo' }, cursor);
  await again.until(isLive);
  await wire.call('query', 'run.get', { runId: 'r1' });
  await wire.call('query', 'event.search', { text: 'nightly', projectId: 'demo' });
  await wire.call('query', 'auth.me');
  await fetch(`${server.url}/trpc/run.list?input=${encodeURIComponent('{"projectId":"demo"}')}`, { headers });
  await (await fetch(`${server.url}/api/v1/export?format=csv&projectId=demo`, { headers })).text();
  const sse = await fetch(`${server.url}/trpc/onProjectEvent?input=${encodeURIComponent('{"projectId":"demo"}')}`, {
    headers: { ...headers, accept: 'text/event-stream' },
  });
  await sse.body?.cancel();
  const ask = { projectId: 'demo', runId: 'r1', approvalId: 'a1', title: 'Release' };
  await server.broadcaster.broadcastGovernanceRequired(ask);
  await wire.call('mutation', 'approval.grant', { runId: 'r1', approvalId: 'a1', comment: 'private words' });
  await wire.call('mutation', 'event.publish', { events: [progress('r1', 9)] });
  await server.router.createCaller({ principal: { ...everyone, sub: 'job' } }).run.history({ runId: 'r1' });
  const ann = { sub: 'ann', ...ok };
  const run = { projectId: 'demo', runId: 'r1' };
  expect(await recordOf(server)).toEqual([
    { ...ann, action: 'onRunEvent', ...run, via: 'ws' },
    { ...ann, action: 'onRunEvent', ...run, via: 'ws', detail: 'resume' },
    { ...ann, action: 'run.get', ...run, via: 'ws' },
    { ...ann, action: 'event.search', projectId: 'demo', via: 'ws' },
    { ...ann, action: 'run.list', projectId: 'demo', via: 'http' },
    { ...ann, action: 'event.export', projectId: 'demo', via: 'http', detail: 'csv' },
    { ...ann, action: 'onProjectEvent', projectId: 'demo', via: 'sse' },
    { ...ann, action: 'approval.grant', ...run, via: 'ws' },
    { sub: 'job', ...ok, action: 'run.history', ...run, via: 'caller' },
  ]);
});

test('[R14] refused tokens, origins, roles, projects and absent runs are recorded', async () => {
  const server = await serve({ logger: keptLog().logger });
  await server.bus.publish([created('r1'), created('r2', { projectId: 'other' })], { actor: 'ci' });
  const token = await tokenFor({ sub: 'eve', projects: ['demo'], roles: ['viewer'] });
  const headers = { authorization: `Bearer ${token}` };
  const get = async (path: string, init: object = { headers }) =>
    void (await (await fetch(`${server.url}${path}`, init)).text());
  await (await Wire.open(server.url, { token: 'forged' })).closed;
  const revoked = await tokenFor({ sub: 'mal' });
  await server.router.createCaller({ principal: everyone }).auth.revoke({ sub: 'mal' });
  await (await Wire.open(server.url, { token: revoked })).closed;
  for (const path of ['/trpc/run.list', '/api/v1/export']) {
    await get(path, { headers: { authorization: `Bearer ${revoked}` } });
  }
  const origin = 'https://evil.example';
  await new Promise((resolve) =>
    new WebSocket(`${server.url.replace('http', 'ws')}/ws`, { origin }).on('error', resolve),
  );
  await get('/trpc/run.list', {});
  await get('/api/v1/export', { headers: { authorization: 'Bearer nonsense' } });
  await get('/api/v1/export', { headers: { ...headers, origin } });
  await get('/api/v1/events', {
    method: 'POST',
    headers,
    body: '{"type":"run.created","projectId":"demo","runId":"r9","name":"n"}',
  });
  await get('/login?token=forged');
  await get('/api/v1/nothing');
  await using wire = await Wire.open(server.url, { token });
  await wire.call('query', 'server.stats');
  await wire.call('query', 'run.get', { runId: 'r2' });
  await wire.call('query', 'run.get', { runId: 'unheard-of', projectId: 'other' });
  await wire.call('query', 'event.search', { projectId: 'other' });
  await wire.call('query', 'run.list', { limit: 'x', projectId: 'a b' });
  await wire.subscribe('onRunEvent', { runId: 'r2' }).until(isLive);
  const nobody = { sub: null, count: 1 };
  const eve = { sub: 'eve', count: 1, via: 'ws' };
  expect(await recordOf(server)).toEqual([
    { ...nobody, action: 'connect', via: 'ws', outcome: 'UNAUTHENTICATED' },
    { sub: 'ada', count: 1, action: 'auth.revoke', via: 'caller', outcome: 'ok' },
    { sub: 'mal', count: 1, action: 'connect', via: 'ws', outcome: 'UNAUTHENTICATED' },
    { sub: 'mal', count: 1, action: 'connect', via: 'http', outcome: 'UNAUTHENTICATED' },
    { sub: 'mal', count: 1, action: 'event.export', via: 'http', outcome: 'UNAUTHENTICATED' },
    { ...nobody, action: 'connect', via: 'ws', outcome: 'FORBIDDEN', detail: 'origin' },
    { ...nobody, action: 'connect', via: 'http', outcome: 'UNAUTHENTICATED' },
    { ...nobody, action: 'event.export', via: 'http', outcome: 'UNAUTHENTICATED' },
    { ...nobody, action: 'event.export', via: 'http', outcome: 'FORBIDDEN', detail: 'origin' },
    { ...eve, via: 'http', action: 'event.publish', outcome: 'FORBIDDEN' },
    { ...nobody, action: 'login', via: 'http', outcome: 'UNAUTHENTICATED' },
    { ...eve, action: 'server.stats', outcome: 'FORBIDDEN' },
    { ...eve, action: 'run.get', runId: 'r2', outcome: 'RUN_NOT_FOUND' },
    { ...eve, action: 'run.get', runId: 'unheard-of', projectId: 'other', outcome: 'RUN_NOT_FOUND' },
    { ...eve, action: 'event.search', projectId: 'other', outcome: 'FORBIDDEN' },
    { ...eve, action: 'run.list', outcome: 'INVALID_INPUT' },
    { ...eve, action: 'onRunEvent', runId: 'r2', outcome: 'RUN_NOT_FOUND' },
  ]);
});

test('[R14] a request and a socket for a foreign host name are recorded', async () => {
  const server = await serve({ onlyLocalHosts: true });
  const headers = { host: 'rebound.example' };
  await new Promise((resolve) =>
    new WebSocket(`${server.url.replace('http', 'ws')}/ws`, { headers }).on('error', resolve),
  );
  await new Promise((resolve) =>
    get(`${server.url}/api/v1/export`, { headers }, (answer) => answer.resume().on('end', resolve)),
  );
  const refused = { sub: null, outcome: 'FORBIDDEN', detail: 'origin', count: 1 };
  expect(await recordOf(server)).toEqual([
    { ...refused, action: 'connect', via: 'ws' },
    { ...refused, action: 'event.export', via: 'http' },
  ]);
});

test('[R14] search texts, comments and tokens are not recorded', async () => {
  using folder = temporaryFolder();
  const path = `${folder.path}/runwire.db`;
  const server = await startServer({ databaseUrl: `file:${path}` });
  await server.bus.publish([created('r1')], { actor: 'ci' });
  const token = await tokenFor({ sub: 'ann' });
  await using wire = await Wire.open(server.url, { token });
  await wire.call('query', 'event.search', { text: 'zebrasecret', types: ['run.created'] });
  await wire.call('mutation', 'approval.deny', { runId: 'r1', approvalId: 'none', reason: 'zebrasecret' });
  await wire.call('query', 'run.get', { runId: 'zebra secret' });
  await wire.call('mutation', 'auth.refresh', { token: `${token}x` });
  await (
    await fetch(`${server.url}/api/v1/export?secret=zebrasecret`, { headers: { authorization: `Bearer ${token}` } })
  ).text();
  await server.close();
  const db = new DatabaseSync(path);
  const rows = db.prepare('SELECT * FROM access ORDER BY id').all();
  db.close();
  expect(rows.map((row) => (row as { action: string }).action)).toEqual([
    'event.search',
    'approval.deny',
    'run.get',
    'auth.refresh',
    'event.export',
  ]);
  expect(JSON.stringify(rows)).not.toMatch(/zebra|eyJ/);
});

test('[R15] equal accesses within a batch are one entry with a count, and refusals are rate-limited', async () => {
  const server = await openServer();
  onTestFinished(() => server.close());
  const { log } = server;
  const recorder = new AccessLogger({ log, health: new Health(keptLog().logger), isRefused: () => false });
  const record = (fields: Partial<Parameters<AccessLogger['record']>[0]>) =>
    recorder.record({ principal: everyone, action: 'run.get', via: 'http', outcome: 'ok', ...fields });
  for (let index = 0; index < 500; index++) record({ projectId: 'demo' });
  for (let index = 0; index < 5_000; index++) record({ principal: undefined, outcome: 'UNAUTHENTICATED' });
  for (let index = 0; index < 5_000; index++) record({ projectId: `p${index}`, outcome: 'FORBIDDEN' });
  for (let index = 0; index < 5_000; index++) record({ projectId: 'demo', runId: `r${index}` });
  const page = async (query: object) => (await recorder.list({ projects: 'all', limit: 5_000, ...query })).entries;
  expect((await page({ projectId: 'demo', action: 'run.get' })).at(-1)).toMatchObject({ count: 500 });
  expect(await page({ outcome: 'UNAUTHENTICATED' })).toMatchObject([{ sub: null, count: 5_000 }]);
  const forbidden = await page({ outcome: 'FORBIDDEN' });
  expect(forbidden.length).toBeLessThan(150);
  expect(forbidden.reduce((sum, { count }) => sum + count, 0)).toBe(5_000);
  const all = await page({});
  expect(all.length).toBeLessThan(1_010);
  expect(all.reduce((sum, { count }) => sum + count, 0)).toBe(15_500);
  expect(all.filter(({ action }) => action === 'rest')).toMatchObject([{ sub: null, outcome: 'ok' }]);
  await recorder.close();
});

test('[R15] ids that name no run are few in the record, and each access is counted', async () => {
  const server = await serve();
  await server.bus.publish([created('r1')], { actor: 'ci' });
  const caller = server.router.createCaller({ principal: { sub: 'ann', projects: ['demo'], roles: ['viewer'] } });
  for (let index = 0; index < 900; index++) {
    const run = index % 2 ? { projectId: 'demo' } : {};
    await caller.event.search({ ...run, runId: `invented-${index}` });
  }
  await caller.event.search({ runId: 'r1' });
  const entries = await recordOf(server);
  const invented = entries.filter(({ outcome }) => outcome === 'RUN_NOT_FOUND');
  expect(invented.reduce((sum, { count }) => sum + count, 0)).toBe(900);
  expect(invented.length).toBeLessThan(400);
  expect(entries.at(-1)).toMatchObject({ projectId: 'demo', runId: 'r1', outcome: 'ok' });
});

test('[R15] a user has a most of entries in a day, and the record has the number of accesses beyond it', async () => {
  vi.useFakeTimers({ toFake: ['Date'] }); // The day does not end meanwhile.
  onTestFinished(() => void vi.useRealTimers());
  const { log } = await serve();
  const access = new AccessLogger({ log, health: new Health(keptLog().logger), isRefused: () => false });
  const ann: Principal = { sub: 'ann', projects: ['demo'], roles: ['viewer'] };
  const record = (principal: Principal, action: string) =>
    access.record({ principal, action, via: 'http', outcome: 'ok', projectId: 'demo' });
  for (let batch = 0; batch < 52; batch++) {
    for (let index = 0; index < 1_000; index++) record(ann, `a${batch < 50 ? batch * 1_000 + index : index % 10}`);
    await access.list({ projects: 'all', limit: 1 });
  }
  record({ ...ann, sub: 'bob' }, 'run.get');
  const { entries } = await access.list({ projects: 'all', limit: 100 });
  expect(entries[0]).toMatchObject({ sub: 'bob', projectId: 'demo' });
  const beyond = entries.filter(({ detail }) => detail === 'limit');
  expect(beyond).toHaveLength(20);
  expect(beyond.reduce((sum, { count }) => sum + count, 0)).toBe(2_000);
  expect(beyond[0]).toMatchObject({ sub: 'ann', action: expect.any(String) });
  expect(beyond[0]).not.toHaveProperty('projectId');
});

test('[R15] a write that is tried again and again counts once against the entries of a day', async () => {
  using folder = temporaryFolder();
  const path = `${folder.path}/runwire.db`;
  const server = await serve({ databaseUrl: `file:${path}` });
  const access = new AccessLogger({ ...server, health: new Health(keptLog().logger), isRefused: () => false });
  const ann: Principal = { sub: 'ann', projects: ['demo'], roles: ['viewer'] };
  const repair = breakRecord(path);
  for (let index = 0; index < 250; index++) {
    access.record({ principal: ann, action: `a${index}`, via: 'http', outcome: 'ok', projectId: 'demo' });
  }
  for (let attempt = 0; attempt < 201; attempt++) {
    await expect(access.list({ projects: 'all', limit: 1 })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  }
  repair();
  const { entries } = await access.list({ projects: 'all', limit: 500 });
  expect(entries.filter(({ sub, projectId }) => sub === 'ann' && projectId === 'demo')).toHaveLength(250);
  await server.close();
});

test('[R15] accesses are written by a timer, and the rest when the server closes', async () => {
  using folder = temporaryFolder();
  const path = `${folder.path}/runwire.db`;
  const server = await startServer({ databaseUrl: `file:${path}` });
  const caller = server.router.createCaller({ principal: everyone });
  await caller.run.list();
  const db = new DatabaseSync(path);
  const count = () => (db.prepare('SELECT count(*) AS count FROM access').get() as { count: number }).count;
  expect(count()).toBe(0);
  await expect.poll(count).toBe(1);
  await caller.run.list({ projectId: 'demo' });
  await server.close();
  expect(count()).toBe(2);
  db.close();
});

test('[R15] a failed write is logged, counted and retried, and no reader notices it', async () => {
  using folder = temporaryFolder();
  const path = `${folder.path}/runwire.db`;
  const { logger, lines } = keptLog();
  const server = await startServer({ databaseUrl: `file:${path}`, logger });
  await using _closing = server;
  await server.bus.publish([created('r1')], { actor: 'ci' });
  const repair = breakRecord(path);
  const caller = server.router.createCaller({ principal: everyone });
  expect((await caller.run.get({ runId: 'r1' })).run.name).toBe('Run r1');
  await expect.poll(() => lines.some((line) => line.includes('cannot write the access log'))).toBe(true);
  expect(await server.metrics.getSingleMetricAsString('runwire_access_record_failures_total')).toMatch(/ [1-9]\d*$/m);
  await caller.run.get({ runId: 'r1' });
  expect((await server.bus.publish([created('r2')], { actor: 'ci' })).accepted).toBe(1);
  repair();
  expect(await recordOf(server)).toEqual([
    { sub: 'ada', action: 'run.get', projectId: 'demo', runId: 'r1', via: 'caller', outcome: 'ok', count: 2 },
  ]);
});

test('[R13] [R16] an erasure is recorded under its project and run, without its reason', async () => {
  const server = await serve();
  await server.bus.publish([created('r1')], { actor: 'ci' });
  const demo = server.router.createCaller({ principal: { sub: 'ann', projects: ['demo'], roles: ['admin'] } });
  await demo.audit.erase({ seq: 1, reason: 'asked for' });
  expect((await demo.audit.access()).entries).toEqual([
    {
      at: expect.any(String),
      sub: 'ann',
      action: 'audit.erase',
      projectId: 'demo',
      runId: 'r1',
      outcome: 'ok',
      via: 'caller',
      count: 1,
    },
  ]);
});

test('[R16] audit.access returns an admin the entries of the projects of the token; entries without a project need all projects', async () => {
  const server = await serve();
  await server.bus.publish([created('r1'), created('r2', { projectId: 'other' })], { actor: 'ci' });
  const as = (principal: Partial<Principal>) =>
    server.router.createCaller({ principal: { ...everyone, ...principal } });
  await as({ sub: 'ann' }).run.get({ runId: 'r1' });
  await as({ sub: 'ann' }).run.get({ runId: 'r2' });
  await as({ sub: 'bob' }).run.list();
  await fetch(`${server.url}/trpc/run.list`);
  const demo = as({ sub: 'admin', projects: ['demo'], roles: ['admin'] });
  expect((await demo.audit.access()).entries).toMatchObject([{ sub: 'ann', runId: 'r1', projectId: 'demo' }]);
  expect((await demo.audit.access({ projectId: 'other' })).entries).toEqual([]);
  expect(await recordOf(server, { outcome: 'UNAUTHENTICATED' })).toMatchObject([{ sub: null }]);
  expect(await recordOf(server, { action: 'run.list', sub: 'bob' })).toMatchObject([{ sub: 'bob' }]);
  const first = await as(admin).audit.access({ limit: 1, sub: 'ann' });
  const second = await as(admin).audit.access({ limit: 1, sub: 'ann', cursor: first.nextCursor });
  expect([first, second].map(({ entries }) => entries.map(({ runId }) => runId))).toEqual([['r2'], ['r1']]);
  for (const roles of [['viewer'], ['approver'], ['producer']] as const) {
    await expect(as({ roles }).audit.access()).rejects.toMatchObject({ cause: { code: 'FORBIDDEN' } });
  }
});
