import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AnyWebSocketEventSchema } from '../../../shared/events.ts';
import type { RunView } from '../../../shared/run.ts';
import { ERASED } from '../../../shared/tombstone.ts';
import type { StoredEvent } from '../contract/log.ts';
import {
  append,
  arbitraryDraft,
  arbitraryTurns,
  attempt,
  created,
  type Draft,
  draft,
  eraseAt,
  folded,
  instant,
  type OpenLog,
  readAll,
  seqs,
  started,
  T0,
  turnsDuring,
  upTo,
  viewOf,
} from './kit.ts';

/** Tests of the hash chain, its checkpoints, and erasure (contract/integrity.ts). */
export function describeIntegrity(openLog: OpenLog): void {
  test('[V1] a log verifies after appends, refused batches, trims and erasures', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    const nothing = { ok: true, from: 1, to: 0, hash: '0'.repeat(64), events: 0, erased: 0 };
    expect(await log.integrity.verify()).toEqual(nothing);
    await fc.assert(
      fc.asyncProperty(arbitraryTurns(), fc.nat(9), fc.array(fc.nat(40)), async (turns, trimmed, erased) => {
        for (const turn of turns) await Promise.all(turn.map((each) => attempt(log, each)));
        now += 1_000;
        await append(log, started());
        await log.trim(now - trimmed * 1_000);
        for (const back of erased) await eraseAt(log, log.head - back).catch(() => undefined);
        const kept = await readAll(log, { after: log.oldest - 1 });
        expect(await log.integrity.verify()).toEqual({
          ok: true,
          from: log.oldest,
          to: log.head,
          hash: expect.stringMatching(/^[0-9a-f]{64}$/),
          events: kept.length,
          erased: kept.filter(({ event }) => 'erased' in event).length,
        });
      }),
      { numRuns: 20 },
    );
    expect(log.oldest).toBeGreaterThan(1);
  });

  test('[V13] the erasures of a run are listed in order, page by page, and those of no other run', async () => {
    const log = await openLog();
    const texts = Array.from({ length: 12 }, (_, at) =>
      draft('stage.progress', { stageId: 's', message: `m${at}`, runId: at % 3 === 0 ? 'r' : 'other' }),
    );
    await append(log, ...texts);
    for (let seq = 1; seq <= 12; seq++) await eraseAt(log, seq, { reason: `of ${seq}` });
    const found: { seq: number; by: string; reason: string }[] = [];
    let after: number | undefined = 0;
    while (after !== undefined) {
      const page = await log.integrity.erasuresOf({ projectId: 'p', runId: 'r', after, limit: 4 });
      found.push(...page.erasures);
      after = page.next;
    }
    const expected = upTo(12).filter((seq) => seq % 3 === 1);
    expect(found).toMatchObject(expected.map((seq) => ({ seq, runId: 'r', by: 'ada', reason: `of ${seq}` })));
    expect(await log.integrity.erasuresOf({ projectId: 'q', runId: 'r', after: 0, limit: 99 })).toMatchObject({
      erasures: [],
    });
  });

  test('[R28] a store returns its last checkpoint and the number of its erasures', async () => {
    const log = await openLog();
    expect(await log.integrity.signed()).toEqual({ checkpoint: undefined, erasures: 0 });
    await append(log, started(), started({ stageId: 't' }));
    const { checkpoint } = await log.integrity.checkpoint();
    await append(log, started({ stageId: 'u' }));
    await eraseAt(log, 1);
    await eraseAt(log, 1);
    expect(await log.integrity.signed()).toEqual({ checkpoint, erasures: 1 });
  });

  test('[V1] a log verifies during appends, a trim and erasures', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    const batch = () => append(log, ...upTo(1_000).map(() => started()));
    await batch();
    now += 1_000;
    for (let count = 0; count < 8; count++) await batch();
    const to = log.head;
    const verifying = Promise.all([log.integrity.verify(), log.integrity.verify()]);
    const trimming = log.trim(now);
    let isDone = false;
    void verifying.finally(() => {
      isDone = true;
    });
    for (let index = 0; !isDone; index++) {
      await append(log, started(), started());
      await eraseAt(log, to - index);
    }
    expect(await trimming).toEqual({ removed: 1_000 });
    for (const verdict of await verifying) {
      expect(verdict).toMatchObject({ ok: true });
      expect((verdict as { to: number }).to).toBeGreaterThanOrEqual(to);
    }
    expect(log.head).toBeGreaterThan(to);
    expect(await log.integrity.verify()).toMatchObject({ ok: true, from: log.oldest, to: log.head });
  });

  test('[L31] after a repair of the clock recordedAt begins again, and searches and trims use times that never decrease', async () => {
    let now = T0 + 5_000;
    const log = await openLog({ now: () => now });
    const entry = { sub: 'ada', action: 'run.get', outcome: 'ok', via: 'http', count: 1 } as const;
    expect(log.newestMs).toBe(0);
    expect(await log.integrity.repairClock({ by: 'ada' })).toBeUndefined();
    await append(log, started());
    now = T0 + 86_400_000_000; // Ahead.
    await append(log, started(), started());
    await log.access.write([{ ...entry, at: new Date(now).toISOString() }]);
    expect(log.newestMs).toBe(now);
    now = T0 + 10_000;
    await append(log, started());
    expect(await log.positionBeforeTime(now + 1)).toBe(1);

    const repair = await log.integrity.repairClock({ by: 'ada' });
    expect(repair).toMatchObject({ seq: 4, at: instant(10), from: instant(86_400_000), by: 'ada', epoch: log.epoch });
    expect(log.newestMs).toBe(now);
    expect(await log.integrity.repairClock({ by: 'ada' })).toBeUndefined();
    now = T0 + 20_000;
    await append(log, started(), started());
    await log.access.write([{ ...entry, at: new Date(now).toISOString() }]);

    const times = (await readAll(log)).map(({ event }) => (event as { recordedAt: string }).recordedAt);
    expect(times).toEqual([5, 86_400_000, 86_400_000, 86_400_000, 20, 20].map(instant));
    const positions = [5_000, 5_001, 10_000, 10_001, 20_000, 20_001].map((ms) => log.positionBeforeTime(T0 + ms));
    expect(await Promise.all(positions)).toEqual([0, 1, 1, 4, 4, 6]);
    const { entries } = await log.access.list({ projects: 'all', limit: 9 });
    expect(entries.map(({ at }) => at)).toEqual([instant(20), instant(10)]);
    expect(await log.integrity.verify()).toMatchObject({ ok: true, events: 6 });
    expect(await log.trim(T0 + 10_000)).toEqual({ removed: 1 });
    expect(await log.trim(T0 + 10_001)).toEqual({ removed: 3 });
    expect(log.oldest).toBe(5);
    expect(await log.integrity.verify()).toMatchObject({ ok: true, from: 5 });
  });

  test('[V7] the event loop runs immediates and timers during a verification, and an abort stops the verification', async () => {
    const log = await openLog();
    for (let batch = 0; batch < 20; batch++) await append(log, ...upTo(1_000).map(() => started()));
    const turns = await turnsDuring(log.integrity.verify());
    expect(turns.immediates).toBeGreaterThan(10);
    expect(turns.timers).toBeGreaterThan(1);
    const controller = new AbortController();
    const verifying = log.integrity.verify({ signal: controller.signal });
    const stopped = new Error('stopped');
    setImmediate(() => controller.abort(stopped));
    await expect(verifying).rejects.toBe(stopped);
  });

  test('[V5] [V6] a checkpoint has the position and the hash of the last row, and verification checks it until the row is trimmed', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    const take = async () => (await log.integrity.checkpoint()).checkpoint;
    const checkpoints = [await take()];
    expect(checkpoints[0]).toMatchObject({ epoch: log.epoch, seq: 0, oldest: 1, at: instant(0) });
    for (let round = 0; round < 3; round++) {
      now += 1_000;
      await append(log, started(), started());
      checkpoints.push(await take());
    }
    expect(seqs(checkpoints)).toEqual([0, 2, 4, 6]);
    expect(await log.integrity.checkpoint()).toEqual({ checkpoint: checkpoints[3], isNew: false });
    expect(await log.integrity.verify({ checkpoints })).toMatchObject({ ok: true, hash: checkpoints[3]?.hash });
    await log.trim(T0 + 3_000);
    expect(log.oldest).toBe(5);
    expect(await log.integrity.verify({ checkpoints })).toMatchObject({ ok: true, from: 5 });

    const other = '1'.repeat(64);
    for (const [seq, found] of [
      [0, 'ok'], // A trimmed row: there is no hash to compare.
      [4, 5], // The last trimmed row: the signed record of the trim has its hash.
      [5, 5],
      [6, 6],
      [7, 7],
    ]) {
      const verdict = await log.integrity.verify({
        checkpoints: [...checkpoints, { seq: seq as number, hash: other }],
      });
      expect(verdict).toMatchObject(found === 'ok' ? { ok: true } : { ok: false, seq: found, reason: 'checkpoint' });
    }
  });

  test('[V10] an erased event keeps its envelope, its ids and its type, and loses its text', async () => {
    const log = await openLog();
    const secret = 'SECRET';
    const text = { audience: [secret], eventId: 'e' };
    const draftOf: Draft[] = [
      created({ ...text, name: secret, labels: { [secret]: secret }, stages: [{ stageId: 'a', name: secret }] }),
      draft('stage.started', { stageId: 'a', name: secret, attempt: 2 }),
      draft('stage.progress', { stageId: 'a', message: secret, attempt: 2 }),
      draft('stage.failed', { stageId: 'a', error: { message: secret, code: secret }, willRetry: true, attempt: 2 }),
      draft('artifact.created', { artifactId: 'f', name: secret, uri: secret, kind: secret, sizeBytes: 7 }),
      draft('governance.required', {
        ...{ approvalId: 'x', title: secret, reason: secret, requiredApprovals: 2, requiredRole: 'surgeon' },
        ...{ approvers: ['bob'], evidence: ['f'], expiresAt: instant(60), authority: 'producer' },
      }),
      draft('approval.granted', { approvalId: 'x', decidedBy: 'bob', comment: secret }),
      draft('approval.denied', { approvalId: 'x', decidedBy: 'ann', reason: secret }),
      draft('run.failed', { error: { message: secret }, durationMs: 5, stageId: 'a' }),
      draft('run.completed', { summary: secret, timestamp: instant(1) }),
    ];
    await append(log, ...draftOf);
    const before = await readAll(log);
    for (const { seq } of before) await eraseAt(log, seq);
    const after = await readAll(log);
    expect(JSON.stringify(after.map(({ json }) => json))).not.toContain(secret);
    for (const [index, { event }] of after.entries()) {
      expect(AnyWebSocketEventSchema.safeParse(event).error).toBeUndefined();
      const original = before[index]?.event as Record<string, unknown>;
      const names = ['projectId', 'runId', 'timestamp', 'eventId', 'recordedAt', 'seq', 'runSeq', 'actor', 'type'];
      const envelope = Object.fromEntries(names.map((name) => [name, original[name]]));
      expect(event).toMatchObject({ ...envelope, erased: true });
    }
    const own = after.map(({ event }) => event) as Record<string, unknown>[];
    expect(own).toMatchObject([
      { name: ERASED, stages: [{ stageId: 'a', name: ERASED }] },
      { stageId: 'a', name: ERASED, attempt: 2 },
      { stageId: 'a', message: ERASED, attempt: 2 },
      { stageId: 'a', error: { message: ERASED }, willRetry: true, attempt: 2 },
      { artifactId: 'f', name: ERASED, sizeBytes: 7 },
      {
        ...{ approvalId: 'x', title: ERASED, requiredApprovals: 2, requiredRole: 'surgeon', approvers: ['bob'] },
        ...{ evidence: ['f'], expiresAt: instant(60), authority: 'producer' },
      },
      { approvalId: 'x', decidedBy: 'bob' },
      { approvalId: 'x', decidedBy: 'ann', reason: ERASED },
      { error: { message: ERASED }, durationMs: 5, stageId: 'a' },
      {},
    ]);
    const gone = ['labels', 'audience', 'uri', 'kind', 'comment', 'summary'];
    for (const event of own) expect(gone.filter((key) => key in event)).toEqual([]);
    expect(JSON.stringify(await log.runs.get('p', 'r'))).not.toContain(secret);
    expect(JSON.stringify(await log.runs.list({ projects: 'all', limit: 9 }))).not.toContain(secret);
    expect(JSON.stringify(await log.approvals.list({ projects: 'all', limit: 9 }))).not.toContain(secret);
    expect(await readAll(log, { scope: { kind: 'user', userId: secret } })).toEqual([]);
    expect((await log.search.find({ projects: 'all', text: secret, limit: 9 })).records).toEqual([]);
    expect(await log.integrity.verify()).toMatchObject({ ok: true, erased: draftOf.length });
  });

  test('[V11] after erasures the rows of a run equal the fold of its events and tombstones', async () => {
    const log = await openLog();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(arbitraryDraft(), { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(1_000), { maxLength: 8 }),
        async (batches, places) => {
          const after = log.head;
          const projectId = `p${after}`;
          for (const batch of batches) await append(log, ...batch.map((item) => ({ ...item, projectId })));
          for (const place of places) {
            const seq = after + 1 + (place % (log.head - after));
            const before = await log.runs.get(projectId, 'r');
            await eraseAt(log, seq);
            // An erasure removes text, or replaces it with ERASED. Nothing else may change.
            const now = await log.runs.get(projectId, 'r');
            expect(now?.run.status).toBe(before?.run.status);
            expect(now?.run.counts).toEqual(before?.run.counts);
            expect(now?.run.lastSeq).toBe(before?.run.lastSeq);
          }
          for (const runId of ['r', 's']) {
            const kept = await readAll(log, { scope: { kind: 'run', projectId, runId }, after });
            expect((await log.runs.get(projectId, runId))?.run).toEqual(folded(kept));
          }
        },
      ),
      { numRuns: 50 },
    );
    expect(await log.integrity.verify()).toMatchObject({ ok: true });
    // Hundreds of erasures take long: each one waits for the disk several times.
  });

  test('[V11] an erased event is no longer for its audience, and still for its approvers and the creator of its run', async () => {
    const log = await openLog();
    const audience = ['ann', 'bob', 'carl'];
    await append(log, created({ createdBy: 'ann' }));
    await append(log, draft('governance.required', { approvalId: 'x', title: 't', audience, approvers: ['bob'] }));
    const received: StoredEvent[] = [];
    log.integrity.onErased((record) => received.push(record));
    const stop = log.integrity.onErased(() => received.push());
    stop();
    await eraseAt(log, 2);
    const of = async (userId: string) => seqs(await readAll(log, { scope: { kind: 'user', userId } }));
    expect([await of('ann'), await of('bob'), await of('carl')]).toEqual([[1, 2], [2], []]);
    const [record] = await readAll(log, { after: 1 });
    expect(received).toMatchObject([{ seq: 2, runSeq: 2, projectId: 'p', runId: 'r', users: ['ann', 'bob'] }]);
    expect(received[0]?.json).toBe(record?.json);
  });

  test('[V11] a large run that is read during an erasure contains no erased text', async () => {
    const log = await openLog();
    for (let batch = 0; batch < 4; batch++) {
      const stage = (index: number) => {
        return draft('stage.started', { stageId: `s${batch * 1_000 + index}`, name: `SECRET ${'x'.repeat(150)}` });
      };
      await append(log, ...upTo(1_000).map(stage));
    }
    const kept = ({ run }: { run: RunView }) => run.stages.filter(({ name }) => name.startsWith('SECRET')).length;
    // The more turns of the event loop before the erasure, the more rows of the run have been read before it.
    for (let turns = 0; turns < 8; turns++) {
      let isErased = false;
      const reading = viewOf(log, 'p', 'r').then((found) => ({ run: found?.run as RunView, isErased }));
      for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
      await eraseAt(log, turns + 1);
      // A view that is complete in the turn of the erasure may have been read before it: only later views count.
      await new Promise(setImmediate);
      isErased = true;
      const found = await reading;
      if (found.isErased) expect(kept(found)).toBe(4_000 - turns - 1);
    }
  });

  test('[V13] a second erasure changes nothing; a missing, trimmed or forbidden event is EVENT_NOT_FOUND', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    await append(log, created({ name: 'one' }), started());
    now += 1_000;
    await append(log, created({ projectId: 'q' }), started());
    const erasure = await eraseAt(log, 1, { reason: 'first' });
    expect(erasure).toMatchObject({ epoch: log.epoch, seq: 1, by: 'ada', reason: 'first', at: instant(1) });
    now += 1_000;
    expect(await eraseAt(log, 1, { reason: 'second', by: 'eve' })).toEqual(erasure);
    await log.trim(T0 + 1);
    const mayErase = (projectId: string) => projectId === 'p';
    for (const seq of [1, 2, 3, 5, 9e15]) {
      await expect(eraseAt(log, seq, { mayErase }), String(seq)).rejects.toMatchObject({
        code: 'EVENT_NOT_FOUND',
        message: 'no such event',
      });
    }
    expect(await log.integrity.verify()).toMatchObject({ ok: true, from: 3, erased: 0 });
    expect(await append(log, created({ name: 'two' }))).toMatchObject([{ seq: 5 }]);
  });

  test('[V13] a failed erasure changes nothing', async () => {
    const log = await openLog();
    await append(log, created({ name: 'one' }));
    const before = [await log.runs.get('p', 'r'), (await readAll(log)).map(({ json }) => json)];
    const received: unknown[] = [];
    log.integrity.onErased((record) => received.push(record));
    const tombstone = () => ({
      type: 'run.created',
      name: null,
      get seq() {
        throw new Error('a defect');
      },
    });
    await expect(eraseAt(log, 1, { tombstone })).rejects.toMatchObject({ code: 'INTERNAL' });
    expect([await log.runs.get('p', 'r'), (await readAll(log)).map(({ json }) => json)]).toEqual(before);
    expect(received).toEqual([]);
    expect(await log.integrity.verify()).toMatchObject({ ok: true, erased: 0 });
    expect(await append(log, started())).toMatchObject([{ seq: 2 }]);
  });
}
