import fc from 'fast-check';
import { expect, test } from 'vitest';
import { foldEvent, type RunEvent } from '../../../shared/events.ts';
import type { RunHeader, RunView } from '../../../shared/run.ts';
import { runMatcher } from '../../../shared/run-filter.ts';
import { RunMemory } from '../../../shared/run-memory.ts';
import { mergeRunPages } from '../../../shared/run-pages.ts';
import type { RunQuery } from '../contract/runs.ts';
import {
  append,
  arbitraryDraft,
  changedAll,
  created,
  decider,
  draft,
  folded,
  instant,
  type OpenLog,
  one,
  readAll,
  started,
  upTo,
  viewOf,
} from './kit.ts';

/** Tests of views, lists and changes of runs (contract/runs.ts). */
export function describeRuns(openLog: OpenLog): void {
  test('[L10] the header of a run is that of its view', async () => {
    const log = await openLog();
    await append(log, draft('run.created', { name: 'R', stages: [{ stageId: 's', name: 'S' }] }), draft('run.started'));
    const { stages: _, artifacts: __, approvals: ___, ...header } = (await log.runs.get('p', 'r'))?.run ?? {};
    expect(await log.runs.header('p', 'r')).toEqual(header);
    expect(await log.runs.header('q', 'r')).toBeUndefined();
  });

  test('[L10] a run that is read while events arrive includes all events up to its position', async () => {
    const log = await openLog();
    const readings: Promise<unknown>[] = [];
    log.subscribe((records) => {
      const reading = log.runs.get('p', 'r').then((found) => {
        expect(found?.position).toBeGreaterThanOrEqual(records.at(-1)?.seq as number);
        expect(found?.run).toMatchObject({ lastSeq: found?.position, counts: { stages: found?.position } });
      });
      readings.push(reading);
    });
    const stageIds = ['a', 'b', 'c', 'd'];
    for (const stageId of stageIds) await append(log, draft('stage.started', { stageId }));
    await Promise.all(readings);
    expect(readings).toHaveLength(4);
  });

  test('[F10] the rows of a run equal the fold of its events in memory', async () => {
    const log = await openLog();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(arbitraryDraft(), { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 5 }),
        async (batches) => {
          const projectId = `p${log.head}`;
          const after = log.head;
          for (const batch of batches) await append(log, ...batch.map((item) => ({ ...item, projectId })));
          for (const runId of ['r', 's']) {
            const expected = folded(await readAll(log, { scope: { kind: 'run', projectId, runId }, after }));
            const found = await log.runs.get(projectId, runId);
            expect(found?.run).toEqual(expected);
            if (found) expect(found.position).toBe(log.head);
          }
          const { runs } = await log.runs.list({ projects: 'all', projectId, limit: 9 });
          for (const header of runs) {
            const found = await log.runs.get(projectId, header.runId);
            const { stages, artifacts, approvals, ...rest } = found?.run ?? ({} as RunView);
            expect(header).toEqual(rest);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  test('[F10] the current stage of several stages with the same start does not depend on how a store sorts text', async () => {
    const log = await openLog();
    const at = { timestamp: instant(1) };
    await append(
      log,
      draft('stage.started', { stageId: '～' }),
      draft('stage.started', { stageId: '😀' }),
      draft('stage.started', { stageId: 'a', ...at }),
      draft('stage.completed', { stageId: 'a', ...at }),
    );
    expect((await log.runs.get('p', 'r'))?.run).toEqual(folded(await readAll(log)));
  });

  test('[L11] the view of a large run is the state at its position, even while events arrive', async () => {
    const log = await openLog();
    const stageId = (index: number) => `s${String(index).padStart(4, '0')}`;
    const stages = upTo(3_000).map((index) => ({ stageId: stageId(index), name: 'n' }));
    await append(log, created({ stages }));

    let isDone = false;
    async function publish(): Promise<void> {
      for (let index = 1; !isDone; index = (index * 7 + 1) % 3_001) {
        await append(
          log,
          draft('stage.progress', { stageId: stageId(index), progress: index % 100 }),
          draft('stage.started', { stageId: `${stageId(index)}-${log.head}` }),
          draft('artifact.created', { artifactId: `f${log.head}`, name: 'n' }),
          draft('governance.required', { approvalId: `g${log.head}`, title: 't' }),
          started({ runId: 'other' }),
        );
      }
    }
    const publishing = publish();
    const views: { run: RunView; position: number; headBefore: number }[] = [];
    for (let round = 0; round < 8; round++) {
      const headBefore = log.head;
      const found = await viewOf(log, 'p', 'r');
      if (found) views.push({ ...found, headBefore });
    }
    isDone = true;
    await publishing;

    const records = await readAll(log, { scope: { kind: 'run', projectId: 'p', runId: 'r' } });
    const memory = new RunMemory();
    for (const { run, position, headBefore } of views) {
      expect(position).toBeGreaterThanOrEqual(headBefore);
      while ((records[0]?.seq ?? Number.POSITIVE_INFINITY) <= position) {
        foldEvent(memory, records.shift()?.event as RunEvent);
      }
      expect(run).toEqual(memory.view());
    }
    expect(views).toHaveLength(8);
    expect(views.at(-1)?.position).toBeGreaterThan(views[0]?.position as number);
  });

  test('[L28] a large view comes in pages of bounded size, and their merge is the state at the position of the last', async () => {
    const log = await openLog();
    const stage = (index: number) => `s${String(index).padStart(5, '0')}`;
    const message = '"é"'.repeat(300);
    for (let batch = 0; batch < 4; batch++) {
      const indices = upTo(1_000).map((index) => batch * 1_000 + index);
      await append(log, ...indices.map((index) => draft('stage.progress', { stageId: stage(index), message })));
    }
    await append(log, ...upTo(10).map((index) => draft('artifact.created', { artifactId: `f${index}`, name: 'n' })));
    await append(log, draft('governance.required', { approvalId: 'g', title: 't' }));
    const still = await viewOf(log, 'p', 'r');
    const records = await readAll(log, { scope: { kind: 'run', projectId: 'p', runId: 'r' } });
    expect(still?.run).toEqual(folded(records));
    expect(still?.pages.length).toBeGreaterThan(2);
    for (const { run } of still?.pages ?? []) expect(JSON.stringify(run).length).toBeLessThan(3 << 20);

    // Events between the pages change rows of every page, and add rows to each list.
    let page = await log.runs.get('p', 'r');
    const views: RunView[] = [];
    for (let round = 0; page; round++) {
      views.push(page.run);
      if (!page.next) break;
      if (round < 4) {
        const changed = [1, 2_000, 4_000].map((index) => draft('stage.completed', { stageId: stage(index + round) }));
        const added = draft('artifact.created', { artifactId: `a${round}`, name: 'n' });
        await append(log, ...changed, added, draft('stage.started', { stageId: `0${round}` }), started({ runId: 'o' }));
      }
      page = await log.runs.get('p', 'r', { after: page.next });
    }
    expect(page?.position).toBe(log.head);
    const expected = folded(await readAll(log, { scope: { kind: 'run', projectId: 'p', runId: 'r' } }));
    expect(mergeRunPages(views as [RunView, ...RunView[]])).toEqual(expected);
  });

  test('[L12] a page of a list with few matches is short after a bounded amount of work, and the next one goes on', async () => {
    const log = await openLog();
    for (let batch = 0; batch < 12; batch++) {
      await append(
        log,
        ...upTo(1_000).map((index) => created({ runId: `r${batch}-${index}`, timestamp: instant(batch) })),
      );
    }
    const query = { projects: ['p', 'q'], text: 'r0-999', limit: 5 };
    const first = await log.runs.list(query);
    expect(first).toMatchObject({ runs: [], next: { projectId: 'p' } });
    const second = await log.runs.list({ ...query, after: first.next });
    expect(second).toMatchObject({ runs: [{ runId: 'r0-999' }] });
    expect(second.next).toBeUndefined();
    const reason = new Error('the client has left');
    await expect(log.runs.list({ ...query, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  test('[L12] a page of large headers is bounded by its bytes, and each run is still listed once', async () => {
    const log = await openLog();
    const labels = Object.fromEntries(upTo(60).map((index) => [`label-${index}`, 'x'.repeat(150)]));
    await append(log, ...upTo(200).map((index) => created({ runId: `r${index}`, labels })));
    const sizes: number[] = [];
    const found: string[] = [];
    for (let after: RunQuery['after'], isFirst = true; isFirst || after; isFirst = false) {
      const page = await log.runs.list({ projects: 'all', limit: 500, after });
      sizes.push(JSON.stringify(page.runs).length);
      found.push(...page.runs.map(({ runId }) => runId));
      after = page.next;
    }
    expect(Math.max(...sizes)).toBeLessThan(1.2 * (1 << 20));
    expect(new Set(found).size).toBe(200);
    expect(found).toHaveLength(200);
  });

  test('[L12] runs are listed newest first, page by page, each one once, with every combination of filters', async () => {
    const log = await openLog();
    const some = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
    const query = fc.record({
      projectId: some(one('p', 'q')),
      status: some(fc.subarray(['created', 'running', 'waiting', 'completed', 'failed'] as const)),
      labels: some(fc.dictionary(one('k', 'l', 'toString'), one('1', '2'), { maxKeys: 2 })),
      text: some(one('Alph', 'ALPHA', 'run1', '', 'nowhere')),
      since: some(fc.nat(6).map(instant)),
      until: some(fc.nat(6).map(instant)),
      readable: fc.subarray(['p', 'q', 'z']),
      approver: some(one('ann', 'bob')),
      limit: fc.integer({ min: 1, max: 8 }),
    });
    const runs = upTo(40).map((index) => ({ projectId: 'pqz'[index % 3] as string, runId: `run${index}` }));
    for (const [index, run] of runs.entries()) {
      const labels = { ...(index % 2 ? { k: '1' } : {}), ...(index % 3 ? { l: '2' } : {}) };
      const name = index % 4 ? 'alphabet' : 'beta';
      await append(log, created({ ...run, name, labels, timestamp: instant(index % 5) }));
      if (index % 3 === 1) await append(log, started(run));
      if (index % 7 === 1) await append(log, draft('run.failed', { ...run, error: { message: 'x' } }));
      if (index % 7 === 2) await append(log, draft('run.completed', run));
      const approvers = [index % 2 ? 'ann' : 'bob'];
      const request = draft('governance.required', { ...run, approvalId: 'x', title: 't', approvers });
      if (index % 4 === 0) await append(log, request);
      if (index % 8 === 0) {
        await append(log, draft('approval.granted', { ...run, approvalId: 'x', decidedBy: 'ann' }));
      }
    }
    const views = await Promise.all(
      runs.map(async ({ projectId, runId }) => (await log.runs.get(projectId, runId))?.run as RunView),
    );

    await fc.assert(
      fc.asyncProperty(query, async ({ readable, approver, ...filters }) => {
        const { projectId, status, labels = {}, text = '', since, until } = filters;
        const matching = views.filter(
          (view) =>
            (projectId ?? view.projectId) === view.projectId &&
            (status?.includes(view.status as never) ?? true) &&
            Object.entries(labels).every(([key, value]) => view.labels[key] === value) &&
            `${view.name}\n${view.runId}`.toLowerCase().includes(text.toLowerCase()) &&
            (since === undefined || view.createdAt >= since) &&
            (until === undefined || view.createdAt < until),
        );
        // The client filters changed runs with this function.
        expect(views.filter(runMatcher(filters))).toEqual(matching);
        const expected = matching.filter(
          (view) =>
            readable.includes(view.projectId) &&
            (approver === undefined ||
              view.approvals.some((item) => item.status === 'pending' && item.approvers?.includes(approver))),
        );
        const found: string[] = [];
        const times: string[] = [];
        let after: RunQuery['after'];
        do {
          const page = await log.runs.list({
            ...filters,
            projects: readable,
            decider: approver === undefined ? undefined : decider({ sub: approver }),
            after,
          });
          expect(page.runs.length).toBeLessThanOrEqual(filters.limit);
          expect(page.position).toBe(log.head);
          found.push(...page.runs.map((run) => run.runId));
          times.push(...page.runs.map((run) => run.createdAt));
          after = page.next;
        } while (after);
        expect([...found].sort()).toEqual(expected.map((view) => view.runId).sort());
        expect(times).toEqual([...times].sort().reverse());
      }),
      { numRuns: 150 },
    );
  });

  test('[L12] runs that are created between two pages make no page repeat or skip an older run', async () => {
    const log = await openLog();
    for (const index of upTo(4)) await append(log, created({ runId: `r${index}`, timestamp: instant(1) }));
    const query = { projects: 'all' as const, limit: 2 };
    const first = await log.runs.list(query);
    await append(log, created({ runId: 'newer', timestamp: instant(1) }), created({ runId: 'old' }));
    const second = await log.runs.list({ ...query, after: first.next });
    const third = await log.runs.list({ ...query, after: second.next });
    const ids = [first, second, third].flatMap((page) => page.runs.map((run) => run.runId));
    expect(ids).toEqual(['r4', 'r3', 'r2', 'r1', 'old']);
    expect(first.position).toBe(4);
  });

  test('[A50] with a run id, lists and changes contain the runs of this id in the readable projects alone', async () => {
    const log = await openLog();
    for (const runId of ['r1', 'r', 'r2']) {
      for (const projectId of ['p', 'q', 'z']) await append(log, created({ projectId, runId }));
    }
    await append(log, started({ projectId: 'q', runId: 'r' }));
    const ids = ({ runs }: { runs: readonly RunHeader[] }) =>
      runs.map(({ projectId, runId }) => `${projectId}/${runId}`);
    const pages: string[][] = [];
    let after: RunQuery['after'];
    do {
      const page = await log.runs.list({ projects: ['p', 'q'], runId: 'r', limit: 1, after });
      pages.push(ids(page));
      after = page.next;
    } while (after);
    expect(pages.flat().toSorted()).toEqual(['p/r', 'q/r']);
    const listed = async (query: Partial<RunQuery>) =>
      ids(await log.runs.list({ projects: ['p', 'q'], runId: 'r', limit: 9, ...query }));
    expect(await listed({ projectId: 'p' })).toEqual(['p/r']);
    expect(await listed({ projectId: 'z' })).toEqual([]);
    expect(await listed({ status: ['running'] })).toEqual(['q/r']);
    expect(await listed({ since: instant(1) })).toEqual([]);
    expect(await listed({ projects: [] })).toEqual([]);
    for (const runId of ['unknown', '\u0000']) expect(await listed({ runId })).toEqual([]);

    const changed = async (from: number, runId = 'r') => changedAll(log, { projects: ['p', 'q'], runId, after: from });
    expect(ids(await changed(0))).toEqual(['p/r', 'q/r']);
    expect(ids(await changed(9))).toEqual(['q/r']);
    expect(await changed(log.head)).toMatchObject({ runs: [], scannedTo: log.head });
    expect(await changed(0, 'unknown')).toMatchObject({ runs: [], scannedTo: log.head });
  });

  test('[L12] projectsOf returns the projects that have a run id', async () => {
    const log = await openLog();
    await append(log, created(), created({ projectId: 'q' }), created({ projectId: 'z', runId: 's' }));
    expect((await log.runs.projectsOf('r')).sort()).toEqual(['p', 'q']);
    expect(await log.runs.projectsOf('unknown')).toEqual([]);
    expect(await log.runs.projectsOf('r', ['q', 'x', 'p'])).toEqual(['q', 'p']);
    expect(await log.runs.projectsOf('r', ['q'])).toEqual(['q']);
    expect(await log.runs.projectsOf('r', [])).toEqual([]);
    expect(await log.runs.projectsOf('unknown', ['p'])).toEqual([]);
    expect(await log.runs.get('z', 'r')).toBeUndefined();
  });

  test('[L13] repeated calls of changedSince return the last state of each changed run, in the order of change', async () => {
    const log = await openLog();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(arbitraryDraft(), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 3 }),
        fc.boolean(),
        async (batches, limit, ofOneProject) => {
          const begin = log.head;
          const projects = [`p${begin}`, `q${begin}`];
          const latest = new Map<string, unknown>();
          let after = begin;
          for (const batch of batches) {
            await append(log, ...batch.map((item) => ({ ...item, projectId: `${item.projectId}${begin}` })));
            while (after < log.head) {
              const page = await log.runs.changedSince({
                after,
                limit,
                projects: ofOneProject ? projects.slice(0, 1) : 'all',
              });
              const changes = page.runs.map((run) => run.lastSeq);
              expect(changes).toEqual(changes.toSorted((a, b) => a - b));
              expect(changes.every((seq) => seq > after && seq <= page.scannedTo)).toBe(true);
              expect(page.runs.length).toBeLessThanOrEqual(limit);
              for (const run of page.runs) latest.set(`${run.projectId} ${run.runId}`, run);
              after = page.scannedTo;
            }
            const end = await log.runs.changedSince({ projects: 'all', after, limit });
            expect(end).toMatchObject({ runs: [], scannedTo: after });
          }
          const found = await log.runs.list({ projects: projects, limit: 9 });
          const expected = found.runs.filter((run) => !ofOneProject || run.projectId === projects[0]);
          expect(latest).toEqual(new Map(expected.map((run) => [`${run.projectId} ${run.runId}`, run])));
        },
      ),
      { numRuns: 60 },
    );
  });
}
