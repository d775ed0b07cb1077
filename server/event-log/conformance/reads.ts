import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Scope, StoredEvent } from '../contract/log.ts';
import {
  append,
  arbitraryDraft,
  changedAll,
  created,
  draft,
  eraseAt,
  instant,
  type OpenLog,
  one,
  readAll,
  seqs,
  started,
  T0,
  turnsDuring,
  upTo,
} from './kit.ts';

/** Tests of reads of events (contract/log.ts). */
export function describeReads(openLog: OpenLog): void {
  test('[L5] a scan visits every event of the run between after and scannedTo, in order, until visit returns false', async () => {
    const log = await openLog();
    await fc.assert(
      fc.asyncProperty(
        fc.array(arbitraryDraft(), { minLength: 1, maxLength: 100 }),
        fc.integer({ min: 1, max: 7 }),
        async (drafts, atOnce) => {
          const round = log.head;
          const run = { projectId: `p${round}`, runId: 'r' };
          await append(log, ...drafts.map((item) => ({ ...item, projectId: `${item.projectId}${round}` })));
          const expected = await readAll(log, { scope: { kind: 'run', ...run } });
          const visited: string[] = [];
          let after = round;
          while (after < log.head) {
            let count = 0;
            const visit = (json: string) => {
              visited.push(json);
              return ++count < atOnce;
            };
            const { scannedTo } = await log.scan({ ...run, after, visit });
            expect(count).toBeLessThanOrEqual(atOnce);
            expect(visited).toEqual(expected.filter(({ seq }) => seq <= scannedTo).map(({ json }) => json));
            expect(scannedTo).toBeGreaterThan(after);
            after = scannedTo;
          }
          expect(visited).toHaveLength(expected.length);
          expect(await log.scan({ ...run, after, visit: () => true })).toMatchObject({ scannedTo: log.head });
        },
      ),
      { numRuns: 30 },
    );
  });

  test('[L19] a scan ends with its slice, however long the run is, and rejects with an error of visit', async () => {
    const log = await openLog();
    await append(log, ...Array.from({ length: 100 }, () => started()));
    let [scans, visited] = [0, 0];
    for (let after = 0; after < log.head; scans++) {
      const visit = () => {
        const until = performance.now() + 1;
        while (performance.now() < until);
        return ++visited > 0;
      };
      ({ scannedTo: after } = await log.scan({ projectId: 'p', runId: 'r', after, visit }));
    }
    expect(visited).toBe(100);
    expect(scans).toBeGreaterThan(5);
    const visit = () => {
      throw new Error('no');
    };
    await expect(log.scan({ projectId: 'p', runId: 'r', after: 0, visit })).rejects.toThrow();
  });

  test('[L5] a page contains every match between after and scannedTo, in order, for every scope and filter of types', async () => {
    const log = await openLog();
    await fc.assert(
      fc.asyncProperty(
        fc.array(arbitraryDraft(), { minLength: 1, maxLength: 30 }),
        fc.nat(3),
        fc.array(one('run.created', 'run.started', 'stage.progress', 'approval.granted')),
        fc.integer({ min: 1, max: 7 }),
        async (drafts, kind, types, limit) => {
          // Each round has its own projects and users: no event of an earlier round may match.
          const round = log.head;
          const mine = drafts.map((item) => ({
            ...item,
            projectId: `${item.projectId}${round}`,
            audience: item.audience?.map((user) => `${user}${round}`),
          }));
          const received: StoredEvent[] = [];
          const stop = log.subscribe((records) => received.push(...records));
          await append(log, ...mine);
          stop();
          const project = { projectId: `p${round}` };
          const scopes: Scope[] = [
            { kind: 'all' },
            { kind: 'project', ...project },
            { kind: 'run', ...project, runId: 'r' },
            { kind: 'user', userId: `ann${round}` },
          ];
          const scope = scopes[kind] as Scope;
          const wanted = types.length > 0 ? new Set<string>(types) : undefined;
          const matches = received.filter(
            (record) =>
              (wanted?.has(record.type) ?? true) &&
              (scope.kind === 'all' ||
                (scope.kind === 'user' && record.users?.includes(scope.userId)) ||
                (scope.kind === 'project' && record.projectId === scope.projectId) ||
                (scope.kind === 'run' && record.projectId === scope.projectId && record.runId === scope.runId)),
          );
          let after = round;
          while (after < log.head) {
            const page = await log.read({ scope, types: wanted, limit, after });
            const expected = matches.filter(({ seq }) => seq > after && seq <= page.scannedTo);
            expect(page.records.length).toBeLessThanOrEqual(limit);
            expect(page.records.map(({ json }) => json)).toEqual(expected.map(({ json }) => json));
            expect(page.records.map(({ event }) => event)).toEqual(expected.map(({ event }) => event));
            expect(page.scannedTo).toBeGreaterThan(after);
            after = page.scannedTo;
          }
          expect(after).toBe(log.head);
          const beyond = await log.read({ scope, after: after + 5, limit });
          expect(beyond).toMatchObject({ records: [], scannedTo: after + 5, isExhausted: true });
        },
      ),
      { numRuns: 60 },
    );
  });

  test('[L14] an event is stored for its audience, its approvers and the creator of its run at that time', async () => {
    const log = await openLog();
    const received: StoredEvent[] = [];
    log.subscribe((records) => received.push(...records));
    await append(log, started());
    await append(log, created({ createdBy: 'ann' }), started({ audience: ['bob', 'ann', 'bob'] }));
    await append(log, draft('governance.required', { approvalId: 'x', title: 't', approvers: ['carl'] }));
    await append(log, created({ createdBy: 'dora', timestamp: instant(1) }), started());
    await append(log, started({ runId: 's', audience: [] }));
    const of = async (userId: string) => seqs(await readAll(log, { scope: { kind: 'user', userId } }));
    expect(await of('ann')).toEqual([2, 3, 4]);
    expect(await of('bob')).toEqual([3]);
    expect(await of('carl')).toEqual([4]);
    expect(await of('dora')).toEqual([5, 6]);
    expect(await of('nobody')).toEqual([]);
    const users = received.map((record) => [...(record.users ?? [])].sort());
    expect(users).toEqual([[], ['ann'], ['ann', 'bob'], ['ann', 'carl'], ['dora'], ['dora'], []]);
  });

  test('[L19] the event loop runs immediates and timers during long reads and a long trim', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    for (let batch = 0; batch < 50; batch++) {
      await append(log, ...upTo(1_000).map(() => draft('stage.started', { stageId: 'a', audience: ['ann'] })));
    }
    now += 1_000;
    await append(log, started());
    const nothing = { types: new Set(['run.failed']) };
    const alone = await turnsDuring(readAll(log, nothing));
    expect(alone.immediates).toBeGreaterThan(3);
    const reading = await turnsDuring(Promise.all([1, 2, 3, 4].map(() => readAll(log, nothing))));
    expect(reading.immediates).toBeGreaterThan(3);
    expect(reading.timers).toBeGreaterThan(1);
    const trimming = await turnsDuring(log.trim(now));
    expect(trimming.immediates).toBeGreaterThan(20);
    expect(trimming.timers).toBeGreaterThan(1);
    expect(log.oldest).toBe(50_001);
  });

  test('[L30] an event has the same hash prefix at its commit, in each page, and after its erasure', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    const genesis = '00000000';
    expect([log.headHashPrefix, ...(await log.hashPrefixesAt([0, 1]))]).toEqual([genesis, genesis, undefined]);
    const committed: (string | undefined)[] = [];
    log.subscribe((records) => {
      committed.push(...records.map(({ hashPrefix }) => hashPrefix));
      expect(log.headHashPrefix).toBe(committed.at(-1));
    });
    await append(log, created({ audience: ['ann'] }), started({ runId: 's', audience: ['ann'] }), started());
    now += 1_000;
    await append(log, started({ runId: 's' }), created({ projectId: 'q', audience: ['ann'] }));
    expect(new Set(committed).size).toBe(5);
    for (const prefix of committed) expect(prefix).toMatch(/^[0-9a-f]{8}$/);
    const verdict = await log.integrity.verify();
    expect(verdict.ok && verdict.hash.slice(0, 8)).toBe(committed[4]);

    const prefixesIn = async (scope: Scope) =>
      (await readAll(log, { scope, limit: 2 })).map(({ seq, hashPrefix }) => [seq, hashPrefix]);
    const expected = (...seqs: number[]) => seqs.map((seq) => [seq, committed[seq - 1]]);
    const check = async () => {
      expect(await prefixesIn({ kind: 'all' })).toEqual(expected(1, 2, 3, 4, 5));
      expect(await prefixesIn({ kind: 'project', projectId: 'p' })).toEqual(expected(1, 2, 3, 4));
      expect(await prefixesIn({ kind: 'run', projectId: 'p', runId: 's' })).toEqual(expected(2, 4));
      expect(await prefixesIn({ kind: 'user', userId: 'ann' })).toEqual(expected(1, 2, 5));
      const { runs, hashPrefixes } = await changedAll(log);
      const changed = runs.map(({ lastSeq }, index) => [lastSeq, hashPrefixes[index]]);
      expect(changed).toEqual(expected(3, 4, 5));
      expect(await log.hashPrefixesAt([5, 0, 1, 6])).toEqual([committed[4], genesis, committed[0], undefined]);
    };
    await check();
    const erased: (string | undefined)[] = [];
    log.integrity.onErased(({ hashPrefix }) => erased.push(hashPrefix));
    await append(log, started());
    await eraseAt(log, 3);
    await eraseAt(log, 6);
    expect(erased).toEqual([committed[2], committed[5]]);
    expect(await prefixesIn({ kind: 'run', projectId: 'p', runId: 'r' })).toEqual(expected(1, 3, 6));

    await log.trim(now);
    expect(log.oldest).toBe(4);
    expect(await log.hashPrefixesAt([2, 4, 6])).toEqual([undefined, committed[3], committed[5]]);
  });

  test('[R1] positionBeforeTime is the last position recorded before an instant', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    expect(await log.positionBeforeTime(T0)).toBe(0);
    for (const at of [0, 0, 5, 5, 9]) {
      now = T0 + at;
      await append(log, started());
    }
    const ask = (at: number) => log.positionBeforeTime(T0 + at);
    expect(await Promise.all([-1, 0, 1, 5, 6, 9, 10].map(ask))).toEqual([0, 0, 2, 2, 4, 4, 5]);
    await log.trim(T0 + 5);
    expect(await Promise.all([-1, 1, 5, 6].map(ask))).toEqual([2, 2, 2, 4]);
  });
}
