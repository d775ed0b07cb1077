import fc from 'fast-check';
import pino from 'pino';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Approvals, type WaitOptions } from '../../server/approvals/approvals.ts';
import { ApprovalExpiry } from '../../server/approvals/expiry.ts';
import type { Principal, Role } from '../../server/auth/principal.ts';
import type { ApprovalQuery } from '../../server/event-log/contract/approvals.ts';
import type { Batch, StoredEvent } from '../../server/event-log/contract/log.ts';
import type { EventLog } from '../../server/event-log/contract/store.ts';
import { openSqliteLog } from '../../server/event-log/sqlite/log.ts';
import { Health } from '../../server/health.ts';
import type { Guard } from '../../server/phi/policy.ts';
import { EventBus } from '../../server/publishing/bus.ts';
import type { RunServer } from '../../server/run-server.ts';
import { RunwireError } from '../../shared/errors.ts';
import { foldEvent, type RunEvent, type RunEventDraft, runwireEvents } from '../../shared/events.ts';
import type { Approval } from '../../shared/run.ts';
import {
  allRoles,
  created,
  headOf,
  isOnThree,
  keptLog,
  openServer,
  startServer,
  temporaryFolder,
  tokenFor,
  Wire,
} from '../support/harness.ts';

/**
 * More races: RUNWIRE_REPETITIONS=10000 npx vitest run --project node tests/api/approvals.test.ts -t G1
 */
const races = Number(process.env.RUNWIRE_REPETITIONS ?? 300);

const run = { projectId: 'demo', runId: 'r1' };
const approval = { ...run, approvalId: 'a1' };
const requestOf = (more: object = {}): RunEventDraft => ({
  type: 'governance.required',
  ...approval,
  title: 'Release',
  ...more,
});
const approver = (sub: string, roles: Role[] = ['approver'], projects = ['demo']): Principal => ({
  sub,
  projects,
  roles,
});
const callerOf = ({ router }: Pick<RunServer, 'router'>, principal: Principal) => router.createCaller({ principal });
const ask = ({ bus }: Pick<RunServer, 'bus'>, more: object = {}) => bus.publish([requestOf(more)], { actor: 'ci' });
/** Waits for an approval that {@link ask} has requested. */
const waitFor = ({ approvals }: { approvals: Pick<Approvals, 'wait'> }, key: WaitOptions) =>
  approvals.wait({ requestActor: 'ci', ...key });
const soon = (ms: number) => new Date(Date.now() + ms).toISOString();

async function refusalOf(promise: Promise<unknown>) {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  const known = error instanceof RunwireError ? error : (error as { cause?: unknown } | undefined)?.cause;
  expect(known).toBeInstanceOf(RunwireError);
  return known as RunwireError;
}

async function eventsOf({ log }: Pick<RunServer, 'log'>): Promise<RunEvent[]> {
  const events: RunEvent[] = [];
  const head = await headOf({ log });
  for (let after = 0; after < head; ) {
    const page = await log.read({ scope: { kind: 'all' }, after, limit: 1_000 });
    events.push(...page.records.map((record) => record.event as RunEvent));
    after = page.scannedTo;
  }
  return events;
}
const isDecision = (event: RunEvent) => event.type === 'approval.granted' || event.type === 'approval.denied';

/** An approvals service over its own log, with a clock that the test sets. */
async function openApprovals(now: () => number = Date.now) {
  const log = await openSqliteLog({ path: ':memory:', fold: foldEvent });
  const bus = new EventBus({ registry: runwireEvents, log, health: { note: () => undefined }, phiPolicy: 'reject' });
  const approvals = new Approvals({ log, bus: bus as never, now });
  log.subscribe((records) => approvals.committed(records));
  onTestFinished(async () => {
    approvals.close();
    await log.close();
  });
  return { log, bus, approvals };
}
const quiet = pino({ level: 'silent' });

/** The same log, with another query for pending approvals. */
const withPending = (log: EventLog, pending: EventLog['approvals']['pending']): EventLog =>
  ({
    append: (batch: Batch) => log.append(batch),
    nodes: log.nodes,
    now: () => log.now(),
    approvals: { pending, list: (query: ApprovalQuery) => log.approvals.list(query) },
  }) as Partial<EventLog> as EventLog;

describe('races', () => {
  const raceTimeoutMs = 60_000 + 100 * races;

  test('[G1] of racing grants and denials over many sockets one outcome is stored, and every other call receives an error', {
    timeout: raceTimeoutMs,
  }, async () => {
    await using server = await startServer({ limits: { messagesPerSecond: 1e6 } });
    // 32 sockets of 8 users: in about half of the races a user competes with itself.
    const sockets = await Promise.all(
      Array.from({ length: 32 }, async (_, index) => {
        const sub = `user${index % 8}`;
        return { sub, wire: await Wire.open(server.url, { token: await tokenFor({ sub, roles: ['approver'] }) }) };
      }),
    );
    onTestFinished(async () => {
      for (const { wire } of sockets) await wire[Symbol.asyncDispose]();
    });
    const ids = Array.from({ length: races }, (_, index) => `a${index}`);
    const winners = new Map<string, { status: string; decidedBy: string }>();
    const counts = { granted: 0, denied: 0, losers: 0 };

    const race = async (approvalId: string, index: number) => {
      const entrants = [0, 1, 2, 3].map((lane) => {
        const socket = sockets[(index * 5 + lane * (7 + (index % 2))) % sockets.length] as (typeof sockets)[number];
        const isGrant = (lane + index) % 2 === 0;
        const input = { ...run, approvalId, ...(isGrant ? { comment: 'SECRET' } : { reason: 'SECRET' }) };
        const decide = async () => {
          for (;;) {
            const answer = await socket.wire.call('mutation', isGrant ? 'approval.grant' : 'approval.deny', input);
            // A server that is behind the log, on a busy machine, decides nothing.
            if (answer.error?.data.runwireCode !== 'UNAVAILABLE') return answer;
          }
        };
        return { sub: socket.sub, isGrant, answer: decide() };
      });
      const answers = await Promise.all(
        entrants.map(async (entrant) => ({ ...entrant, answer: await entrant.answer })),
      );
      const won = answers.filter(({ answer }) => answer.result);
      expect(won).toHaveLength(1);
      const [winner] = won as [(typeof answers)[number]];
      const status = winner.isGrant ? 'granted' : 'denied';
      expect(winner.answer.result?.data).toMatchObject({
        status,
        decisions: [{ decidedBy: winner.sub, decision: status }],
      });
      for (const { answer } of answers) {
        if (answer.result) continue;
        expect(answer.error?.data).toMatchObject({
          runwireCode: 'APPROVAL_ALREADY_DECIDED',
          httpStatus: 409,
          outcome: { status, decidedBy: [winner.sub] },
        });
        expect(JSON.stringify(answer)).not.toContain('SECRET');
        counts.losers++;
      }
      counts[status]++;
      winners.set(approvalId, { status, decidedBy: winner.sub });
    };
    const begun = performance.now();
    for (let from = 0; from < ids.length; from += 50) {
      const batch = ids.slice(from, from + 50);
      await server.bus.publish(
        batch.map((approvalId) => requestOf({ approvalId })),
        { actor: 'ci' },
      );
      await Promise.all(batch.map((approvalId, index) => race(approvalId, from + index)));
      for (const { wire } of sockets) wire.messages.length = 0;
    }
    const seconds = (performance.now() - begun) / 1_000;

    const decisions = (await eventsOf(server)).filter(isDecision) as (RunEvent & {
      approvalId: string;
      decidedBy: string;
    })[];
    expect(decisions).toHaveLength(races);
    for (const { approvalId, type, decidedBy, actor } of decisions) {
      expect({ status: type.slice('approval.'.length), decidedBy }).toEqual(winners.get(approvalId));
      expect(actor).toBe(decidedBy);
    }
    const view = (await server.log.runs.get(run.projectId, run.runId))?.run;
    expect(view?.approvals).toHaveLength(races);
    expect(view?.counts.approvalsPending).toBe(0);
    for (const { approvalId, status, decisions } of view?.approvals ?? []) {
      expect({ status, decidedBy: decisions.map(({ decidedBy }) => decidedBy).join() }).toEqual(
        winners.get(approvalId),
      );
    }
    expect(counts.losers).toBe(3 * races);
    if (races > 300)
      console.log({
        races,
        ...counts,
        seconds: Math.round(seconds * 10) / 10,
        perSecond: Math.round((4 * races) / seconds),
      });
  });

  // In PostgreSQL, each call reads its approval over a connection of its own before it decides.
  test.skipIf(isOnThree)(
    '[G1] decisions of one event-loop turn are committed together, in the order of the calls',
    async () => {
      await using server = await openServer();
      await ask(server, { requiredApprovals: 2 });
      // A check that takes more than 2 ms would go on in a later turn.
      vi.spyOn(performance, 'now').mockReturnValue(performance.now());
      onTestFinished(() => void vi.restoreAllMocks());
      const outcomes = await Promise.allSettled([
        callerOf(server, approver('ann')).approval.grant(approval),
        callerOf(server, approver('bob')).approval.deny({ ...approval, reason: 'no' }),
        callerOf(server, approver('eve')).approval.grant(approval),
      ]);
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
      expect(outcomes[0]).toMatchObject({ value: { status: 'pending' } });
      expect(outcomes[1]).toMatchObject({ value: { status: 'denied' } });
      const late = outcomes[2] as PromiseRejectedResult;
      expect(late.reason.cause).toMatchObject({
        code: 'APPROVAL_ALREADY_DECIDED',
        outcome: { status: 'denied', decidedBy: ['bob'] },
      });
    },
  );

  test('[G1] a grant that races the end of its run is stored or fails with APPROVAL_EXPIRED', async () => {
    await using server = await openServer();
    const outcomes = new Set<string>();
    for (let index = 0; index < 60; index++) {
      const runId = `race${index}`;
      await ask(server, { runId });
      const grant = () => callerOf(server, approver('ann')).approval.grant({ ...approval, runId });
      const end = () => server.broadcaster.broadcastRunCompleted({ projectId: 'demo', runId });
      const outcome = waitFor(server, { ...approval, runId });
      const granted = grant().then(
        () => 'granted',
        (error) => error.cause.code as string,
      );
      for (let turns = 0; turns < index % 6; turns++) await new Promise((resolve) => setImmediate(resolve));
      const [answer] = await Promise.all([granted, end()]);
      outcomes.add(answer);
      expect((await outcome).status).toBe(answer === 'granted' ? 'granted' : 'expired');
    }
    expect([...outcomes].sort()).toEqual(['APPROVAL_EXPIRED', 'granted']);
  });
});

describe('permission to decide', () => {
  test('[G2] an approval is granted by the required number of different users; a repeated grant counts once', async () => {
    await using server = await openServer();
    await ask(server, { requiredApprovals: 2 });
    const ann = callerOf(server, approver('ann'));
    const first = await ann.approval.grant({ ...approval, comment: 'fine' });
    expect(first).toMatchObject({ status: 'pending', decisions: [{ decidedBy: 'ann', comment: 'fine' }] });
    expect(await ann.approval.grant({ ...approval, comment: 'again' })).toEqual(first);
    expect(await headOf(server)).toBe(2);
    const second = await callerOf(server, approver('bob')).approval.grant(approval);
    expect(second).toMatchObject({ status: 'granted', decisions: [{ decidedBy: 'ann' }, { decidedBy: 'bob' }] });
    const late = await refusalOf(ann.approval.grant(approval));
    expect(late).toMatchObject({
      code: 'APPROVAL_ALREADY_DECIDED',
      outcome: { status: 'granted', decidedBy: ['ann', 'bob'] },
    });
  });

  test('[G2] a user in another spelling is the same user: its grant counts once, and it is not asked again', async () => {
    await using server = await openServer();
    await ask(server, { requiredApprovals: 2 });
    await callerOf(server, approver('Bob@x.org')).approval.grant(approval);
    for (const sub of ['bob@x.org', ' BOB@X.ORG', 'bob\u200b@x.org', '\uff42ob@x.org']) {
      const bob = callerOf(server, approver(sub));
      expect((await bob.run.list({ needsMyDecision: true })).runs).toEqual([]);
      expect(await bob.approval.grant(approval)).toMatchObject({ status: 'pending', decisions: [{}] });
    }
    expect(await headOf(server)).toBe(2);
    // A producer reports the decisions of another system: they are counted in the same way.
    const elsewhere = { ...run, approvalId: 'elsewhere' };
    await ask(server, { ...elsewhere, authority: 'producer', requiredApprovals: 2 });
    for (const decidedBy of ['eve', 'Eve', 'eve\u200b']) {
      await server.bus.publish([{ type: 'approval.granted', ...elsewhere, decidedBy }], { actor: 'ci' });
    }
    expect((await server.log.approvals.get('demo', 'r1', 'elsewhere'))?.approval.status).toBe('pending');
  });

  test('[G2] one denial denies with its reason, also from a user that granted before', async () => {
    await using server = await openServer();
    await ask(server, { requiredApprovals: 2 });
    const ann = callerOf(server, approver('ann'));
    await ann.approval.grant(approval);
    expect(await ann.approval.deny({ ...approval, reason: 'on second thoughts' })).toMatchObject({ status: 'denied' });
    expect((await eventsOf(server)).at(-1)).toMatchObject({
      type: 'approval.denied',
      actor: 'ann',
      decidedBy: 'ann',
      reason: 'on second thoughts',
    });
    const late = await refusalOf(callerOf(server, approver('bob')).approval.grant(approval));
    expect(late.outcome).toEqual({ status: 'denied', decidedBy: ['ann'] });
    for (const reason of [undefined, '']) {
      const refused = await refusalOf(ann.approval.deny({ ...approval, reason: reason as string }));
      expect(refused).toMatchObject({ code: 'INVALID_INPUT', path: 'reason' });
    }
  });

  const others: [string, object, Principal][] = [
    ['the requester', { requestedBy: 'ann' }, approver('ann', allRoles)],
    ['the requester in another spelling', { requestedBy: ' Ann@Example.ORG' }, approver('ann@example.org', allRoles)],
    [
      'the requester in full-width letters with an invisible character',
      { requestedBy: 'Ａｎｎ\u200b' },
      approver('ann', allRoles),
    ],
    ['the publisher of the request', {}, approver('ci', allRoles)],
    ['an approver outside the named approvers', { approvers: ['bob'] }, approver('ann', allRoles)],
    ['an approver when the list of approvers is empty', { approvers: [] }, approver('ann', allRoles)],
    ['a viewer', {}, approver('ann', ['viewer'])],
    ['an admin without the approver role', {}, approver('ann', ['admin'])],
    ['a named user without the role', { approvers: ['ann'] }, approver('ann', ['viewer'])],
    ['an approver when another role is required', { requiredRole: 'admin' }, approver('ann')],
    ['a user when no token has the required role', { requiredRole: 'board' }, approver('ann', allRoles)],
    ['a user with almost the name of the server', {}, approver('System', allRoles)],
    ['a user with the name of the server', {}, approver('system', allRoles)],
  ];
  test.each(others)('[G3] %s may not decide', async (_, request, principal) => {
    await using server = await openServer();
    await ask(server, request);
    const caller = callerOf(server, principal);
    const attempts = [caller.approval.grant(approval), caller.approval.deny({ ...approval, reason: 'no' })];
    const refusals = await Promise.all(attempts.map(refusalOf));
    expect(refusals.map(({ code }) => code)).toEqual(['NOT_ALLOWED_TO_DECIDE', 'NOT_ALLOWED_TO_DECIDE']);
    expect((await caller.run.list({ needsMyDecision: true })).runs).toEqual([]);
    expect(await headOf(server)).toBe(1);
  });

  test('[G3] a named approver decides, and so does a user with the required role', async () => {
    await using server = await openServer();
    await ask(server, { approvers: ['ann'], requiredRole: 'admin', requestedBy: 'bob' });
    const ann = callerOf(server, approver('ann', ['admin']));
    expect((await ann.run.list({ needsMyDecision: true })).runs).toHaveLength(1);
    expect(await ann.approval.grant({ runId: 'r1', approvalId: 'a1' })).toMatchObject({ status: 'granted' });
    expect((await ann.run.list({ needsMyDecision: true })).runs).toEqual([]);
  });

  test('[G4] an unreadable approval is NOT_FOUND, like an absent one', async () => {
    await using server = await openServer();
    await ask(server);
    const code = async (principal: Principal, more: object = {}) => {
      const { approval: procedures } = callerOf(server, principal);
      const grant = await refusalOf(procedures.grant({ ...approval, ...more }));
      const deny = await refusalOf(procedures.deny({ ...approval, ...more, reason: 'no' }));
      expect({ ...grant }).toEqual({ ...deny });
      return [grant.code, grant.message];
    };
    const unknown = await code(approver('ann'), { runId: 'unknown' });
    expect(unknown[0]).toBe('RUN_NOT_FOUND');
    expect(await code(approver('ann', ['approver'], ['other']))).toEqual(unknown);
    expect(await code(approver('ann', ['producer']))).toEqual(unknown);
    expect((await code(approver('ann'), { approvalId: 'unknown' }))[0]).toBe('APPROVAL_NOT_FOUND');
    await server.bus.publish([created('r1', { projectId: 'two' })], { actor: 'ci' });
    expect(
      (
        await refusalOf(
          callerOf(server, approver('ann', ['approver'], ['*'])).approval.grant({ runId: 'r1', approvalId: 'a1' }),
        )
      ).code,
    ).toBe('RUN_AMBIGUOUS');
    expect(await headOf(server)).toBe(2);
  });

  test('[G5] a decision published by a producer is stored under its name and marked; the server then accepts no decision', async () => {
    await using server = await openServer();
    await ask(server, { authority: 'producer' });
    const caller = callerOf(server, approver('ann', allRoles));
    expect((await caller.run.list({ needsMyDecision: true })).runs).toEqual([]);
    const attempts = [caller.approval.grant(approval), caller.approval.deny({ ...approval, reason: 'no' })];
    const refusals = await Promise.all(attempts.map(refusalOf));
    expect(refusals.map(({ code }) => code)).toEqual(['FORBIDDEN', 'FORBIDDEN']);
    const outcome = waitFor(server, { ...approval, authority: 'producer' });
    await server.bus.publish([{ type: 'approval.granted', ...approval, decidedBy: 'octocat' }], { actor: 'ci' });
    expect(await outcome).toEqual({
      status: 'granted',
      authority: 'producer',
      requestActor: 'ci',
      decisions: [{ decidedBy: 'octocat', decision: 'granted', actor: 'ci', at: expect.any(String) }],
    });
    expect((await eventsOf(server)).at(-1)).toMatchObject({ actor: 'ci', decidedBy: 'octocat' });
    expect((await caller.approval.list()).approvals).toMatchObject([{ authority: 'producer', status: 'granted' }]);
  });

  test('[G5] only the actor that requested an approval may publish its decision, also in one batch and in one turn', async () => {
    await using server = await openServer();
    const request = requestOf({ authority: 'producer' });
    const granted = { type: 'approval.granted' as const, ...approval, decidedBy: 'ann' };
    const denied = { type: 'approval.denied' as const, ...approval, decidedBy: 'ann', reason: 'no' };
    // The clock stands: a check that took longer than its first slice would go on in a later turn.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now());
    onTestFinished(() => clock.mockRestore());
    const [asked, raced] = await Promise.allSettled([
      server.bus.publish([request], { actor: 'ci' }),
      server.bus.publish([granted], { actor: 'mallory' }),
    ]);
    clock.mockRestore();
    expect(asked.status).toBe('fulfilled');
    expect((raced as PromiseRejectedResult).reason).toMatchObject({ code: 'FORBIDDEN', path: 'approvalId' });
    for (const draft of [granted, denied]) {
      for (const actor of ['mallory', 'CI', 'ci\u200b']) {
        expect((await refusalOf(server.bus.publish([draft], { actor }))).code).toBe('FORBIDDEN');
        expect((await refusalOf(server.bus.publish([created('r2'), draft], { actor }))).code).toBe('FORBIDDEN');
      }
    }
    expect(await headOf(server)).toBe(1);
    await server.bus.publish([denied], { actor: 'ci' });
    expect((await server.log.approvals.get('demo', 'r1', 'a1'))?.approval.status).toBe('denied');
  });

  test('[G11] a second request of an approval id with other terms, or from another actor, is refused', async () => {
    await using server = await openServer();
    const terms = { requiredApprovals: 2, approvers: ['ann', 'bob'], expiresAt: soon(60_000) };
    await ask(server, terms);
    const others: [object, string][] = [
      [terms, 'mallory'],
      [{}, 'ci'],
      [{ ...terms, requiredApprovals: 1 }, 'ci'],
      [{ ...terms, approvers: ['ann', 'bob', 'eve'] }, 'ci'],
      [{ ...terms, requiredRole: 'viewer' }, 'ci'],
      [{ ...terms, requestedBy: 'dan' }, 'ci'],
      [{ ...terms, title: 'Release all' }, 'ci'],
      [{ ...terms, reason: 'because' }, 'ci'],
      [{ ...terms, stageId: 's1' }, 'ci'],
      [{ ...terms, evidence: ['report'] }, 'ci'],
      [{ ...terms, expiresAt: soon(90_000) }, 'ci'],
      [{ ...terms, authority: 'producer' }, 'ci'],
    ];
    for (const [more, actor] of others) {
      const refused = await refusalOf(server.bus.publish([created('r2'), requestOf(more)], { actor }));
      expect(refused).toMatchObject({ code: 'APPROVAL_ID_TAKEN', path: 'approvalId' });
    }
    expect(await headOf(server)).toBe(1);
    // The same request again counts once, also with the defaults written out.
    await ask(server, { ...terms, requiredRole: 'approver', authority: 'runwire' });
    await callerOf(server, approver('ann')).approval.grant(approval);
    await ask(server, terms);
    const approvals = (await server.log.runs.get('demo', 'r1'))?.run.approvals;
    expect(approvals).toMatchObject([{ status: 'pending', requiredApprovals: 2, decisions: [{ decidedBy: 'ann' }] }]);
  });

  test('[G11] of two requests of an id that race, one is refused, also from server code', async () => {
    await using server = await openServer();
    const results = await Promise.allSettled([
      server.bus.publish([requestOf({ authority: 'producer' })], { actor: 'mallory' }),
      server.broadcaster.broadcastGovernanceRequired({ ...approval, title: 'Release', requiredApprovals: 2 }),
    ]);
    const refusals = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    expect(refusals).toMatchObject([{ code: 'APPROVAL_ID_TAKEN' }]);
    expect(await headOf(server)).toBe(1);
  });

  test.skipIf(isOnThree)(
    '[G10] the guard checks comment and reason: a rejected text decides nothing, and the error names its field',
    async () => {
      const guard: Guard = (draft, policy) => {
        const field = ['comment', 'reason'].find((name) => String(draft[name as never]).includes('PATIENT'));
        if (field === undefined) return draft;
        if (policy === 'redact') return { ...draft, [field]: '[redacted]' };
        throw new RunwireError('PHI_REJECTED', 'looks like a name', { path: field });
      };
      await using server = await openServer({ guard });
      await ask(server, { requiredApprovals: 2 });
      const { approval: procedures } = callerOf(server, approver('ann'));
      const grant = await refusalOf(procedures.grant({ ...approval, comment: 'PATIENT' }));
      expect(grant).toMatchObject({ code: 'PHI_REJECTED', path: 'comment' });
      const deny = await refusalOf(procedures.deny({ ...approval, reason: 'PATIENT' }));
      expect(deny).toMatchObject({ code: 'PHI_REJECTED', path: 'reason' });
      expect(await headOf(server)).toBe(1);

      await using milder = await openServer({ guard, phiPolicy: 'redact' });
      await ask(milder);
      await callerOf(milder, approver('ann')).approval.grant({ ...approval, comment: 'PATIENT' });
      expect((await eventsOf(milder)).at(-1)).toMatchObject({ comment: '[redacted]' });
    },
  );
});

describe('expiry', () => {
  const isExpiry = (event: RunEvent) => event.type === 'approval.denied' && event.expired === true;

  test('[G6] pending approvals expire at expiresAt, soonest first, and at the end of their run', async () => {
    await using server = await openServer();
    vi.useFakeTimers({ toFake: ['Date'] }); // Nothing falls due while a busy machine prepares.
    onTestFinished(() => void vi.useRealTimers());
    const nowMs = Date.now();
    const at = (ms: number) => new Date(nowMs + ms).toISOString();
    await ask(server, { approvalId: 'past', expiresAt: at(-1_000) });
    await ask(server, { approvalId: 'granted', expiresAt: at(3_000) });
    await callerOf(server, approver('ann')).approval.grant({ ...approval, approvalId: 'granted' });
    await ask(server, { approvalId: 'later', expiresAt: at(3_100) });
    await ask(server, { approvalId: 'never' });
    await ask(server, { approvalId: 'sooner', expiresAt: at(3_010) });
    vi.useRealTimers();
    const { decisions } = await waitFor(server, { ...approval, approvalId: 'later' });
    expect(decisions).toMatchObject([{ decidedBy: 'system', decision: 'denied', reason: 'expired' }]);
    const expired = (await eventsOf(server)).filter(isExpiry) as (RunEvent & { approvalId: string })[];
    expect(expired.map(({ approvalId }) => approvalId)).toEqual(['past', 'sooner', 'later']);
    expect(expired[0]).toMatchObject({ actor: 'system', decidedBy: 'system', reason: 'expired', expired: true });
    expect(expired[0]?.eventId).toMatch(/^runwire:expired:/);

    await server.broadcaster.broadcastRunFailed({ ...run, error: { message: 'x' } });
    expect((await waitFor(server, { ...approval, approvalId: 'never' })).status).toBe('expired');
    // A request after the end of the run expires at once.
    await ask(server, { approvalId: 'too late' });
    expect((await waitFor(server, { ...approval, approvalId: 'too late' })).status).toBe('expired');
    const view = (await server.log.runs.get('demo', 'r1'))?.run;
    expect([view?.status, view?.counts.approvalsPending]).toEqual(['failed', 0]);
  });

  test('[G6] approvals that fell due while no server ran expire once when a server starts', async () => {
    using folder = temporaryFolder();
    const databaseUrl = `file:${folder.path}/runwire.db`;
    {
      await using server = await openServer({ databaseUrl });
      await ask(server, { approvalId: 'later', expiresAt: soon(400) });
      await ask(server, { approvalId: 'open' });
    }
    {
      // One server stopped before the approval fell due, another between the end of a run and its expiries.
      const log = await openSqliteLog({ path: `${folder.path}/runwire.db`, fold: foldEvent });
      const envelope = { projectId: 'demo', runId: 'ended', timestamp: soon(0) };
      const request = { ...envelope, type: 'governance.required', eventId: 'e1', approvalId: 'a1', title: 'Release' };
      await log.append({ actor: 'ci', drafts: [request, { ...envelope, type: 'run.completed', eventId: 'e2' }] });
      const due = { ...requestOf({ approvalId: 'due', expiresAt: soon(-10) }), timestamp: soon(-20), eventId: 'e3' };
      await log.append({ actor: 'ci', drafts: [due] });
      await log.close();
    }
    for (const _ of [1, 2]) {
      await using server = await openServer({ databaseUrl });
      for (const approvalId of ['due', 'later']) {
        expect((await waitFor(server, { ...approval, approvalId })).status).toBe('expired');
      }
      expect((await waitFor(server, { ...approval, runId: 'ended' })).status).toBe('expired');
      expect((await eventsOf(server)).filter(isExpiry)).toHaveLength(3);
      expect((await server.log.approvals.get('demo', 'r1', 'open'))?.approval.status).toBe('pending');
    }
  });

  test('[G6] a thousand approvals that fall due together expire once each', async () => {
    await using server = await openServer();
    const many = Array.from({ length: 1_000 }, (_, index) =>
      requestOf({ approvalId: `a${index}`, expiresAt: soon(100) }),
    );
    await server.bus.publish(many, { actor: 'ci' });
    await Promise.all(many.map((_, index) => waitFor(server, { ...approval, approvalId: `a${index}` })));
    const ids = (await eventsOf(server)).filter(isExpiry).map((event) => (event as { approvalId?: string }).approvalId);
    expect([ids.length, new Set(ids).size]).toEqual([1_000, 1_000]);
  });

  test('[G6] a producer cannot take the event id of an expiry', async () => {
    await using server = await openServer();
    const eventId = 'runwire:expired:whatever';
    const refused = await refusalOf(server.bus.publish([created('r1', { eventId })], { actor: 'ci' }));
    expect(refused).toMatchObject({ code: 'FORBIDDEN', path: 'eventId' });
    expect(await headOf(server)).toBe(0);
  });

  test('[G6] a failed expiry is retried when the log works again', async () => {
    const { log, bus, approvals } = await openApprovals();
    await bus.publish([requestOf({ expiresAt: soon(-1) })], { actor: 'ci' });
    let failures = 1;
    const failing = Object.create(log, {
      append: {
        value: (batch: Parameters<typeof log.append>[0]) =>
          failures-- > 0 ? Promise.reject(new RunwireError('UNAVAILABLE', 'no')) : log.append(batch),
      },
    });
    const expiry = new ApprovalExpiry({ log: failing, health: new Health(quiet), retryMs: 10 });
    onTestFinished(() => expiry.close());
    expect((await waitFor({ approvals }, approval)).status).toBe('expired');
    expect(failures).toBeLessThan(0);
  });

  test('[G6] an approval expires on time while runs end as fast as they are checked', async () => {
    const expiresAt = '2026-01-01T00:00:00.000Z';
    let nowMs = Date.parse(expiresAt) - 1;
    const { log, bus, approvals } = await openApprovals(() => nowMs);
    await bus.publish([requestOf({ expiresAt })], { actor: 'ci' });
    await bus.publish([requestOf({ approvalId: 'of an ended run', runId: 'last' })], { actor: 'ci' });
    let queries = 0;
    const queriesUntil = { due: 0, ended: 0 };
    const backfill = (): void => {
      const runs = Array.from({ length: 1_000 }, (_, index) => ({ ...run, runId: `${queries} ${index}` }));
      expiry?.committed(runs.map((key) => ({ type: 'run.completed', ...key }) as StoredEvent));
    };
    const pending: EventLog['approvals']['pending'] = (of, limit) => {
      queries++;
      if (queries < 100) backfill();
      if (queries === 10) nowMs++;
      return log.approvals.pending(of, limit);
    };
    let expiry: ApprovalExpiry | undefined; // Undefined during its constructor, which begins the first check.
    expiry = new ApprovalExpiry({ log: withPending(log, pending), health: new Health(quiet), now: () => nowMs });
    onTestFinished(() => expiry.close());
    const isExpired = async (key: typeof approval) =>
      expect((await waitFor({ approvals }, key)).status).toBe('expired');
    await isExpired(approval);
    queriesUntil.due = queries - 10;
    await bus.publish([{ type: 'run.completed', ...run, runId: 'last' }], { actor: 'ci' });
    expiry.committed([{ type: 'run.completed', ...run, runId: 'last' } as StoredEvent]);
    await isExpired({ ...run, runId: 'last', approvalId: 'of an ended run' });
    queriesUntil.ended = queries;
    expect(queriesUntil.due).toBeLessThan(5);
    // At most 2,500 runs a query, and all runs before the last one: not one query for each run.
    expect(queriesUntil.ended).toBeLessThan(150);
  });

  test('[G6] the runs that wait for their check are bounded: beyond the bound, all pending approvals are read', async () => {
    const { log, bus, approvals } = await openApprovals();
    await bus.publish([requestOf(), { type: 'run.completed', ...run }], { actor: 'ci' });
    let isFailing = true;
    let asked = 0;
    const pending: EventLog['approvals']['pending'] = (of, limit) => {
      if (of !== 'expiring') asked += of.endedRuns.length;
      return isFailing ? Promise.reject(new RunwireError('UNAVAILABLE', 'no')) : log.approvals.pending(of, limit);
    };
    const expiry = new ApprovalExpiry({ log: withPending(log, pending), health: new Health(quiet), retryMs: 10 });
    onTestFinished(() => expiry.close());
    await new Promise((resolve) => setImmediate(resolve)); // The lease.
    const ended = (runId: string) => ({ type: 'run.completed', projectId: 'demo', runId }) as StoredEvent;
    expiry.committed([ended('r1'), ...Array.from({ length: 100_000 }, (_, index) => ended(`${index}`))]);
    isFailing = false;
    expect((await waitFor({ approvals }, approval)).status).toBe('expired');
    expect(asked).toBe(0);
  });

  test('[G6] two servers that share a log expire each approval once, and neither reports a failure', async () => {
    const { log, bus, approvals } = await openApprovals();
    const { lines, logger } = keptLog();
    for (const _ of [1, 2]) {
      const expiry = new ApprovalExpiry({ log, health: new Health(logger), retryMs: 10 });
      log.subscribe((records) => expiry.committed(records));
      onTestFinished(() => expiry.close());
    }
    const ids = Array.from({ length: 50 }, (_, index) => `a${index}`);
    for (const approvalId of ids) {
      const key = { ...run, runId: approvalId };
      await bus.publish([requestOf({ ...key, approvalId }), { type: 'run.completed', ...key }], { actor: 'ci' });
    }
    await Promise.all(ids.map((approvalId) => waitFor({ approvals }, { ...run, runId: approvalId, approvalId })));
    expect((await eventsOf({ log })).filter(isExpiry)).toHaveLength(50);
    expect(lines).toEqual([]);
  });

  test('[G7] a late decision fails with APPROVAL_EXPIRED, whether or not the expiry is stored', async () => {
    const expiresAt = '2026-01-01T00:00:00.000Z';
    let nowMs = Date.parse(expiresAt) - 1;
    const { log, bus, approvals } = await openApprovals(() => nowMs);
    for (const approvalId of ['a', 'b']) await bus.publish([requestOf({ approvalId, expiresAt })], { actor: 'ci' });
    const grant = (approvalId: string) => approvals.grant(approver('ann'), { ...run, approvalId });
    expect((await grant('a')).status).toBe('granted');
    nowMs++;
    expect(await refusalOf(grant('b'))).toMatchObject({ code: 'APPROVAL_EXPIRED', outcome: undefined });
    expect((await refusalOf(grant('a'))).code).toBe('APPROVAL_ALREADY_DECIDED');
    const expiry = new ApprovalExpiry({ log, health: new Health(quiet), now: () => nowMs });
    onTestFinished(() => expiry.close());
    await waitFor({ approvals }, { ...run, approvalId: 'b' });
    expect(await refusalOf(grant('b'))).toMatchObject({
      code: 'APPROVAL_EXPIRED',
      outcome: { status: 'expired', decidedBy: ['system'] },
    });
    expect(log.head).toBe(4);
  });
});

test('[G1] [G2] [G3] [G7] random sequences of operations end as a simple model of the rules predicts', async () => {
  const users = ['ann', 'bob', 'eve', 'ci', 'system'];
  const roleOf = (sub: string): Role[] => (sub === 'eve' ? ['viewer', 'admin'] : ['approver']);
  const requests = fc.record(
    {
      requestedBy: fc.constantFrom('ann', 'bob'),
      approvers: fc.uniqueArray(fc.constantFrom(...users)),
      requiredApprovals: fc.integer({ min: 1, max: 3 }),
      requiredRole: fc.constantFrom('approver', 'admin'),
      expiresAt: fc.integer({ min: 1, max: 8 }),
    },
    { requiredKeys: [] },
  );
  const steps = fc.array(
    fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({
          do: fc.constantFrom('grant' as const, 'deny' as const),
          sub: fc.constantFrom(...users),
        }),
      },
      { weight: 2, arbitrary: fc.constant({ do: 'wait' as const, sub: '' }) },
      { weight: 1, arbitrary: fc.constant({ do: 'end' as const, sub: '' }) },
    ),
    { maxLength: 12 },
  );
  let nowMs = 0;
  const { log, bus, approvals } = await openApprovals(() => nowMs);
  let runs = 0;

  await fc.assert(
    fc.asyncProperty(requests, steps, async (request, moves) => {
      const key = { projectId: 'demo', runId: `run${++runs}`, approvalId: 'a' };
      nowMs = 0;
      const expiresAt = request.expiresAt === undefined ? {} : { expiresAt: new Date(request.expiresAt).toISOString() };
      await bus.publish(
        [{ type: 'governance.required', ...key, title: 't', ...request, ...expiresAt } as RunEventDraft],
        { actor: 'ci' },
      );
      // The model:
      const granted: string[] = [];
      let outcome: { status: string; decidedBy: string[] } | undefined;
      let hasEnded = false;
      const expected = (sub: string, isGrant: boolean): string => {
        if (sub === 'ci' || sub === 'system' || sub === request.requestedBy) return 'NOT_ALLOWED_TO_DECIDE';
        if (request.approvers !== undefined && !request.approvers.includes(sub)) return 'NOT_ALLOWED_TO_DECIDE';
        if (!roleOf(sub).includes((request.requiredRole ?? 'approver') as Role)) return 'NOT_ALLOWED_TO_DECIDE';
        if (outcome) return `APPROVAL_ALREADY_DECIDED ${JSON.stringify(outcome)}`;
        if (hasEnded || (request.expiresAt !== undefined && nowMs >= request.expiresAt)) return 'APPROVAL_EXPIRED';
        if (!isGrant) outcome = { status: 'denied', decidedBy: [sub] };
        else if (!granted.includes(sub)) granted.push(sub);
        if (isGrant && granted.length >= (request.requiredApprovals ?? 1))
          outcome = { status: 'granted', decidedBy: [...granted] };
        return outcome?.status ?? 'pending';
      };

      for (const move of moves) {
        if (move.do === 'wait') nowMs++;
        else if (move.do === 'end') {
          hasEnded = true;
          await bus.publish([{ type: 'run.completed', projectId: 'demo', runId: key.runId }], { actor: 'ci' });
        } else {
          const principal = approver(move.sub, roleOf(move.sub));
          const attempt =
            move.do === 'grant' ? approvals.grant(principal, key) : approvals.deny(principal, key, { reason: 'no' });
          const answer = await attempt.then(
            ({ status }) => status,
            ({ code, outcome }: RunwireError) => (outcome ? `${code} ${JSON.stringify(outcome)}` : code),
          );
          expect(answer).toBe(expected(move.sub, move.do === 'grant'));
        }
      }
      const kept = (await log.approvals.get('demo', key.runId, 'a'))?.approval as Approval;
      expect(kept.status).toBe(outcome?.status ?? 'pending');
      const by = (decision: string) =>
        kept.decisions.flatMap((item) => (item.decision === decision ? [item.decidedBy] : []));
      expect(by('granted')).toEqual(granted);
      expect(by('denied')).toEqual(outcome?.status === 'denied' ? outcome.decidedBy : []);
    }),
    { numRuns: 300 },
  );
});

describe('lists and wait', () => {
  test('[G8] approval.list pages the readable approvals, newest first, each once', async () => {
    await using server = await openServer();
    for (let index = 0; index < 25; index++) {
      await ask(server, { approvalId: `a${index}`, runId: `r${index % 3}`, projectId: index % 2 ? 'demo' : 'other' });
    }
    const ann = callerOf(server, approver('ann', ['approver'], ['demo']));
    await ann.approval.grant({ runId: 'r1', projectId: 'demo', approvalId: 'a1' });
    const ids = async (caller: typeof ann, query: object = {}) => {
      const found: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await caller.approval.list({ limit: 4, ...query, ...(cursor ? { cursor } : {}) });
        expect(page.approvals.length).toBeGreaterThan(0);
        expect(page.approvals.length).toBeLessThanOrEqual(4);
        found.push(...page.approvals.map(({ approvalId }) => approvalId));
        cursor = page.nextCursor;
      } while (cursor);
      return found;
    };
    const odd = [23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1].map((index) => `a${index}`);
    expect(await ids(ann)).toEqual(odd);
    expect(await ids(ann, { status: 'pending' })).toEqual(odd.slice(0, -1));
    expect(await ids(ann, { status: ['granted', 'denied'] })).toEqual(['a1']);
    expect((await ids(callerOf(server, approver('eve', ['viewer'], ['*'])))).length).toBe(25);
    expect((await ann.approval.list({ status: 'denied' })).approvals).toEqual([]);
    expect((await callerOf(server, approver('eve', ['producer'])).approval.list()).approvals).toEqual([]);
    const [newest] = (await ann.approval.list()).approvals;
    expect(newest).toMatchObject({
      projectId: 'demo',
      runId: 'r2',
      approvalId: 'a23',
      title: 'Release',
      status: 'pending',
    });
    for (const cursor of ['CANARY', 'abc.1']) {
      expect(await refusalOf(ann.approval.list({ cursor }))).toMatchObject({ code: 'CURSOR_INVALID', path: 'cursor' });
    }
  });

  test('[G12] canDecide is true exactly while a decision of the caller would be accepted, and the box mine lists these', async () => {
    await using server = await openServer();
    await ask(server, { approvalId: 'open', requiredApprovals: 2 });
    await ask(server, { approvalId: 'own', requestedBy: 'ann' });
    await ask(server, { approvalId: 'of-others', approvers: ['bob'] });
    await ask(server, { approvalId: 'of-a-role', requiredRole: 'admin' });
    await ask(server, { approvalId: 'of-the-producer', authority: 'producer' });
    await ask(server, { approvalId: 'late', expiresAt: soon(60_000) });
    await ask(server, { approvalId: 'elsewhere', projectId: 'other' });
    await ask(server, { approvalId: 'decided' });
    await callerOf(server, approver('bob')).approval.deny({ ...run, approvalId: 'decided', reason: 'no' });
    const ann = callerOf(server, approver('ann', ['approver'], ['demo', 'other']));
    const mine = async (query: object = {}) =>
      (await ann.approval.list({ box: 'mine', ...query })).approvals.map(({ approvalId }) => approvalId);

    const { approvals, position } = await ann.approval.list();
    const decidable = approvals.filter(({ canDecide }) => canDecide).map(({ approvalId }) => approvalId);
    expect(decidable).toEqual(['elsewhere', 'late', 'open']);
    expect(await mine()).toEqual(['late', 'open', 'elsewhere']); // The soonest expiry, then the oldest request.
    expect(await mine({ projectId: 'demo' })).toEqual(['late', 'open']);
    expect(await mine({ projectId: 'demo', limit: 1 })).toEqual(['late']);
    expect(await mine({ projectId: 'unknown' })).toEqual([]);

    await ann.approval.grant({ ...run, approvalId: 'open' });
    expect(await ann.approval.get({ ...run, approvalId: 'open' })).toMatchObject({
      status: 'pending',
      canDecide: false,
    });
    expect(await ann.approval.get({ ...run, approvalId: 'late' })).toMatchObject({ canDecide: true });
    await server.bus.publish([{ type: 'run.completed', ...run }], { actor: 'ci' });
    expect(await mine({ projectId: 'demo' })).toEqual([]);
    expect(await refusalOf(ann.approval.get({ ...run, approvalId: 'unknown' }))).toMatchObject({
      code: 'APPROVAL_NOT_FOUND',
    });

    // The events after `position` are the changes that the first list lacks.
    const stream = await ann.onProjectEvent({ projectId: 'demo', categories: ['governance'], lastEventId: position });
    for await (const [, item] of stream) {
      expect(item).toMatchObject({ type: 'approval.granted', approvalId: 'open' });
      break;
    }
  });

  test('[G9] wait resolves with the outcome, also when it was stored before the call', async () => {
    await using server = await openServer();
    const early = waitFor(server, approval); // Before the request is published.
    const named = waitFor(server, { runId: 'r1', approvalId: 'a1' });
    await ask(server, { requiredApprovals: 2 });
    const ann = callerOf(server, approver('ann'));
    await ann.approval.grant(approval);
    await callerOf(server, approver('bob')).approval.grant({ ...approval, comment: 'go' });
    const outcome = await waitFor(server, approval);
    expect(outcome).toMatchObject({
      status: 'granted',
      decisions: [{ decidedBy: 'ann' }, { decidedBy: 'bob', comment: 'go' }],
    });
    expect([await early, await named]).toEqual([outcome, outcome]);

    await ask(server, { approvalId: 'by server code' });
    const waiting = waitFor(server, { ...approval, approvalId: 'by server code' });
    await server.broadcaster.broadcastApprovalDenied({
      ...approval,
      approvalId: 'by server code',
      decidedBy: 'eve',
      reason: 'no',
    });
    expect(await waiting).toMatchObject({ status: 'denied', decisions: [{ decidedBy: 'eve', reason: 'no' }] });
  });

  test('[G9] wait resolves only for a request of its actor and authority', async () => {
    await using server = await openServer();
    const key = (approvalId: string) => ({ ...run, approvalId });
    const early = refusalOf(server.approvals.wait(key('taken')));
    const ask = (more: object, actor: string) => server.bus.publish([requestOf(more)], { actor });
    await ask({ approvalId: 'taken', requiredRole: 'viewer' }, 'mallory');
    expect((await early).code).toBe('APPROVAL_ID_TAKEN');
    await callerOf(server, approver('eve', ['viewer'])).approval.grant(key('taken'));
    await ask({ approvalId: 'decided elsewhere', authority: 'producer' }, 'mallory');
    const granted = { type: 'approval.granted' as const, ...key('decided elsewhere'), decidedBy: 'ann' };
    await server.bus.publish([granted], { actor: 'mallory' });
    for (const options of [
      key('taken'),
      key('decided elsewhere'),
      { ...key('decided elsewhere'), authority: 'producer' as const },
      { ...key('decided elsewhere'), requestActor: 'mallory' },
    ]) {
      expect((await refusalOf(server.approvals.wait(options))).code).toBe('APPROVAL_ID_TAKEN');
    }
    const elsewhere = { ...key('decided elsewhere'), authority: 'producer' as const, requestActor: 'mallory' };
    expect(await server.approvals.wait(elsewhere)).toMatchObject({
      status: 'granted',
      decisions: [{ decidedBy: 'ann', actor: 'mallory' }],
    });

    await server.broadcaster.broadcastGovernanceRequired({ ...key('own'), title: 'Release' });
    const own = server.approvals.wait(key('own'));
    await callerOf(server, approver('ann')).approval.grant(key('own'));
    expect(await own).toMatchObject({
      status: 'granted',
      authority: 'runwire',
      requestActor: 'server',
      decisions: [{ decidedBy: 'ann', actor: 'ann' }],
    });
  });

  test('[G9] wait rejects when its signal aborts, when the run is ambiguous, and when the server closes', async () => {
    const server = await openServer();
    await ask(server);
    await ask(server, { approvalId: 'decided' });
    await callerOf(server, approver('ann')).approval.grant({ ...approval, approvalId: 'decided' });
    const controller = new AbortController();
    const aborted = waitFor(server, { ...approval, signal: controller.signal });
    const reason = new Error('enough');
    controller.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    await expect(waitFor(server, { ...approval, signal: controller.signal })).rejects.toBe(reason);

    const pinned = waitFor(server, { runId: 'r1', approvalId: 'a1' });
    const untouched = waitFor(server, { ...approval, approvalId: 'other' });
    // A wait reads the project of the run and then the approval: the waits before it have read the project.
    await waitFor(server, { runId: 'r1', approvalId: 'decided' });
    await ask(server, { projectId: 'two' });
    await expect(waitFor(server, { runId: 'r1', approvalId: 'a1' })).rejects.toMatchObject({
      code: 'RUN_AMBIGUOUS',
    });
    await callerOf(server, approver('ann')).approval.grant(approval);
    expect((await pinned).status).toBe('granted');

    const closing = expect(untouched).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await server.close();
    await closing;
    await expect(waitFor(server, approval)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });
});
