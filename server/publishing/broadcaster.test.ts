import { describe, expect, test } from 'vitest';
import { runwireEvents } from '../../shared/events.ts';
import { everyone, openServer } from '../../tests/support/harness.ts';
import { type Broadcast, RunEventBroadcaster } from './broadcaster.ts';

const run = { projectId: 'demo', runId: 'r1' };
const stage = { ...run, stageId: 's1' };
const approval = { ...run, approvalId: 'a1' };

const emitters: Record<string, (broadcaster: RunEventBroadcaster) => Promise<Broadcast>> = {
  'run.created': (it) => it.broadcastRunCreated({ ...run, name: 'One' }),
  'run.started': (it) => it.broadcastRunStarted(run),
  'run.completed': (it) => it.broadcastRunCompleted({ ...run, summary: 'done' }),
  'run.failed': (it) => it.broadcastRunFailed({ ...run, error: { message: 'broke' } }),
  'stage.started': (it) => it.broadcastStageStarted(stage),
  'stage.progress': (it) => it.broadcastStageProgress({ ...stage, progress: 50 }),
  'stage.completed': (it) => it.broadcastStageCompleted(stage),
  'stage.failed': (it) => it.broadcastStageFailed({ ...stage, error: { message: 'broke' } }),
  'artifact.created': (it) => it.broadcastArtifactCreated({ ...run, artifactId: 'f1', name: 'plot.svg' }),
  'governance.required': (it) => it.broadcastGovernanceRequired({ ...approval, title: 'Release' }),
  'approval.granted': (it) => it.broadcastApprovalGranted({ ...approval, decidedBy: 'eve' }),
  'approval.denied': (it) => it.broadcastApprovalDenied({ ...approval, decidedBy: 'eve', reason: 'no' }),
};

test('[B3] the broadcaster has a method for each of the original twelve types', () => {
  expect(Object.keys(runwireEvents)).toEqual(expect.arrayContaining(Object.keys(emitters)));
  const methods = Object.getOwnPropertyNames(RunEventBroadcaster.prototype).filter((name) =>
    name.startsWith('broadcast'),
  );
  expect(methods).toHaveLength(12);
});

describe.each(Object.entries(emitters))('%s', (type, emit) => {
  test('[B3] an event is published under its type, gets timestamp and id, and is durable when the call resolves', async () => {
    await using server = await openServer();
    const before = new Date().toISOString();
    const { seq, runSeq, eventId, ...rest } = await emit(server.broadcaster);
    expect(rest).toEqual({});
    const { records } = await server.log.read({ scope: { kind: 'all' }, after: 0, limit: 10 });
    expect(records).toHaveLength(1);
    expect(records[0]?.event).toMatchObject({ type, seq, runSeq, eventId, actor: 'server', ...run });
    expect([seq, runSeq]).toEqual([1, 1]);
    expect(eventId).toMatch(/^[0-9a-f-]{36}$/);
    const [{ timestamp }] = records.map((record) => record.event) as [{ timestamp: string }];
    expect(timestamp >= before && timestamp <= new Date().toISOString()).toBe(true);
  });
});

test('[B3] timestamp, event id and audience of the caller are kept, and so is the actor of the broadcaster', async () => {
  await using server = await openServer();
  const broadcaster = new RunEventBroadcaster(server.bus, { actor: 'scheduler' });
  const { eventId } = await broadcaster.broadcastRunStarted({
    ...run,
    eventId: 'mine',
    timestamp: '2026-01-02T03:04:05+01:00',
    audience: ['eve'],
  });
  expect(eventId).toBe('mine');
  const { events } = await server.router.createCaller({ principal: everyone }).run.history(run);
  expect(events[0]).toMatchObject({ timestamp: '2026-01-02T02:04:05.000Z', audience: ['eve'], actor: 'scheduler' });
});

test('[B3] two calls with the same event id resolve with the same position', async () => {
  await using server = await openServer();
  const first = await server.broadcaster.broadcastRunStarted({ ...run, eventId: 'e1' });
  expect(await server.broadcaster.broadcastRunStarted({ ...run, eventId: 'e1' })).toEqual(first);
  expect(server.log.head).toBe(1);
});

test('[B3] data is validated at run time, whatever its TypeScript type', async () => {
  await using server = await openServer();
  const wrong = { ...stage, progress: 101 };
  await expect(server.broadcaster.broadcastStageProgress(wrong)).rejects.toMatchObject({ code: 'INVALID_EVENT' });
  const typed = { ...run, type: 'run.failed' };
  await server.broadcaster.broadcastRunStarted(typed);
  const { records } = await server.log.read({ scope: { kind: 'all' }, after: 0, limit: 10 });
  expect(records.map((record) => record.type)).toEqual(['run.started']);
});

test('[B3] after the server has closed, calls reject with UNAVAILABLE', async () => {
  const server = await openServer();
  await server.close();
  await expect(server.broadcaster.broadcastRunStarted(run)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
});
