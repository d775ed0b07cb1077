import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import { createRunwireClient } from '../../client/index.ts';
import { WebSocketManager } from '../../server/compat/index.ts';
import type { AnyWebSocketEvent } from '../../shared/compat-events.ts';
import { runForAll, tokenOfClaims } from '../../shared/compat-names.ts';
import { secret, tokenFor, Wire } from '../support/harness.ts';
import { listening, notice, ofKeys, page, pages, start, until } from './former.ts';

/** `runwire/compat` on a real server. compat.browser.test.tsx has the hook. */

const here = new URL('.', import.meta.url).pathname;

vi.stubGlobal('WebSocket', WebSocket); // Node.js has one from version 22 on.
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});
test('[K10] the application of the former system differs from the one that runs here in its imports alone', () => {
  const files = readdirSync(`${here}old-app`, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.txt'),
  );
  expect(files).toHaveLength(3);
  const rest = (path: string) => readFileSync(path, 'utf8').replace(/^import[\s\S]*?from '.*';\n/gm, '');
  for (const file of files) {
    expect(rest(`${here}new-app/${file.replace(/\.txt$/, '')}`), file).toBe(rest(`${here}old-app/${file}`));
  }
});

test('[K11] a page of a run receives its twelve events in their former form and in order, and the run has its state', async () => {
  const { url, manager, broadcaster } = await start();
  const [own, other] = await pages(url, manager, [{ runId: 'r1', projectId: 'p1' }, { runId: 'r2' }], 5);
  const run = { runId: 'r1' };
  const stage = { ...run, stageId: 's1', stageName: 'Extract' };
  // Not awaited, as in the former system. Only the first event names the project.
  broadcaster.broadcastRunCreated({ ...run, projectId: 'p1', runName: 'Cohort', stageCount: 2, createdBy: 'ann' });
  broadcaster.broadcastRunStarted({ ...run, estimatedDuration: undefined });
  broadcaster.broadcastStageStarted({ ...stage, stageNumber: 1, totalStages: 2 });
  broadcaster.broadcastStageProgress({ ...stage, progress: 140, itemsProcessed: 3, itemsTotal: 4 });
  broadcaster.broadcastStageFailed({ ...run, stageId: 's2', errorCode: 'E1', retriesRemaining: 0 });
  broadcaster.broadcastStageCompleted({ ...stage, durationMs: 5 });
  broadcaster.broadcastArtifactCreated({ ...run, artifactId: 'a1', artifactName: 'table.csv', createdBy: 'ann' });
  broadcaster.broadcastGovernanceRequired({ ...run, governanceId: 'g1', governanceType: 'DATA_EXPORT' });
  broadcaster.broadcastApprovalGranted({ ...run, approvalId: 'x1', governanceId: 'g1', grantedBy: 'bob' });
  broadcaster.broadcastApprovalDenied({ ...run, approvalId: 'x2', governanceId: 'g2', deniedBy: 'bob', reason: 'no' });
  broadcaster.broadcastRunCompleted({ ...run, durationMs: 9, stagesCompleted: 1 });
  await broadcaster.broadcastRunFailed({ ...run, errorCode: 'LATE' });
  await until(() => expect(own?.messages).toHaveLength(12));

  const [created, started, , progress] = (own?.messages ?? []) as AnyWebSocketEvent[];
  const timestamp = expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/);
  const payload = { runId: 'r1', projectId: 'p1', runName: 'Cohort', stageCount: 2, createdBy: 'ann' };
  expect(created).toEqual({ type: 'run.created', timestamp, payload: { ...payload, createdAt: created?.timestamp } });
  expect(started).toEqual({ type: 'run.started', timestamp, payload: { ...run, startedAt: started?.timestamp } });
  expect(progress?.payload).toEqual({ ...stage, progress: 100, itemsProcessed: 3, itemsTotal: 4 });
  expect(own?.types()).toEqual([
    ...['run.created', 'run.started', 'stage.started', 'stage.progress', 'stage.failed', 'stage.completed'],
    ...['artifact.created', 'governance.required', 'approval.granted', 'approval.denied', 'run.completed'],
    'run.failed',
  ]);
  expect(other?.messages).toEqual([]);

  const { client, connection } = createRunwireClient({ url, token: tokenOfClaims({}), identity: 'anonymous' });
  onTestFinished(() => connection.close());
  const { run: view } = await client.run.get.query({ runId: 'r1' });
  expect(view).toMatchObject({ projectId: 'p1', name: 'Cohort', status: 'failed', createdBy: 'ann' });
  expect(view.stages).toMatchObject([
    { stageId: 's1', name: 'Extract', status: 'completed' },
    { stageId: 's2', status: 'failed', error: { message: 'E1', code: 'E1' } },
  ]);
  expect(view.artifacts).toMatchObject([{ name: 'table.csv' }]);
  expect(view.approvals).toMatchObject([{ approvalId: 'g1', status: 'granted', authority: 'producer' }]);
});

test('[K12] each way to send reaches the pages of its target alone', async () => {
  const { url, manager, broadcaster } = await start();
  await broadcaster.broadcastRunCreated({ runId: 'r1', projectId: 'p1' });
  const [run, project, everything, elsewhere] = await pages(
    url,
    manager,
    [
      { runId: 'r1', projectId: 'p1', userId: 'ann' },
      { projectId: 'p1' },
      { userId: 'ann' },
      { runId: 'r2', projectId: 'p2', userId: 'bob' },
    ],
    4 + 2 + 1 + 4,
  );
  await manager.broadcastToRun('r1', notice('to run'));
  await manager.broadcastToProject('p1', notice('to project'));
  await manager.broadcastToUser('ann', notice('to ann'));
  await manager.broadcastToUser('bob', notice('to bob'));
  await broadcaster.broadcastRunStarted({ runId: 'r1' });
  await manager.broadcastToAll(notice('to all'));
  const received: [typeof run, string[]][] = [
    [run, ['to run', 'to project', 'to ann', 'run.started', 'to all']],
    [project, ['to project', 'run.started', 'to all']],
    [everything, ['to project', 'to ann', 'run.started', 'to all']],
    [elsewhere, ['to bob', 'to all']],
  ];
  for (const [opened, expected] of received) {
    await until(() => expect(opened?.types().toSorted()).toEqual(expected.toSorted()));
  }
});

test('[K13] getStats counts connections, and shutdown closes them with 1001 and leaves the HTTP server to the application', async () => {
  const { httpServer, url, manager } = await start();
  const [opened] = await pages(url, manager, [{ runId: 'r1' }], 2);
  expect(manager.getStats()).toEqual({
    totalConnections: 1,
    authenticatedConnections: 1,
    subscriptions: new Map([['all', 2]]),
  });
  await using wire = await Wire.open(url, { token: tokenOfClaims({}) });
  await wire.call('query', 'auth.me');
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  manager.initialize(httpServer);
  expect(warned).toHaveBeenCalledWith('[WebSocketManager] already initialized');

  const sent = manager.broadcastToRun('r1', { ...notice('last'), payload: { projectId: 'p1' } });
  await manager.shutdown();
  await sent;
  expect(await wire.closed).toMatchObject({ code: 1001 });
  expect(await (await fetch(`${url}/trpc/auth.modes`)).text()).toBe("the application's 404");
  expect(manager.getStats()).toEqual({
    totalConnections: 0,
    authenticatedConnections: 0,
    subscriptions: new Map([['all', 0]]),
  });
  // Nobody is connected any more, and nothing fails.
  const stated = () => warned.mock.calls.flat().filter((line) => String(line).includes('events are dropped')).length;
  expect(stated()).toBe(0);
  for (const _ of [1, 2]) await manager.broadcastToAll(notice('after the end'));
  expect(stated()).toBe(1);
  await new WebSocketManager().broadcastToAll(notice('before the beginning'));
  expect(stated()).toBe(2);
  // The same HTTP server can be served again, and the page comes back.
  manager.initialize(httpServer);
  await until(() => expect(opened?.states.at(-1)).toBe('connected'));
});

test('[K14] without keys, only this machine connects: no other host, origin, or client of a proxy', async () => {
  const { url } = await start();
  const status = async (headers: Record<string, string>) => {
    const opened = Wire.open(url, { token: tokenOfClaims({ userId: 'ann' }), options: { headers } });
    const wire = await opened.catch((error: Error) => Number(/\d{3}/.exec(error.message)?.[0]));
    if (typeof wire === 'number') return wire;
    await using open = wire;
    const { result } = await open.call('query', 'auth.me');
    return (result?.data as { sub: string } | undefined)?.sub;
  };
  expect(await status({})).toBe('ann');
  expect(await status({ origin: 'http://localhost:3000' })).toBe('ann');
  expect(await status({ 'x-forwarded-for': '::1, 127.0.0.1' })).toBe('ann');
  expect(await status({ origin: 'https://evil.example' })).toBe(403);
  expect(await status({ host: 'runs.example.org' })).toBe(403);
  expect(await status({ 'x-forwarded-for': '203.0.113.9' })).toBe(403);
  expect(await status({ forwarded: 'for=127.0.0.1' })).toBe(403);
  expect(await status({ via: '1.1 proxy' })).toBe(403);
  expect(await status({ 'x-forwarded-host': 'localhost:3000' })).toBe('ann');
  expect(await status({ 'x-forwarded-host': 'runs.example.org' })).toBe(403);
  for (const name of ['x-real-ip', 'x-client-ip', 'x-cluster-client-ip', 'cf-connecting-ip', 'true-client-ip']) {
    expect(await status({ [name]: '127.0.0.1' }), name).toBe('ann');
    expect(await status({ [name]: '203.0.113.9' }), name).toBe(403);
  }
  for (const origin of ['null', 'file://', 'https://localhost.evil.example']) {
    expect(await status({ origin }), origin).toBe(403);
  }
});

test('[K14] without keys, a request of HTTP/1.0 is refused: a proxy speaks it that was not made for WebSockets', async () => {
  const { url } = await start();
  const answerTo = async (version: string) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.end(`GET /trpc/auth.modes HTTP/${version}\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    let text = '';
    for await (const chunk of socket) text += chunk;
    return Number(text.split(' ', 2)[1]);
  };
  expect(await answerTo('1.1')).toBe(200);
  expect(await answerTo('1.0')).toBe(403);
});

test('[K14] production without keys, and REDIS_URL without a shared log, are refused by name before the first request', async () => {
  const httpServer = await listening();
  const refused = (environment: Record<string, string>) => {
    for (const name of ofKeys) vi.stubEnv(name, environment[name]);
    return () => new WebSocketManager().initialize(httpServer);
  };
  expect(refused({ NODE_ENV: 'production' })).toThrow(/^in production, set AUTH_SECRET or AUTH_JWKS_URL/);
  expect(refused({ REDIS_URL: 'redis://localhost:6379' })).toThrow(/^REDIS_URL needs a DATABASE_URL/);
});

test('[K15] with AUTH_SECRET, a token is needed, and what is sent to a user is readable by this user alone', async () => {
  const { url, manager } = await start({ AUTH_SECRET: secret, NODE_ENV: 'production' });
  const claimed = await page(url, { userId: 'ann', runId: 'r1' });
  await until(() => expect(claimed.states.at(-1)).toBe('failed'));
  claimed.session.close();
  const token = (sub: string) => tokenFor({ sub, projects: ['p1'], roles: ['viewer', 'producer'] });
  const [ann, eve, bob] = await pages(
    url,
    manager,
    [
      { token: await token('ann'), userId: 'ann', runId: 'r1', projectId: 'p1' },
      { token: await token('eve'), userId: 'ann', runId: 'r1', projectId: 'p1' },
      { token: await token('bob'), userId: 'bob', runId: 'r1', projectId: 'p2' },
    ],
    12,
  );
  // A publisher on the network cannot send to a page in the name of the server.
  const { client, connection } = createRunwireClient({ url, token: await token('eve') });
  onTestFinished(() => connection.close());
  for (const run of [runForAll, { projectId: 'p1', runId: 'r1' }]) {
    const forged = { type: 'compat.message', ...run, event: notice('forged') };
    await client.event.publish.mutate({ events: [forged as never] });
  }
  await manager.broadcastToUser('ann', notice('to ann'));
  await manager.broadcastToProject('p1', notice('to project'));
  await manager.broadcastToAll(notice('to all'));
  for (const [opened, expected] of [
    [ann, ['to all', 'to ann', 'to project']],
    [eve, ['to all', 'to project']],
    [bob, ['to all']],
  ] as const) {
    await until(() => expect(opened?.types().toSorted()).toEqual(expected));
  }
});

test('[K16] an event that its run refuses is sent all the same, and one of an unknown run is refused and reported', async () => {
  const { url, manager, broadcaster } = await start();
  const [opened] = await pages(url, manager, [{ runId: 'r1' }], 2);
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  const reported = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const approval = { runId: 'r1', projectId: 'p1', approvalId: 'g1' };
  await broadcaster.broadcastGovernanceRequired({ ...approval, title: 'Export' });
  await broadcaster.broadcastGovernanceRequired({ ...approval, title: 'Another' });
  await broadcaster.broadcastStageStarted({ ...approval }); // It has no stage.
  await until(() => expect(opened?.types()).toEqual(['governance.required', 'governance.required', 'stage.started']));
  expect(warned.mock.calls.flat().join('\n')).toMatch(/sent, but not part of its run: APPROVAL_ID_TAKEN/);
  expect(warned.mock.calls.flat().join('\n')).toMatch(/sent, but not part of its run: INVALID_EVENT/);

  const unknown = broadcaster.broadcastStageProgress({ runId: 'r9', stageId: 's1', progress: 1 });
  await expect(unknown).rejects.toMatchObject({ code: 'RUN_NOT_FOUND' });
  await expect(manager.broadcastToRun('r9', notice('lost'))).rejects.toMatchObject({ code: 'RUN_NOT_FOUND' });
  expect(reported).toHaveBeenCalledTimes(2);
});

test('[K19] what is no event, and a target that is no id, is refused by name and reported, and reaches no page', async () => {
  const { url, manager, broadcaster } = await start();
  const [everything] = await pages(url, manager, [{}], 1);
  const warned = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
  const reported = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const loop: { self?: object } = {};
  loop.self = loop;
  const run = { runId: 'r1', projectId: 'p1' };
  const event = notice('to one');
  const any = (value: unknown) => value as never;
  const refused: [() => Promise<void>, string, string | undefined][] = [
    [() => manager.broadcastToAll(any(null)), 'INVALID_EVENT', undefined],
    [() => manager.broadcastToAll(any(undefined)), 'INVALID_EVENT', undefined],
    [() => manager.broadcastToAll({ ...event, payload: loop }), 'INVALID_EVENT', undefined],
    [() => manager.broadcastToAll({ ...event, payload: { n: 1n } }), 'INVALID_EVENT', undefined],
    [() => manager.broadcastToAll({ payload: {} }), 'INVALID_EVENT', 'type'],
    [() => manager.broadcastToAll({ type: 'notice' }), 'INVALID_EVENT', 'payload'],
    [() => manager.broadcastToProject('p1', { ...event, payload: [] }), 'INVALID_EVENT', 'payload'],
    [() => manager.broadcastToRun(any(17), event), 'INVALID_INPUT', 'runId'],
    [() => manager.broadcastToProject('a b', event), 'INVALID_INPUT', 'projectId'],
    [() => manager.broadcastToUser(any(undefined), event), 'INVALID_INPUT', 'userId'],
    [() => broadcaster.broadcastRunCreated(any(undefined)), 'INVALID_EVENT', 'payload'],
    [() => broadcaster.broadcastRunStarted({ ...run, runId: any(17) }), 'INVALID_EVENT', 'payload.runId'],
    [() => broadcaster.broadcastRunStarted({ ...run, projectId: 17 }), 'INVALID_EVENT', 'payload.projectId'],
  ];
  for (const [call, code, path] of refused) await expect(call()).rejects.toMatchObject({ code, path });
  expect(reported).toHaveBeenCalledTimes(refused.length);
  // The log refuses the event itself, and not only its part in the run: nothing was sent.
  const deep = (depth: number): object => (depth === 0 ? {} : { in: deep(depth - 1) });
  const tooDeep = broadcaster.broadcastRunStarted({ ...run, note: deep(200) });
  await expect(tooDeep).rejects.toMatchObject({ name: 'RunwireError' });
  expect(warned).not.toHaveBeenCalled();
  await manager.broadcastToAll(notice('last'));
  await until(() => expect(everything?.types()).toEqual(['last']));
});

test('[K11] [K19] a refused event names no project for its run, and an event that changes after the call is sent as it was', async () => {
  const { url, manager, broadcaster } = await start();
  const [own] = await pages(url, manager, [{ runId: 'r1', projectId: 'p1' }], 3);
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  await broadcaster.broadcastRunCreated({ runId: 'r1', projectId: 'p1', runName: 'Cohort' });
  const refused = broadcaster.broadcastRunStarted({ runId: 'r1', projectId: 'no id' });
  await expect(refused).rejects.toMatchObject({ code: 'INVALID_EVENT', path: 'payload.projectId' });
  await broadcaster.broadcastRunCompleted({ runId: 'r1' });
  const changing = { type: 'notice', payload: { projectId: 'p1' } };
  const sent = manager.broadcastToRun('r1', changing);
  changing.payload.projectId = 'p2';
  await sent;
  await until(() => expect(own?.types()).toEqual(['run.created', 'run.completed', 'notice']));
});

test('[K20] a log in memory that was lost in a restart is one loss for a page, and the page goes on', async () => {
  const { httpServer, url, manager } = await start();
  const [opened] = await pages(url, manager, [{ runId: 'r1', projectId: 'p1', userId: 'ann' }], 4);
  await manager.broadcastToAll(notice('before'));
  await until(() => expect(opened?.types()).toEqual(['before']));
  await manager.shutdown();
  const restarted = new WebSocketManager();
  restarted.initialize(httpServer);
  onTestFinished(() => restarted.shutdown());
  await until(() => expect(restarted.getStats().subscriptions.get('all')).toBe(4));
  await restarted.broadcastToAll(notice('after'));
  await until(() => expect(opened?.types()).toEqual(['before', 'after']));
  expect(opened?.losses).toEqual(['events were lost: the server has not kept them']);
});
