import { expect, onTestFinished, test } from 'vitest';
import type { RunEventDraft } from '../../shared/events.ts';
import { created, everyone, openServer } from '../support/harness.ts';

const draft = (runId: string, type: string, fields: object = {}) =>
  ({ projectId: 'demo', runId, type, ...fields }) as RunEventDraft;
const at = (minute: number) => ({ timestamp: new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString() });
const period = { since: '2026-01-01T00:00:00Z', until: '2026-01-01T01:00:00Z' };

async function serve() {
  const server = await openServer();
  onTestFinished(() => server.close());
  await server.bus.publish(
    [
      created('queued', at(0)),
      created('running', at(14)),
      draft('running', 'run.started', at(14)),
      created('waiting', at(15)),
      draft('waiting', 'governance.required', { approvalId: 'a', title: 'May it?' }),
      created('completed', at(29)),
      draft('completed', 'run.completed', at(29)),
      created('failed', { ...at(59), projectId: 'other' }),
      draft('failed', 'run.failed', { ...at(59), projectId: 'other', error: { message: 'no', code: 'EXIT_1' } }),
      created('cancelled', at(59)),
      draft('cancelled', 'run.failed', { ...at(59), error: { message: 'stopped', code: 'CANCELLED' } }),
      created('later', at(60)),
    ],
    { actor: 'ci' },
  );
  return { ...server, caller: server.router.createCaller({ principal: everyone }) };
}

test('[R25] run.activity counts the runs of each part of a period by status, and all open runs', async () => {
  const { caller } = await serve();
  expect(await caller.run.activity({ ...period, buckets: 4 })).toEqual({
    buckets: [{ created: 1, running: 1 }, { waiting: 1, completed: 1 }, {}, { failed: 1, cancelled: 1 }],
    open: { created: 2, running: 1, waiting: 1 },
    isComplete: true,
  });
  expect(await caller.run.activity({ ...period, projectId: 'other', buckets: 1 })).toEqual({
    buckets: [{ failed: 1 }],
    open: {},
    isComplete: true,
  });
  const empty = { since: period.until, until: period.since, buckets: 2 };
  expect((await caller.run.activity(empty)).buckets).toEqual([{}, {}]);
  await expect(caller.run.activity({ since: period.since, buckets: 0 })).rejects.toMatchObject({
    cause: { code: 'INVALID_INPUT', path: 'buckets' },
  });
});

test('[R25] run.activity counts the runs of readable projects only', async () => {
  const { router } = await serve();
  const of = (roles: 'viewer' | 'producer', projectId?: string) =>
    router
      .createCaller({ principal: { sub: 'ann', projects: ['other', 'none'], roles: [roles] } })
      .run.activity({ ...period, buckets: 1, projectId });
  expect(await of('viewer')).toEqual({ buckets: [{ failed: 1 }], open: {}, isComplete: true });
  expect(await of('viewer', 'demo')).toEqual({ buckets: [{}], open: {}, isComplete: true });
  expect(await of('producer')).toEqual({ buckets: [{}], open: {}, isComplete: true });
});

test('[R25] run.list with cancelled divides the failed runs', async () => {
  const { caller } = await serve();
  const of = async (filter: Parameters<typeof caller.run.list>[0]) =>
    (await caller.run.list(filter)).runs.map(({ runId }) => runId).sort();
  expect(await of({ status: ['failed'] })).toEqual(['cancelled', 'failed']);
  expect(await of({ status: ['failed'], cancelled: false })).toEqual(['failed']);
  expect(await of({ status: ['failed', 'running'], cancelled: true })).toEqual(['cancelled', 'running']);
});

test('[R25] run.activity counts the newest 20,000 runs of a period, and states that there are more', async () => {
  const { bus, caller } = await serve();
  for (let from = 0; from < 20_500; from += 500) {
    await bus.publish(
      Array.from({ length: 500 }, (_, index) => created(`many-${from + index}`, at(30))),
      { actor: 'ci' },
    );
  }
  const { buckets, open, isComplete } = await caller.run.activity({ ...period, buckets: 4 });
  expect(isComplete).toBe(false);
  const counted = buckets.flatMap((bucket) => Object.values(bucket)).reduce((sum, count) => sum + count, 0);
  expect(counted).toBeGreaterThanOrEqual(20_000);
  expect(counted).toBeLessThan(20_500);
  expect(open.created).toBe(10_000);
});
