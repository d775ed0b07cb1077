import { expect, test } from 'vitest';
import {
  append,
  changedAll,
  created,
  type Draft,
  draft,
  eraseAt,
  instant,
  type OpenLog,
  readAll,
  started,
  T0,
  turnsDuring,
  upTo,
} from './kit.ts';

/** Tests of the removal of old runs (contract/runs.ts). */
export function describeRunRemoval(openLog: OpenLog): void {
  test('[L32] runs without events that ended before an instant are removed with all they have, except their approvals', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    const run = (runId: string, endedAt: number | undefined, ...more: Draft[]) =>
      append(
        log,
        created({ runId, stages: upTo(3).map((n) => ({ stageId: `s${n}`, name: 'S' })) }),
        ...more.map((item) => ({ ...item, runId })),
        ...(endedAt === undefined ? [] : [draft('run.completed', { runId, timestamp: instant(endedAt) })]),
      );
    const approval = (approvalId: string) => draft('governance.required', { approvalId, title: 't' });
    await run('old', 1, approval('a'), draft('approval.granted', { approvalId: 'a', decidedBy: 'ann' }));
    await run('old2', 1, draft('artifact.created', { artifactId: 'f', name: 'F' }));
    await run('late', 5);
    await run('open', undefined);
    await run('pending', 1, approval('p'));
    await eraseAt(log, 1);
    await run('kept', 1);
    now += 1_000;
    await append(log, created({ runId: 'last' }), draft('run.completed', { runId: 'last', timestamp: instant(1) }));

    expect(await log.runs.remove(instant(5))).toEqual({ removed: 0 }); // Every run has events.
    const beforeKept = (await readAll(log, { scope: { kind: 'run', projectId: 'p', runId: 'kept' } }))[1]?.seq ?? 0;
    const before = await log.approvals.list({ projects: 'all', limit: 9 });
    await log.trim(T0 + 1);
    expect(await log.runs.remove(instant(1))).toEqual({ removed: 0 }); // None ended before this instant.
    expect(await log.runs.remove(instant(5))).toEqual({ removed: 3 });
    expect(beforeKept).toBeLessThan(log.oldest);
    const left = (await log.runs.list({ projects: 'all', limit: 9 })).runs.map(({ runId }) => runId);
    expect(left.toSorted()).toEqual(['last', 'late', 'open', 'pending']);
    expect(await log.runs.get('p', 'old')).toBeUndefined();
    expect(await log.runs.projectsOf('old')).toEqual([]);
    expect((await changedAll(log)).runs).toHaveLength(4);
    // The name of a run is removed with the run.
    const named = before.approvals.map((one) => (one.runId === 'old' ? { ...one, runName: 'old' } : one));
    expect(await log.approvals.list({ projects: 'all', limit: 9 })).toEqual({ approvals: named });
    expect(await log.approvals.list({ projects: 'all', limit: 1 })).toMatchObject({ next: expect.any(Number) });
    expect(await log.approvals.get('p', 'old', 'a')).toBeUndefined();
    expect(await log.runs.remove(instant(5))).toEqual({ removed: 0 });
    expect(await log.integrity.verify()).toMatchObject({ ok: true });

    await append(log, started({ runId: 'old', timestamp: instant(9) }), approval('a'), started({ runId: 'new' }));
    expect((await log.runs.get('p', 'old'))?.run).toMatchObject({ lastRunSeq: 1, stages: [], approvals: [] });
    expect((await log.approvals.list({ projects: 'all', limit: 9 })).approvals).toHaveLength(3);
  });

  test('[L32] a new run has nothing of a removed run, also of the one that was made last', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    await append(log, created({ runId: 'open' }));
    const request = draft('governance.required', { runId: 'ended', approvalId: 'a', title: 't' });
    const grant = draft('approval.granted', { runId: 'ended', approvalId: 'a', decidedBy: 'ann' });
    const stage = draft('stage.started', { runId: 'ended', stageId: 's' });
    await append(log, stage, request, grant, draft('run.completed', { runId: 'ended', timestamp: instant(1) }));
    now += 1_000;
    await append(log, started({ runId: 'open' }));
    await log.trim(now);
    await log.runs.remove(instant(5));
    await append(log, started({ runId: 'new' }));
    expect((await log.runs.get('p', 'new'))?.run).toMatchObject({ stages: [], approvals: [] });
    expect(await log.approvals.list({ projects: 'all', limit: 9 })).toMatchObject({ approvals: [{ runId: 'ended' }] });
  });

  test('[L32] the event loop runs immediates and timers while runs are removed', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    const stages = upTo(2_000).map((n) => ({ stageId: `s${n}`, name: 'S' }));
    for (const index of upTo(4)) await append(log, created({ runId: `big${index}`, stages }));
    for (let from = 0; from < 4_000; from += 500) {
      await append(log, ...upTo(500).map((n) => draft('run.completed', { runId: `r${from + n}` })));
    }
    await append(log, ...upTo(4).map((n) => draft('run.completed', { runId: `big${n}` })));
    now += 1_000;
    await append(log, started({ runId: 'last' }));
    await log.trim(now);
    const removing = log.runs.remove(instant(1));
    const turns = await turnsDuring(removing);
    expect(await removing).toEqual({ removed: 4_004 });
    expect(turns.immediates).toBeGreaterThan(8);
  });
}
