import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Principal, Role } from '../../server/auth/principal.ts';
import type { RunServer } from '../../server/run-server.ts';
import { RunwireError } from '../../shared/errors.ts';
import { foldEvent, type RunEvent, type RunEventDraft } from '../../shared/events.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import { openServer } from '../support/harness.ts';

/** What a decision is about (G20–G23): boxes, the reason why not, the evidence, and what the decider had seen. */

const run = { projectId: 'demo', runId: 'r1' };
const key = { ...run, approvalId: 'a1' };
const sha = (digit: string) => digit.repeat(64);
const person = (sub: string, roles: Role[] = ['approver'], projects = ['demo']): Principal => ({
  sub,
  projects,
  roles,
});
const as = ({ router }: Pick<RunServer, 'router'>, principal: Principal) => router.createCaller({ principal });
const publish = ({ bus }: Pick<RunServer, 'bus'>, ...events: object[]) =>
  bus.publish(
    events.map((event) => ({ ...run, ...event }) as RunEventDraft),
    { actor: 'ci' },
  );
const request = (more: object = {}) => ({ type: 'governance.required', approvalId: 'a1', title: 'Release', ...more });
const artifact = (more: object = {}) => ({
  type: 'artifact.created',
  artifactId: 'report',
  name: 'report.html',
  ...more,
});
const soon = (ms: number) => new Date(Date.now() + ms).toISOString();

async function refusalOf(promise: Promise<unknown>): Promise<RunwireError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  const known = error instanceof RunwireError ? error : (error as { cause?: unknown } | undefined)?.cause;
  expect(known).toBeInstanceOf(RunwireError);
  return known as RunwireError;
}

test('[G20] each box has its approvals in its order, and the first page has the counts of all', async () => {
  await using server = await openServer();
  const [ann, bob] = [as(server, person('ann')), as(server, person('bob'))];
  await publish(
    server,
    request({ approvalId: 'late', expiresAt: soon(120_000) }),
    request({ approvalId: 'never' }),
    request({ approvalId: 'soon', expiresAt: soon(60_000) }),
    request({ approvalId: 'own', requestedBy: 'ann' }),
    request({ approvalId: 'gone', expiresAt: soon(-1) }),
    request({ approvalId: 'd1' }),
    request({ approvalId: 'd2' }),
    request({ approvalId: 'own too', requestedBy: 'ann' }),
    request({ approvalId: 'elsewhere', projectId: 'other' }),
  );
  await bob.approval.deny({ ...run, approvalId: 'd2', reason: 'no' });
  await bob.approval.grant({ ...run, approvalId: 'd1' });
  await bob.approval.grant({ ...run, approvalId: 'own' });
  await expect.poll(async () => (await ann.approval.get({ ...run, approvalId: 'gone' })).status).toBe('expired');

  const page = async (box: 'mine' | 'asked' | 'decided' | 'expired', more: object = {}) => {
    const { approvals, counts } = await ann.approval.list({ box, ...more });
    return { ids: approvals.map(({ approvalId }) => approvalId), counts };
  };
  const counts = { mine: 3, asked: 2, decided: 3, expired: 1 };
  expect(await page('mine')).toEqual({ ids: ['soon', 'late', 'never'], counts });
  expect(await page('asked')).toEqual({ ids: ['own too', 'own'], counts });
  expect(await page('decided')).toEqual({ ids: ['own', 'd1', 'd2'], counts });
  expect(await page('expired')).toEqual({ ids: ['gone'], counts });
  expect(await page('mine', { projectId: 'other' })).toEqual({
    ids: [],
    counts: { mine: 0, asked: 0, decided: 0, expired: 0 },
  });
  const both = as(server, person('ann', ['approver'], ['*']));
  expect((await both.approval.list({ box: 'mine' })).counts).toEqual({ ...counts, mine: 4 });
  // The publisher of a request asked for it too.
  expect((await as(server, person('ci', ['viewer'])).approval.list({ box: 'asked' })).counts).toMatchObject({
    asked: 8,
  });
  expect((await as(server, person('eve', ['viewer'])).approval.list({ box: 'mine' })).counts?.mine).toBe(0);
  expect(await ann.approval.list({ status: 'pending' })).not.toHaveProperty('counts');
  expect(await refusalOf(ann.approval.list({ box: 'mine', status: 'pending' }))).toMatchObject({
    code: 'INVALID_INPUT',
    path: 'status',
  });
});

test('[G20] the pages of a box list each approval once, whatever is decided between them', async () => {
  await using server = await openServer();
  const [ann, bob] = [as(server, person('ann')), as(server, person('bob'))];
  const ids = Array.from({ length: 12 }, (_, index) => `a${String(index).padStart(2, '0')}`);
  const expiry = (index: number) => (index % 3 === 0 ? {} : { expiresAt: soon(60_000 + (index % 4) * 1_000) });
  await publish(
    server,
    ...ids.map((approvalId, index) => request({ approvalId, ...expiry(index), requestedBy: 'cy' })),
  );
  for (const [box, caller] of [
    ['mine', ann],
    ['asked', as(server, person('cy', ['viewer']))],
    ['decided', ann],
  ] as const) {
    const requests = ids.map((id, index) =>
      request({ approvalId: `${box} ${id}`, ...expiry(index), requestedBy: 'cy' }),
    );
    await publish(server, ...requests);
    const whole = (await caller.approval.list({ box })).approvals.map(({ approvalId }) => approvalId);
    const found: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await caller.approval.list({ box, limit: 2, ...(cursor ? { cursor } : {}) });
      expect(page.counts === undefined).toBe(cursor !== undefined);
      found.push(...page.approvals.map(({ approvalId }) => approvalId));
      // The last one of the page is decided: the next page begins after it all the same.
      const last = found.at(-1);
      if (box !== 'decided' && last?.startsWith(box))
        await bob.approval.deny({ ...run, approvalId: last, reason: 'no' });
      cursor = page.nextCursor;
    } while (cursor);
    expect(found).toEqual(whole);
    expect(new Set(found).size).toBe(found.length);
    expect(found.length).toBeGreaterThan(5);
  }
});

test('[G21] cannotDecide states the first reason that holds, and none exactly if canDecide is true', async () => {
  await using server = await openServer();
  const [ann, bob] = [as(server, person('ann')), as(server, person('bob'))];
  await publish(
    server,
    request({ approvalId: 'open', requiredApprovals: 2 }),
    request({ approvalId: 'asked_by_you', requestedBy: 'ANN' }),
    request({ approvalId: 'not_named', approvers: ['bob'] }),
    request({ approvalId: 'role', requiredRole: 'admin' }),
    request({ approvalId: 'producer', authority: 'producer' }),
    request({ approvalId: 'already_approved', requiredApprovals: 2 }),
    request({ approvalId: 'decided' }),
    request({ approvalId: 'expired', expiresAt: soon(-1) }),
    request({ approvalId: 'run_over', runId: 'r2' }),
    request({ approvalId: 'expired before the end', runId: 'r2', expiresAt: soon(-1) }),
    request({ approvalId: 'late', runId: 'r2', expiresAt: soon(600_000) }),
  );
  const reasonOf = async (approvalId: string, runId = 'r1') => {
    const { canDecide, cannotDecide } = await ann.approval.get({ projectId: 'demo', runId, approvalId });
    expect(canDecide).toBe(cannotDecide === undefined);
    return cannotDecide;
  };
  await expect.poll(() => reasonOf('expired before the end', 'r2')).toBe('expired');
  await ann.approval.grant({ ...run, approvalId: 'already_approved' });
  await bob.approval.deny({ ...run, approvalId: 'decided', reason: 'no' });
  await publish(server, { type: 'run.completed', runId: 'r2' });
  expect(await reasonOf('open')).toBeUndefined();
  for (const reason of ['asked_by_you', 'not_named', 'role', 'producer', 'already_approved', 'decided', 'expired']) {
    expect(await reasonOf(reason)).toBe(reason);
  }
  for (const id of ['run_over', 'late']) await expect.poll(() => reasonOf(id, 'r2')).toBe('run_over');
  await expect
    .poll(async () => (await ann.approval.get({ ...run, runId: 'r2', approvalId: 'run_over' })).status)
    .toBe('expired');
  for (const id of ['run_over', 'late']) expect(await reasonOf(id, 'r2')).toBe('run_over');
  expect(await reasonOf('expired before the end', 'r2')).toBe('expired');
});

test('[G21] an approval has the artifacts of its evidence as the run has them, and the position of its last change', async () => {
  await using server = await openServer();
  const ann = as(server, person('ann'));
  await publish(server, artifact({ sizeBytes: 5, sha256: sha('a'), uri: 's3://b/report', kind: 'text/html' }));
  await publish(server, request({ evidence: ['report', 'missing', 'report'] }), artifact({ artifactId: 'other' }));
  const [listed] = (await ann.approval.list({ box: 'mine' })).approvals;
  expect(listed).toMatchObject({ evidence: ['report', 'missing', 'report'], seq: 2, canDecide: true });
  expect(listed?.artifacts).toMatchObject([
    { artifactId: 'report', sizeBytes: 5, sha256: sha('a'), uri: 's3://b/report', kind: 'text/html' },
  ]);
  await publish(server, artifact({ artifactId: 'missing', sizeBytes: 7 }));
  expect(await ann.approval.get(key)).toMatchObject({
    seq: 4,
    artifacts: [{ artifactId: 'report' }, { artifactId: 'missing', sizeBytes: 7 }],
  });
});

test('[G22] a decision keeps what its decider had seen, in the log and in the view of the run', async () => {
  await using server = await openServer();
  const [ann, bob] = [as(server, person('ann')), as(server, person('bob'))];
  await publish(server, { type: 'run.created', name: 'R' }, { type: 'run.created', runId: 'r2', name: 'S' });
  await publish(server, request({ requiredApprovals: 3 }), { type: 'run.started', runId: 'r2' });
  const stage = { type: 'stage.started', stageId: 's', runId: 'r2' };
  await publish(server, stage, { ...stage, runId: 'r1' });
  expect(server.log.head).toBe(6);
  // The run's events have the positions 1, 3 and 6.
  await ann.approval.grant({ ...key, comment: 'ok', seenSeq: 5 });
  await bob.approval.grant({ ...key, seenSeq: server.log.head });
  const { decisions } = await as(server, person('cy')).approval.grant(key);
  expect(decisions).toMatchObject([
    { decidedBy: 'ann', seenSeq: 5, seenRunSeq: 2 },
    { decidedBy: 'bob', seenSeq: 7, seenRunSeq: 4 },
    { decidedBy: 'cy' },
  ]);
  expect(decisions[2]).not.toHaveProperty('seenSeq');
  expect((await ann.run.get(run)).run.approvals[0]?.decisions).toEqual(decisions);
  const { events } = await ann.run.history({ ...run, types: ['approval.granted'] });
  expect(events).toMatchObject([{ seenSeq: 5, seenRunSeq: 2 }, { seenSeq: 7, seenRunSeq: 4 }, {}]);

  await publish(server, request({ approvalId: 'a2' }));
  for (const seenSeq of [server.log.head + 1, -1, 1.5]) {
    const refusal = await refusalOf(ann.approval.deny({ ...run, approvalId: 'a2', reason: 'no', seenSeq }));
    expect(refusal).toMatchObject({ code: 'INVALID_INPUT', path: 'seenSeq' });
  }
  expect(await ann.approval.deny({ ...run, approvalId: 'a2', reason: 'no', seenSeq: server.log.head })).toMatchObject({
    status: 'denied',
    decisions: [{ seenSeq: server.log.head - 1, seenRunSeq: 7 }],
  });
});

test('[G23] a decision about evidence that has changed decides nothing, and the error has each change', async () => {
  await using server = await openServer();
  const [ann, bob] = [as(server, person('ann')), as(server, person('bob'))];
  await publish(server, artifact({ sizeBytes: 5, sha256: sha('a'), uri: 's3://b/report' }));
  await publish(server, request({ evidence: ['report', 'missing'], requiredApprovals: 2 }));
  const seenSeq = server.log.head;
  await bob.approval.grant({ ...key, seenSeq });
  await publish(
    server,
    artifact({ artifactId: 'other' }),
    artifact({ sizeBytes: 6, sha256: sha('b'), uri: 's3://b/report' }),
    artifact({ artifactId: 'missing', sizeBytes: 7 }),
    artifact({ sizeBytes: 1, timestamp: '2020-01-01T00:00:00Z' }), // Older than the present one: it changes nothing.
  );
  const { head } = server.log;
  const changes = [
    {
      type: 'artifact',
      seq: 5,
      artifactId: 'report',
      before: { name: 'report.html', sizeBytes: 5, sha256: sha('a'), uri: 's3://b/report' },
      after: { name: 'report.html', sizeBytes: 6, sha256: sha('b'), uri: 's3://b/report' },
    },
    { type: 'artifact', seq: 6, artifactId: 'missing', after: { name: 'report.html', sizeBytes: 7 } },
  ];
  for (const decision of [
    ann.approval.grant({ ...key, seenSeq }),
    ann.approval.deny({ ...key, seenSeq, reason: 'no' }),
  ]) {
    const refusal = await refusalOf(decision);
    expect({ code: refusal.code, changes: refusal.changes }).toEqual({ code: 'EVIDENCE_CHANGED', changes });
  }
  expect((await refusalOf(ann.approval.grant({ ...key, seenSeq: 0 }))).changes).toEqual([
    { type: 'request', seq: 2 },
    ...changes.map(({ before: _, ...change }) => change),
  ]);
  expect(server.log.head).toBe(head);
  // The grant of another user and the other events are no change.
  expect(await ann.approval.grant({ ...key, seenSeq: 6 })).toMatchObject({ status: 'granted' });
});

test('[G23] of a decision and a change of its evidence in one turn, the log decides which is first', async () => {
  await using server = await openServer();
  const ann = as(server, person('ann'));
  const outcomes = new Set<string>();
  for (const index of Array.from({ length: 20 }).keys()) {
    const own = { ...run, runId: `race${index}` };
    await publish(server, { ...artifact(), ...own }, { ...request({ evidence: ['report'] }), ...own });
    const seenSeq = server.log.head;
    const decide = () => ann.approval.grant({ ...own, approvalId: 'a1', seenSeq }).catch(({ cause }) => cause);
    const change = () => publish(server, { ...artifact({ sizeBytes: 9, timestamp: soon(1_000) }), ...own });
    const calls = index % 2 ? [decide(), change()] : [change(), decide()];
    const answer = (await Promise.all(calls))[index % 2 ? 0 : 1];
    const [, , first] = (await ann.run.history(own)).events;
    const isFirst = first?.type === 'approval.granted';
    expect(answer).toMatchObject(isFirst ? { status: 'granted' } : { code: 'EVIDENCE_CHANGED' });
    outcomes.add(String(first?.type));
  }
  expect([...outcomes]).toContain('artifact.created');
});

test('[G1] [G22] of two approvers who decide at once, one decides, and the other receives the outcome', async () => {
  await using server = await openServer();
  const [ann, bob] = [as(server, person('ann')), as(server, person('bob'))];
  for (const index of Array.from({ length: 20 }).keys()) {
    const own = { ...run, approvalId: `a${index}` };
    await publish(server, request({ approvalId: own.approvalId }));
    const seenSeq = server.log.head;
    const answers = await Promise.allSettled([
      ann.approval.grant({ ...own, seenSeq }),
      bob.approval.deny({ ...own, seenSeq, reason: 'no' }),
    ]);
    const [winner] = answers.filter((answer) => answer.status === 'fulfilled');
    const [loser] = answers.filter((answer) => answer.status === 'rejected');
    const { status, decisions } = winner?.value ?? {};
    expect(loser?.reason.cause).toMatchObject({
      code: 'APPROVAL_ALREADY_DECIDED',
      outcome: { status, decidedBy: [decisions?.[0]?.decidedBy] },
    });
    expect(decisions).toMatchObject([{ seenSeq }]);
  }
});

test('[G23] for any events and any seenSeq, a decision is refused exactly if the evidence folds to something else since', async () => {
  const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
  const step = fc.record({
    artifactId: fc.constantFrom('e1', 'e2', 'other'),
    sha256: fc.constantFrom(sha('a'), sha('b')),
    timestamp: fc.integer({ min: 0, max: 3 }).map(at),
  });
  await using server = await openServer();
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 6 }),
      fc.array(step, { maxLength: 6 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      async (before, after, share) => {
        const own = { projectId: 'demo', runId: `run${++runs}` };
        const events = [
          { type: 'run.created', name: 'R' },
          ...before.map((more) => artifact(more)),
          request({ evidence: ['e1', 'e2'] }),
          ...after.map((more) => artifact(more)),
        ].map((event) => ({ ...event, ...own }));
        await publish(server, ...events);
        const last = server.log.head;
        const seenSeq = last - Math.round(share * events.length);
        const logged = (await as(server, person('eve', ['viewer'])).run.history({ ...own, limit: 500 })).events;
        const evidenceAt = (seq: number) => {
          const rows = new RunMemory();
          for (const event of logged) if (event.seq <= seq) foldEvent(rows, event as RunEvent);
          return [rows.approval('a1'), rows.artifact('e1'), rows.artifact('e2')];
        };
        const hasChanged = JSON.stringify(evidenceAt(seenSeq)) !== JSON.stringify(evidenceAt(last));
        const decision = as(server, person('ann')).approval.grant({ ...own, approvalId: 'a1', seenSeq });
        if (hasChanged) expect((await refusalOf(decision)).code).toBe('EVIDENCE_CHANGED');
        else expect(await decision).toMatchObject({ decisions: [{ seenSeq }] });
      },
    ),
    { numRuns: 60 },
  );
});
