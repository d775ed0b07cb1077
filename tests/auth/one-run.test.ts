import { expect, test } from 'vitest';
import { Approvals } from '../../server/approvals/approvals.ts';
import type { Principal } from '../../server/auth/principal.ts';
import { signToken } from '../../server/auth/tokens.ts';
import type { RunEventDraft } from '../../shared/events.ts';
import { created, everyone, isLive, progress, secret, startServer, tokenFor, Wire } from '../support/harness.ts';

/** Tokens of one run. tests/auth/authorisation.test.ts has every procedure and route. */

const ofRun = { projects: ['demo'], runId: 'r1' };
const publisher = { actor: 'ci' };
const required = (runId: string): RunEventDraft => ({
  type: 'governance.required',
  projectId: 'demo',
  runId,
  approvalId: 'a1',
  title: 'Release',
});

test('[A51] runId needs exactly one project: other claims are refused, by signToken too, and auth.me states it', async () => {
  await using server = await startServer();
  const me = async (token: string) => {
    const answer = await fetch(`${server.url}/trpc/auth.me`, { headers: { authorization: `Bearer ${token}` } });
    return { status: answer.status, text: await answer.text() };
  };
  const one = await me(await tokenFor(ofRun));
  expect(JSON.parse(one.text)).toMatchObject({ result: { data: { sub: 'ada', projects: ['demo'], runId: 'r1' } } });
  const whole = await me(await tokenFor({ projects: ['demo'] }));
  expect(whole.text).not.toContain('runId');
  for (const projects of [[], ['*'], ['demo', 'trials']]) {
    const claims = { sub: 'ada', projects, roles: ['viewer' as const], ttlSeconds: 60, runId: 'r1' };
    await expect(signToken({ secret }, claims)).rejects.toMatchObject({ code: 'INVALID_INPUT', path: 'runId' });
  }
  const made: object[] = [
    { ...everyone, runId: 'r1' },
    { ...everyone, projects: ['demo'], runId: '*' },
  ];
  await using own = await startServer({
    authSecret: undefined,
    authenticate: async (token) => made[Number(token)] as Principal,
  });
  for (const token of made.keys()) {
    const headers = { authorization: `Bearer ${token}` };
    expect((await fetch(`${own.url}/trpc/auth.me`, { headers })).status).toBe(401);
  }
});

test('[A52] readers of one socket group receive each what their own token covers', async () => {
  await using server = await startServer();
  await using whole = await Wire.open(server.url, { token: await tokenFor({ projects: ['demo'] }) });
  await using one = await Wire.open(server.url, { token: await tokenFor(ofRun) });
  const asked = [whole, one].map((wire) => wire.subscribe('onEvent'));
  for (const reader of asked) await reader.until(isLive);
  await server.bus.publish([created('r2'), created('r1')], publisher);
  for (const reader of asked) await reader.until((item) => 'runId' in item && item.runId === 'r1');
  const runs = asked.map(({ items }) => items.flatMap((item) => ('runId' in item ? [item.runId] : [])));
  expect(runs).toEqual([['r2', 'r1'], ['r1']]);
});

test('[A52] a token of one run that replaces a wider one ends subscriptions to other runs and is a gap for all events', async () => {
  await using server = await startServer();
  await server.bus.publish([created('r1'), created('r2')], publisher);
  await using wire = await Wire.open(server.url, { token: await tokenFor({ projects: ['demo'] }) });
  const all = wire.subscribe('onEvent', { from: 'start' });
  const other = wire.subscribe('onRunEvent', { projectId: 'demo', runId: 'r2' });
  const same = wire.subscribe('onRunEvent', { projectId: 'demo', runId: 'r1' });
  for (const reader of [all, other, same]) await reader.until(isLive);
  await wire.call('mutation', 'auth.refresh', { token: await tokenFor(ofRun) });
  await all.until((item) => item.type === 'stream.gap');
  expect((await other.error()).data.runwireCode).toBe('FORBIDDEN');
  await server.bus.publish([progress('r2', 1), progress('r1', 2)], publisher);
  for (const reader of [all, same]) {
    const items = await reader.until((item) => item.type === 'stage.progress');
    expect(items.filter(({ type }) => type === 'stage.progress')).toMatchObject([{ runId: 'r1' }]);
  }
  expect(same.items.some(({ type }) => type === 'stream.gap')).toBe(false);
  // A wider token is a gap: earlier events are readable now.
  await wire.call('mutation', 'auth.refresh', { token: await tokenFor({ projects: ['demo'] }) });
  await wire.until(() => all.items.filter(({ type }) => type === 'stream.gap').length === 2);
});

test('[A52] a decision is refused in another run, whichever way it is made', async () => {
  await using server = await startServer();
  await server.bus.publish([created('r1'), created('r2'), required('r1'), required('r2')], publisher);
  const principal: Principal = { sub: 'bo', roles: ['approver'], ...ofRun };
  const key = (runId: string) => ({ projectId: 'demo', runId, approvalId: 'a1' });
  const approvals = new Approvals({ log: server.log, bus: server.bus });
  await expect(approvals.grant(principal, key('r2'))).rejects.toMatchObject({ code: 'NOT_ALLOWED_TO_DECIDE' });
  const { approval } = server.router.createCaller({ principal });
  await expect(approval.grant(key('r2'))).rejects.toMatchObject({ cause: { code: 'RUN_NOT_FOUND' } });
  expect(await approval.grant(key('r1'))).toMatchObject({ status: 'granted' });
});

test('[A52] an event of another run cannot be read by its id or position, nor published to', async () => {
  await using server = await startServer();
  const drafts = ['r1', 'r2'].map((runId) => ({ ...created(runId), eventId: `event-${runId}` }) as RunEventDraft);
  await server.bus.publish(drafts, publisher);
  const { event } = server.router.createCaller({ principal: { sub: 'bo', roles: ['viewer', 'producer'], ...ofRun } });
  for (const input of [{ seq: 1 }, { projectId: 'demo', eventId: 'event-r1' }]) {
    expect(await event.get(input)).toMatchObject({ runId: 'r1' });
  }
  for (const input of [{ seq: 2 }, { projectId: 'demo', eventId: 'event-r2' }]) {
    await expect(event.get(input)).rejects.toMatchObject({ cause: { code: 'EVENT_NOT_FOUND' } });
  }
  const mixed = event.publish({ events: [progress('r1', 1), progress('r2', 1)] });
  await expect(mixed).rejects.toMatchObject({ cause: { code: 'FORBIDDEN', path: 'events.1.runId' } });
  expect(server.log.head).toBe(2);
});

test('[A50] lists hold the run of the token, its approvals and their counts, and no other run of the project', async () => {
  await using server = await startServer();
  await server.bus.publish([created('r1'), required('r1'), created('r2'), required('r2')], publisher);
  const { run, approval } = server.router.createCaller({ principal: { sub: 'bo', roles: ['approver'], ...ofRun } });
  for (const projectId of [undefined, 'demo']) {
    expect((await run.list({ projectId, needsMyDecision: true })).runs).toMatchObject([{ runId: 'r1' }]);
    const page = await approval.list({ projectId, box: 'mine' });
    expect(page).toMatchObject({ approvals: [{ runId: 'r1', canDecide: true }], counts: { mine: 1, decided: 0 } });
  }
  expect((await run.list({ projectId: 'other' })).runs).toEqual([]);
  expect((await approval.list({ projectId: 'other' })).approvals).toEqual([]);
});

test.each([undefined, 'demo'])(
  '[A52] a live list of runs (project %s) is of the run alone once the token of one run has replaced a wider one, after a gap',
  async (projectId) => {
    await using server = await startServer();
    await server.bus.publish([created('r1'), created('r2')], publisher);
    await using wire = await Wire.open(server.url, { token: await tokenFor(ofRun) });
    const list = wire.subscribe('onRunSummary', { projectId, from: 'start' });
    const headers = () => list.items.flatMap((item) => ('runId' in item ? [item.runId] : []));
    await list.until(isLive);
    expect(headers()).toEqual(['r1']);
    await server.bus.publish([progress('r2', 1), progress('r1', 1)], publisher);
    await wire.until(() => headers().length === 2);
    expect(headers()).toEqual(['r1', 'r1']);
    const gaps = () => list.items.filter(({ type }) => type === 'stream.gap').length;
    await wire.call('mutation', 'auth.refresh', { token: await tokenFor({ projects: ['demo'] }) });
    await wire.until(() => gaps() === 1);
    await server.bus.publish([progress('r2', 2)], publisher);
    await wire.until(() => headers().includes('r2'));
    await wire.call('mutation', 'auth.refresh', { token: await tokenFor(ofRun) });
    await wire.until(() => gaps() === 2);
    const before = headers().length;
    await server.bus.publish([progress('r2', 3), progress('r1', 3)], publisher);
    await wire.until(() => headers().length > before);
    expect(headers().slice(before)).toEqual(['r1']);
  },
);

test('[A54] a producer of one run sends random event ids, and so cannot take the id of an event of another run', async () => {
  await using server = await startServer();
  const token = await tokenFor({ ...ofRun, roles: ['producer'] });
  const { event } = server.router.createCaller({ principal: { sub: 'eve', roles: ['producer'], ...ofRun } });
  const version5 = 'c4a760a8-dbcf-5254-a0d9-6a4474bd1b62';
  for (const eventId of ['r2-created', version5, 'ol:0:run:created']) {
    const draft = { ...created('r1'), eventId } as RunEventDraft;
    const refusal = { cause: { code: 'INVALID_EVENT', path: 'events.0.eventId' } };
    await expect(event.publish({ events: [draft] }), eventId).rejects.toMatchObject(refusal);
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const body = JSON.stringify([draft]);
    const answer = await fetch(`${server.url}/api/v1/events`, { method: 'POST', headers, body });
    expect([answer.status, await answer.text()]).toEqual([422, expect.stringContaining('events.0.eventId')]);
  }
  expect(server.log.head).toBe(0);
  const random = { ...created('r1'), eventId: crypto.randomUUID() } as RunEventDraft;
  expect(await event.publish({ events: [random] })).toMatchObject({ accepted: 1 });
  expect(await event.publish({ events: [random, progress('r1', 1)] })).toMatchObject({ accepted: 1, duplicates: 1 });
  // A producer of the project chooses its ids.
  const whole = server.router.createCaller({ principal: { sub: 'ci', roles: ['producer'], projects: ['demo'] } });
  const chosen = { ...created('r2'), eventId: 'r2-created' } as RunEventDraft;
  expect(await whole.event.publish({ events: [chosen] })).toMatchObject({ accepted: 1 });
});
