import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ApprovalOrder, ApprovalStore, ApprovalWithEvidence } from '../contract/approvals.ts';
import { cannotDecide } from '../decidable.ts';
import { append, decider, draft, instant, type OpenLog, T0, upTo } from './kit.ts';

/** Tests of the stored approvals (contract/approvals.ts). */
export function describeApprovals(openLog: OpenLog): void {
  test('[L21] approvals are listed newest request first, page by page, each one once, filtered by status, run and readable project', async () => {
    const log = await openLog();
    const statuses = ['pending', 'granted', 'denied', 'expired'] as const;
    for (const index of upTo(40)) {
      const run = { projectId: 'pqz'[index % 3] as string, runId: `run${index % 7}` };
      const approvalId = `a${index}`;
      await append(log, draft('governance.required', { ...run, approvalId, title: 't', requiredApprovals: 2 }));
      const decision = { ...run, approvalId, decidedBy: 'ann', reason: 'no' };
      if (index % 4 === 1)
        for (const decidedBy of ['ann', 'bob'])
          await append(log, draft('approval.granted', { ...run, approvalId, decidedBy }));
      if (index % 4 === 2) await append(log, draft('approval.denied', decision));
      if (index % 4 === 3) await append(log, draft('approval.denied', { ...decision, expired: true }));
    }
    await append(log, draft('run.completed', { projectId: 'p', runId: 'run3' }));
    const everything: ApprovalWithEvidence[] = [];
    for (const projectId of ['p', 'q', 'z']) {
      for (const index of upTo(7)) {
        const { run } = (await log.runs.get(projectId, `run${index - 1}`)) ?? {};
        const kept = run?.approvals.map((approval) => {
          return {
            projectId,
            runId: run.runId,
            isRunOver: run.status === 'completed',
            approval,
            artifacts: [],
            runName: run.name,
          };
        });
        everything.push(...(kept ?? []));
      }
    }
    everything.sort((a, b) => b.approval.order.seq - a.approval.order.seq);
    expect(everything.length).toBe(40);

    const query = fc.record({
      status: fc.option(fc.subarray([...statuses]), { nil: undefined }),
      readable: fc.subarray(['p', 'q', 'z']),
      runId: fc.option(fc.constantFrom('run1', 'run3', 'unknown'), { nil: undefined, freq: 1 }),
      limit: fc.integer({ min: 1, max: 12 }),
    });
    await fc.assert(
      fc.asyncProperty(query, async ({ status, readable, runId, limit }) => {
        const expected = everything.filter(
          (kept) =>
            readable.includes(kept.projectId) &&
            (runId ?? kept.runId) === kept.runId &&
            (status?.includes(kept.approval.status) ?? true),
        );
        const found: ApprovalWithEvidence[] = [];
        let after: number | undefined;
        do {
          const page = await log.approvals.list({ projects: readable, runId, status, limit, after });
          expect(page.approvals.length).toBeLessThanOrEqual(limit);
          found.push(...page.approvals);
          after = page.next;
          // `next` is present only if there is more.
          expect(after !== undefined).toBe(found.length < expected.length);
        } while (after !== undefined);
        expect(found).toEqual(expected);
        const count = await log.approvals.count({ projects: readable, runId, status, limit });
        expect(count).toBe(Math.min(limit, expected.length));
      }),
    );
    const [stored] = everything as [ApprovalWithEvidence];
    const { projectId, runId, approval } = stored;
    expect(await log.approvals.get(projectId, runId, approval.approvalId)).toEqual(stored);
    expect(await log.approvals.get(projectId, runId, 'unknown')).toBeUndefined();
    expect(await log.approvals.get(projectId, 'unknown', approval.approvalId)).toBeUndefined();
  });

  test('[L21] an approval that is requested between two pages makes no page repeat or skip another approval', async () => {
    const log = await openLog();
    const request = (approvalId: string) => append(log, draft('governance.required', { approvalId, title: 't' }));
    for (const id of ['a', 'b', 'c', 'd']) await request(id);
    const query = { projects: 'all' as const, limit: 2 };
    const first = await log.approvals.list(query);
    await request('e');
    const second = await log.approvals.list({ ...query, after: first.next });
    expect([first, second].map((page) => page.approvals.map(({ approval }) => approval.approvalId))).toEqual([
      ['d', 'c'],
      ['b', 'a'],
    ]);
    expect(second.next).toBeUndefined();
  });

  test('[G20] each order lists its approvals page by page, each one once, and counts them', async () => {
    const log = await openLog();
    const request = (approvalId: string, more: object = {}) =>
      append(log, draft('governance.required', { approvalId, title: 't', ...more }));
    const decide = (approvalId: string, second: number, more: object = {}) =>
      append(
        log,
        draft('approval.denied', { approvalId, decidedBy: 'ann', reason: 'no', timestamp: instant(second), ...more }),
      );
    await request('never');
    await request('late', { expiresAt: instant(30), requestedBy: 'bob' });
    await request('also late', { expiresAt: instant(30) });
    await request('soon', { expiresAt: instant(10), projectId: 'q' });
    for (const id of ['d1', 'd2', 'd3']) await request(id, { requestedBy: 'bob' });
    for (const id of ['e1', 'e2']) await request(id);
    for (const [id, second] of [
      ['d2', 7],
      ['d1', 5],
      ['d3', 5],
    ] as const)
      await decide(id, second);
    for (const [id, second] of [
      ['e1', 3],
      ['e2', 4],
    ] as const)
      await decide(id, second, { expired: true });
    const [actor] = (await log.approvals.list({ projects: 'all', limit: 1 })).approvals;
    const orders: [ApprovalOrder, string[]][] = [
      ['due', ['soon', 'late', 'also late', 'never']],
      ['decided', ['d2', 'd3', 'd1']],
      ['expired', ['e2', 'e1']],
      [{ askedBy: 'bob' }, ['d3', 'd2', 'd1', 'late']],
      [
        { askedBy: actor?.approval.requestActor ?? '' },
        ['e2', 'e1', 'd3', 'd2', 'd1', 'soon', 'also late', 'late', 'never'],
      ],
      [{ askedBy: 'nobody' }, []],
    ];
    for (const [order, ids] of orders) {
      for (const limit of [1, 2, 100]) {
        const found: string[] = [];
        let after: number | undefined;
        do {
          const page = await log.approvals.list({ projects: 'all', order, limit, after });
          found.push(...page.approvals.map(({ approval }) => approval.approvalId));
          after = page.next;
        } while (after !== undefined);
        expect(found).toEqual(ids);
        expect(await log.approvals.count({ projects: 'all', order, limit })).toBe(Math.min(limit, ids.length));
      }
    }
    const due = { projects: ['p'], order: 'due', limit: 9 } as const;
    expect((await log.approvals.list(due)).approvals.map(({ approval }) => approval.approvalId)).not.toContain('soon');
    const after30s = decider({ sub: 'bob', nowMs: T0 + 30_000 });
    expect(await log.approvals.count({ ...due, decider: after30s })).toBe(1);
  });

  test('[G12] with a decider, exactly the approvals that the user can decide are listed and counted', async () => {
    const log = await openLog();
    const request = (approvalId: string, more: object = {}) =>
      append(log, draft('governance.required', { approvalId, title: 't', ...more }));
    const grant = (approvalId: string, decidedBy: string) =>
      append(log, draft('approval.granted', { approvalId, decidedBy }));
    await request('any');
    await request('named', { approvers: ['ann'], expiresAt: instant(10) });
    await request('of the admins', { requiredRole: 'admin' });
    await request('of bob', { requestedBy: 'bob' });
    await request('of the producer', { authority: 'producer' });
    await request('of two', { requiredApprovals: 2 });
    await grant('of two', 'ann');
    await request('granted');
    await grant('granted', 'eve');
    await request('elsewhere', { projectId: 'q' });
    await request('late', { runId: 'ended' });
    await append(log, draft('run.completed', { runId: 'ended' }));
    const cases: [Parameters<typeof decider>[0], string[]][] = [
      [{ sub: 'ann' }, ['named', 'any', 'of bob', 'elsewhere']],
      [{ sub: 'ann', nowMs: T0 + 10_000 }, ['any', 'of bob', 'elsewhere']],
      [{ sub: 'ann', projects: ['q'] }, ['elsewhere']],
      [{ sub: 'BOB', roles: ['approver', 'admin'] }, ['any', 'of the admins', 'of two', 'elsewhere']],
      [{ sub: 'eve', roles: ['admin'] }, ['of the admins']],
      [{ sub: 'ci' }, []],
      [{ sub: 'eve', roles: [] }, []],
    ];
    for (const [fields, expected] of cases) {
      const query = { projects: 'all', order: 'due', decider: decider(fields) } as const;
      const { approvals } = await log.approvals.list({ ...query, limit: 20 });
      expect(approvals.map(({ approval }) => approval.approvalId)).toEqual(expected);
      for (const { approval, ...stored } of approvals) {
        expect(cannotDecide(query.decider, { ...stored, approval })).toBeUndefined();
      }
      expect(await log.approvals.count({ ...query, limit: 20 })).toBe(expected.length);
    }
  });

  test('[G21] an approval is listed with the artifacts that its evidence names, as the run has them', async () => {
    const log = await openLog();
    const artifact = (artifactId: string, more: object = {}) =>
      draft('artifact.created', { artifactId, name: 'n', ...more });
    await append(log, artifact('a', { timestamp: instant(1) }));
    await append(
      log,
      draft('governance.required', { approvalId: 'x', title: 't', evidence: ['b', 'a', 'missing', 'a'] }),
    );
    await append(
      log,
      artifact('b', { sizeBytes: 1 }),
      artifact('a', { sizeBytes: 2, timestamp: instant(2) }),
      artifact('c'),
    );
    await append(log, artifact('a', { sizeBytes: 3, timestamp: instant(0) })); // Older than the present one.
    const stored = await log.approvals.get('p', 'r', 'x');
    expect(stored?.artifacts).toMatchObject([
      { artifactId: 'b', sizeBytes: 1, order: { seq: 3 } },
      { artifactId: 'a', sizeBytes: 2, order: { seq: 4 } },
    ]);
    expect((await log.approvals.list({ projects: 'all', limit: 9 })).approvals).toEqual([stored]);
  });

  test('[L22] pending approvals are listed for ended runs, and for all runs with the earliest expiry first', async () => {
    const log = await openLog();
    const expiries = { a: instant(30), b: undefined, c: instant(10), d: instant(20), e: instant(5) };
    for (const [approvalId, expiresAt] of Object.entries(expiries)) {
      const runId = approvalId < 'c' ? 'r' : 's';
      const more = expiresAt === undefined ? {} : { expiresAt };
      await append(log, draft('governance.required', { runId, approvalId, title: 't', ...more }));
    }
    await append(log, draft('approval.granted', { runId: 's', approvalId: 'e', decidedBy: 'ann' }));
    await append(log, draft('run.failed', { runId: 's', error: { message: 'x' } }));
    const found = async (...query: Parameters<ApprovalStore['pending']>) =>
      (await log.approvals.pending(...query)).map(({ isRunOver, approval }) => [approval.approvalId, isRunOver]);
    expect(await found('expiring', 9)).toEqual([
      ['c', true],
      ['d', true],
      ['a', false],
    ]);
    expect(await found('expiring', 1)).toEqual([['c', true]]);
    const ended = (...runIds: string[]) => ({ endedRuns: runIds.map((runId) => ({ projectId: 'p', runId })) });
    const ofS = [
      ['c', true],
      ['d', true],
    ];
    expect((await found(ended('unknown', 'r', 's'), 9)).sort()).toEqual(ofS);
    expect(await found(ended('r', 's'), 1)).toHaveLength(1);
    expect(await found(ended('r'), 9)).toEqual([]);
    expect(await found({ endedRuns: [{ projectId: 'q', runId: 's' }] }, 9)).toEqual([]);
    expect(await found(ended(), 9)).toEqual([]);
  });
}
