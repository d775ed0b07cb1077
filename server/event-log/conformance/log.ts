import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RunEvent } from '../../../shared/events.ts';
import type { EventLog } from '../contract/store.ts';
import {
  append,
  arbitraryTurns,
  attempt,
  created,
  draft,
  eraseAt,
  instant,
  type OpenLog,
  readAll,
  seqs,
  started,
  T0,
  upTo,
} from './kit.ts';

/** Tests of append, read and trim (contract/log.ts). */
export function describeLog(openLog: OpenLog): void {
  test('[L1] seq is contiguous from 1 over the log and runSeq over each run, also after refused and repeated drafts', async () => {
    const log = await openLog();
    expect({ head: log.head, oldest: log.oldest }).toEqual({ head: 0, oldest: 1 });
    const repeated = started();
    await Promise.allSettled([
      append(log, created(), repeated),
      log.append({
        actor: 'ci',
        drafts: [started(), started()],
        check: () => {
          throw new Error('no');
        },
      }),
      append(log, created({ runId: 's' }), repeated, started({ runId: 's' })),
      append(log, created({ projectId: 'q' })),
    ]);
    await append(log, started());
    const records = await readAll(log);
    expect(seqs(records)).toEqual(upTo(6));
    expect(records.map(({ projectId, runId, runSeq }) => `${projectId} ${runId} ${runSeq}`)).toEqual([
      'p r 1',
      'p r 2',
      'p s 1',
      'p s 2',
      'q r 1',
      'p r 3',
    ]);
    expect(records.map((record) => record.event)).toMatchObject(
      records.map(({ seq, runSeq, type }) => ({ seq, runSeq, type, actor: 'ci' })),
    );
    expect(log.head).toBe(6);
  });

  test('[L2] a refused batch stores nothing, and does not affect other batches of its turn', async () => {
    const log = await openLog();
    await append(log, created());
    const before = await log.runs.get('p', 'r');
    const refusal = new Error('guarded');
    const refused = log.append({
      actor: 'ci',
      drafts: [
        draft('stage.started', { stageId: 'a' }),
        created({ runId: 'new' }),
        draft('artifact.created', { artifactId: 'f', name: 'n', audience: ['ann'] }),
        draft('run.completed'),
      ],
      check: (_, { type }) => {
        if (type === 'run.completed') throw refusal;
      },
    });
    const [first, error, last] = await Promise.all([
      append(log, created({ runId: 's' })),
      refused.catch((reason: unknown) => reason),
      append(log, started({ runId: 's' })),
    ]);
    expect(error).toMatchObject({ code: 'INTERNAL', cause: refusal });
    expect([...first, ...last]).toMatchObject([{ seq: 2 }, { seq: 3 }]);
    expect((await readAll(log)).map((record) => record.type)).toEqual(['run.created', 'run.created', 'run.started']);
    expect((await log.runs.get('p', 'r'))?.run).toEqual(before?.run);
    expect(await log.runs.get('p', 'new')).toBeUndefined();
    expect(await readAll(log, { scope: { kind: 'user', userId: 'ann' } })).toEqual([]);
  });

  test('[L2] [L3] [L4] [F10] batches of one turn, some of them refused, give the same log as one batch in each turn', async () => {
    const [together, alone] = [await openLog({ now: () => T0 }), await openLog({ now: () => T0 })];
    await fc.assert(
      fc.asyncProperty(arbitraryTurns(), async (turns) => {
        const begin = together.head;
        const projects = [`p${begin}`, `q${begin}`];
        for (const turn of turns) {
          // Each round has its own projects.
          const batches = turn.map(({ failsAt, drafts }) => ({
            failsAt,
            drafts: drafts.map((item) => ({ ...item, projectId: `${item.projectId}${begin}` })),
          }));
          const answers = await Promise.all(batches.map((each) => attempt(together, each)));
          const expected: unknown[] = [];
          for (const each of batches) expected.push(await attempt(alone, each));
          expect(answers).toEqual(expected);
        }
        const all = async (log: EventLog) => ({
          events: (await readAll(log, { after: begin })).map((record) => record.json),
          ofAnn: seqs(await readAll(log, { after: begin, scope: { kind: 'user', userId: 'ann' } })),
          headers: (await log.runs.list({ projects: projects, limit: 9 })).runs,
          views: await Promise.all(projects.flatMap((id) => [log.runs.get(id, 'r'), log.runs.get(id, 's')])),
        });
        expect(await all(together)).toEqual(await all(alone));
      }),
      { numRuns: 30 },
    );
  });

  test('[L2] [L44] a check sees the run just before its draft, and its result is in the receipt of the draft', async () => {
    const log = await openLog();
    await append(log, created({ stages: [{ stageId: 'a', name: 'A' }] }));
    const repeated = draft('stage.completed', { stageId: 'a' });
    const receipts = await log.append({
      actor: 'ci',
      drafts: [draft('stage.started', { stageId: 'a' }), repeated, repeated, created({ runId: 'new' })],
      check: (rows, { runId }) => [runId, rows.header()?.lastRunSeq, rows.stage('a')?.status],
    });
    expect(receipts.map(({ checked }) => checked)).toEqual([
      ['r', 1, 'pending'],
      ['r', 2, 'running'],
      undefined, // A duplicate.
      ['new', undefined, undefined],
    ]);
  });

  test('[L3] an eventId is stored once in its project, and a duplicate gets the position of the first event', async () => {
    const log = await openLog();
    const first = created({ eventId: 'x', name: 'first' });
    const again = created({ eventId: 'x', name: 'second', runId: 's' });
    const [one, two] = await Promise.all([append(log, first, again), append(log, again)]);
    const three = await append(log, started({ runId: 's' }), again);
    const stored = { eventId: 'x', seq: 1, runSeq: 1 };
    expect(one).toEqual([
      { ...stored, isDuplicate: false },
      { ...stored, isDuplicate: true },
    ]);
    expect(two).toEqual([{ ...stored, isDuplicate: true }]);
    expect(three).toMatchObject([{ seq: 2, runSeq: 1, isDuplicate: false }, stored]);
    expect(await append(log, { ...again, projectId: 'q' })).toMatchObject([{ seq: 3, isDuplicate: false }]);
    expect((await log.runs.get('p', 'r'))?.run.name).toBe('first');
    expect(log.head).toBe(3);
  });

  test('[L3] an eventId of a refused batch can be used again', async () => {
    const log = await openLog();
    const check = () => {
      throw new Error('no');
    };
    const event = created();
    const [, taken] = await Promise.allSettled([
      log.append({ actor: 'ci', drafts: [event], check }),
      append(log, event),
    ]);
    expect(taken).toMatchObject({ status: 'fulfilled', value: [{ seq: 1, isDuplicate: false }] });
  });

  test('[L4] batches of one turn commit together, in order, and listeners run before the promises of append resolve', async () => {
    const log = await openLog();
    const received: string[] = [];
    log.subscribe((records) => received.push(`commit ${seqs(records)} at ${log.head}`));
    const stop = log.subscribe(() => received.push('stopped'));
    stop();
    await Promise.all(
      ['a', 'b', 'c'].map(async (publisher) => {
        const receipts = await append(log, started(), started());
        received.push(`${publisher} ${seqs(receipts)}`);
      }),
    );
    expect(received).toEqual(['commit 1,2,3,4,5,6 at 6', 'a 1,2', 'b 3,4', 'c 5,6']);
    await append(log, started());
    expect(received.at(-1)).toBe('commit 7 at 7');
  });

  test('[L4] a batch of duplicates calls no listener', async () => {
    const log = await openLog();
    const event = created();
    await append(log, event);
    let commits = 0;
    log.subscribe(() => commits++);
    await append(log, event);
    expect(commits).toBe(0);
  });

  test('[L7] two logs have different epochs and secrets', async () => {
    const [a, b] = [await openLog(), await openLog()];
    expect(a.epoch).not.toBe(b.epoch);
    expect(a.epoch).toMatch(/^\S{8,}$/);
    expect(a.secret).not.toBe(b.secret);
    expect(a.secret).toMatch(/^\S{32,}$/);
  });

  test('[L8] a trim deletes the events recorded before an instant, but never the newest event, and keeps views and counters', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    const first = created({ createdBy: 'ann' });
    await append(log, first, draft('stage.started', { stageId: 'a' }));
    now = T0 + 1_000;
    await append(log, started(), created({ runId: 's' }));
    const [run, other] = [await log.runs.get('p', 'r'), await log.runs.get('p', 's')];

    expect(await log.trim(T0)).toEqual({ removed: 0 });
    expect(await log.trim(T0 + 1)).toEqual({ removed: 2 });
    expect({ head: log.head, oldest: log.oldest }).toEqual({ head: 4, oldest: 3 });
    expect(seqs(await readAll(log))).toEqual([3, 4]);
    expect(seqs(await readAll(log, { scope: { kind: 'user', userId: 'ann' } }))).toEqual([3]);

    expect(await log.trim(T0 + 10_000)).toEqual({ removed: 1 });
    expect({ head: log.head, oldest: log.oldest }).toEqual({ head: 4, oldest: 4 });
    expect(await log.runs.get('p', 'r')).toEqual(run);
    expect(await log.runs.get('p', 's')).toEqual(other);
    expect(await append(log, first)).toMatchObject([{ seq: 5, runSeq: 4, isDuplicate: false }]);
  });

  test('[L9] recordedAt never decreases, even when the clock is set back', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    for (const at of [5_000, 1_000, -90_000, 6_000]) {
      now = T0 + at;
      await append(log, started(), started());
    }
    const times = (await readAll(log)).map((record) => (record.event as RunEvent).recordedAt);
    expect(times).toEqual([5, 5, 5, 5, 5, 5, 6, 6].map(instant));
  });

  test('[L16] batches accepted before close are logged, and after close every call is UNAVAILABLE', async () => {
    const log = await openLog();
    const reading = log.read({ scope: { kind: 'all' }, after: 0, limit: 1 }).catch((error: unknown) => error);
    const accepted = upTo(3).map(() => append(log, ...upTo(600).map(() => started())));
    await log.close();
    await log.close();
    expect((await Promise.all(accepted)).map((receipts) => receipts.length)).toEqual([600, 600, 600]);
    expect(await reading).toSatisfy((answer) => 'records' in answer || answer.code === 'UNAVAILABLE');
    const calls = {
      append: () => append(log, started()),
      read: () => log.read({ scope: { kind: 'all' }, after: 0, limit: 1 }),
      projectsOf: () => log.runs.projectsOf('r'),
      run: () => log.runs.get('p', 'r'),
      runs: () => log.runs.list({ projects: 'all', limit: 1 }),
      runsChangedSince: () => log.runs.changedSince({ projects: 'all', after: 0, limit: 1 }),
      trim: () => log.trim(0),
      verify: () => log.integrity.verify(),
      checkpoint: () => log.integrity.checkpoint(),
      erase: () => eraseAt(log, 1),
      search: () => log.search.find({ projects: 'all', limit: 1 }),
      searchText: () => log.search.find({ projects: 'all', text: 'x', limit: 1 }),
      positionBefore: () => log.positionBeforeTime(0),
      write: () => log.access.write([]),
      list: () => log.access.list({ projects: 'all', limit: 1 }),
    };
    for (const [name, call] of Object.entries(calls)) {
      await expect(call(), name).rejects.toMatchObject({ name: 'RunwireError', code: 'UNAVAILABLE' });
    }
  });
}
