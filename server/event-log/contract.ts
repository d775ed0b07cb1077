import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { AnyWebSocketEventSchema, foldEvent, type RunEvent, runwireEvents } from '../../shared/events.ts';
import type { RunView } from '../../shared/run.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import { ERASED, tombstoneOf } from '../../shared/tombstone.ts';
import type {
  AccessEntry,
  AccessQuery,
  EventLog,
  KeptApproval,
  LogRecord,
  ReadyDraft,
  Revocation,
  RunQuery,
  Scope,
  SearchQuery,
} from './log.ts';
import { holdsAll, parseText } from './words.ts';

/** The suite that every store must pass: `describeEventLog` for each, in the store's own test file. */

/** Where a log is kept. Opened again after a close, it is the same log, unless the store is not persistent. */
export type Place = {
  open(options?: { now?: () => number }): Promise<EventLog>;
  remove(): Promise<void>;
};

export const T0 = Date.parse('2026-01-01T00:00:00.000Z');
const instant = (seconds: number) => new Date(T0 + seconds * 1_000).toISOString();

export type Draft = ReadyDraft & { [key: string]: unknown };

const one = <T>(...values: T[]) => fc.constantFrom(...values);

/**
 * Drafts of all types, with so few ids, attempts and instants that they meet all the time. The last two stage ids are
 * ordered one way by UTF-16 code units, as JavaScript does, and the other way by UTF-8 bytes, as databases do.
 */
export function arbitraryDraft(): fc.Arbitrary<Draft> {
  const stageId = one('a', 'b', '～', '😀');
  const attempt = one(1, 1, 2, 3);
  const durationMs = one(0, 500, 2_500);
  const error = fc.record({ message: one('boom', 'bang'), code: one('E1', 'E2') }, { requiredKeys: ['message'] });
  const user = one('ann', 'bob', 'eve');
  const approvalId = one('x', 'y');
  const of = (type: RunEvent['type'], fields: Record<string, fc.Arbitrary<unknown>>, ...requiredKeys: string[]) => {
    const envelope = {
      type: fc.constant(type),
      projectId: one('p', 'q'),
      runId: one('r', 's'),
      timestamp: fc.nat(4).map(instant),
      eventId: fc.nat(60).map(String),
      audience: fc.uniqueArray(user),
    };
    const shape: Record<string, fc.Arbitrary<unknown>> = { ...envelope, ...fields };
    const required = ['type', 'projectId', 'runId', 'timestamp', 'eventId', ...requiredKeys];
    return fc.record(shape, { requiredKeys: required }) as unknown as fc.Arbitrary<Draft>;
  };
  const progress = of(
    'stage.progress',
    {
      stageId,
      attempt,
      progress: one(0, 12.5, 33.3333, 100),
      message: one('m1', 'm2'),
      done: one(0, 1, 7),
      total: one(0, 4),
    },
    'stageId',
  ).filter((draft) => ['progress', 'message', 'done'].some((key) => key in draft));
  return fc.oneof(
    {
      weight: 2,
      arbitrary: of(
        'run.created',
        {
          name: one('one', 'two'),
          stages: fc.array(fc.record({ stageId, name: one('A', 'B') }), { maxLength: 4 }),
          createdBy: user,
          labels: fc.dictionary(one('k', 'l'), one('1', '2')),
          parentRunId: one('r', 's'),
        },
        'name',
      ),
    },
    { weight: 1, arbitrary: of('run.started', {}) },
    { weight: 1, arbitrary: of('run.completed', { durationMs, summary: one('fine', 'well') }) },
    { weight: 1, arbitrary: of('run.failed', { error, durationMs, stageId }, 'error') },
    { weight: 4, arbitrary: of('stage.started', { stageId, name: one('A', 'C'), attempt }, 'stageId') },
    { weight: 4, arbitrary: progress },
    { weight: 3, arbitrary: of('stage.completed', { stageId, durationMs, attempt }, 'stageId') },
    {
      weight: 3,
      arbitrary: of('stage.failed', { stageId, error, willRetry: fc.boolean(), attempt }, 'stageId', 'error'),
    },
    {
      weight: 2,
      arbitrary: of(
        'artifact.created',
        { artifactId: one('f', 'g'), name: one('A', 'B'), stageId, kind: one('text/csv'), sizeBytes: one(0, 9) },
        'artifactId',
        'name',
      ),
    },
    {
      weight: 2,
      arbitrary: of(
        'governance.required',
        { approvalId, title: one('A', 'B'), requiredApprovals: one(1, 2, 3), approvers: fc.uniqueArray(user) },
        'approvalId',
        'title',
      ),
    },
    { weight: 3, arbitrary: of('approval.granted', { approvalId, decidedBy: user }, 'approvalId', 'decidedBy') },
    {
      weight: 1,
      arbitrary: of(
        'approval.denied',
        { approvalId, decidedBy: user, reason: one('no'), expired: fc.boolean() },
        'approvalId',
        'decidedBy',
        'reason',
      ),
    },
  );
}

/** A draft of run `r` in project `p` that nothing else collides with. */
export function draft(type: RunEvent['type'], fields: { [key: string]: unknown } = {}): Draft {
  return { type, projectId: 'p', runId: 'r', timestamp: instant(0), eventId: randomUUID(), ...fields };
}
const created = (fields: { [key: string]: unknown } = {}) => draft('run.created', { name: 'n', ...fields });
const started = (fields: { [key: string]: unknown } = {}) => draft('run.started', fields);

export const append = (log: EventLog, ...drafts: Draft[]) => log.append({ actor: 'ci', drafts });

/** Turns of the event loop, in each of which several publishers append; a batch with `failsAt` is refused there. */
export const arbitraryTurns = () =>
  fc.array(
    fc.array(
      fc.record({
        drafts: fc.array(arbitraryDraft(), { minLength: 1, maxLength: 6 }),
        failsAt: fc.option(fc.nat(5), { freq: 2 }),
      }),
      { minLength: 1, maxLength: 6 },
    ),
    { minLength: 1, maxLength: 4 },
  );
type Attempt = { drafts: Draft[]; failsAt: number | null };

const byId = (revocations: Revocation[]) =>
  revocations.toSorted((a, b) => (`${a.kind} ${a.id}` < `${b.kind} ${b.id}` ? -1 : 1));

/** Appends, and says how it went: the receipts, or the code of the refusal. */
export async function attempt(log: EventLog, { drafts, failsAt }: Attempt): Promise<unknown> {
  let checked = 0;
  const check = () => {
    if (checked++ === failsAt) throw new Error('no');
  };
  return log.append({ actor: 'ci', drafts, check }).catch((error: { code: string }) => error.code);
}

/** Everything that a scope holds, page by page. */
export async function readAll(
  log: EventLog,
  { scope = { kind: 'all' }, types, limit = 1_000, after = 0 }: Partial<Parameters<EventLog['read']>[0]> = {},
): Promise<LogRecord[]> {
  const all: LogRecord[] = [];
  let position = after;
  while (position < log.head) {
    const page = await log.read({ scope, types, limit, after: position });
    all.push(...page.records);
    position = page.scannedTo;
  }
  return all;
}

const tombstone = tombstoneOf(runwireEvents);
/** Erases an event, as somebody who may. */
export const eraseAt = (log: EventLog, seq: number, more: Partial<Parameters<EventLog['erase']>[0]> = {}) =>
  log.erase({ seq, by: 'ada', reason: 'asked for', mayErase: () => true, tombstone, ...more });
/** Resolves once the newest event is found, however long a machine with much to do takes to look at it. */
export async function untilIndexed(log: EventLog): Promise<void> {
  const { records } = await log.read({ scope: { kind: 'all' }, after: log.head - 1, limit: 1 });
  const [{ eventId }] = records.map(({ event }) => event) as [RunEvent];
  while ((await log.search({ projects: 'all', text: `"${eventId}"`, limit: 1 })).records.length === 0);
}

/** Everything that a search finds, page by page. */
export async function searchAll(log: EventLog, query: Omit<SearchQuery, 'limit'> & { limit?: number }) {
  const all: LogRecord[] = [];
  let pages = 0;
  for (let before = query.before; ; ) {
    const { records, next } = await log.search({ limit: 50, ...query, before });
    all.push(...records);
    pages++;
    if (next === undefined) return { records: all, pages };
    before = next;
  }
}

/** The same by looking at every record. */
export function matching(records: readonly LogRecord[], query: Omit<SearchQuery, 'limit'>): LogRecord[] {
  const phrases = query.text === undefined ? undefined : parseText(query.text);
  return records
    .filter(({ event, projectId, runId, type, seq }) => {
      const { actor, recordedAt } = event as RunEvent;
      return (
        (query.projects === 'all' || query.projects.includes(projectId)) &&
        (query.runId === undefined || runId === query.runId) &&
        (query.types?.has(type) ?? true) &&
        (query.actor === undefined || actor === query.actor) &&
        (query.sinceMs === undefined || Date.parse(recordedAt) >= query.sinceMs) &&
        (query.untilMs === undefined || Date.parse(recordedAt) < query.untilMs) &&
        (query.before === undefined || seq < query.before) &&
        (phrases === undefined || (phrases.length > 0 && holdsAll(event, phrases)))
      );
    })
    .reverse();
}

const seqs = (records: readonly { seq: number }[]) => records.map((record) => record.seq);
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

/** The same as the tables keep it, by the fold in memory. */
export function folded(records: readonly LogRecord[]): RunView | undefined {
  const memory = new RunMemory();
  for (const record of records) foldEvent(memory, record.event as RunEvent);
  return memory.view();
}

/** How often immediates and timers had their turn while the work went on. */
async function turnsDuring(work: Promise<unknown>): Promise<{ immediates: number; timers: number }> {
  const turns = { immediates: 0, timers: 0 };
  let isDone = false;
  const immediate = () => {
    turns.immediates++;
    if (!isDone) setImmediate(immediate);
  };
  setImmediate(immediate);
  const timer = setInterval(() => turns.timers++, 1);
  await work.finally(() => {
    isDone = true;
    clearInterval(timer);
  });
  return turns;
}

/** Runs the suite on a store. `newPlace` gives an empty place at each call. */
export function describeEventLog(name: string, newPlace: () => Promise<Place>, { isPersistent = true } = {}): void {
  async function makePlace(): Promise<Place> {
    const place = await newPlace();
    const open: EventLog[] = [];
    onTestFinished(async () => {
      for (const log of open) await log.close();
      await place.remove();
    });
    return {
      ...place,
      async open(options) {
        const log = await place.open(options);
        open.push(log);
        return log;
      },
    };
  }
  const openLog = async (options?: { now?: () => number }) => (await makePlace()).open(options);

  describe(name, () => {
    test('[L1] seq is contiguous from 1 over the log and runSeq over each run, whatever was refused or repeated', async () => {
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

    test('[L2] a batch that is refused leaves nothing, and takes no other of its turn with it', async () => {
      const log = await openLog();
      await append(log, created());
      const before = await log.run('p', 'r');
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
      expect((await log.run('p', 'r'))?.run).toEqual(before?.run);
      expect(await log.run('p', 'new')).toBeUndefined();
      expect(await readAll(log, { scope: { kind: 'user', userId: 'ann' } })).toEqual([]);
    });

    test('[L2] [L3] [L4] [F10] what many publishers log in one turn, some of them refused, is as one by one', async () => {
      const [together, alone] = [await openLog({ now: () => T0 }), await openLog({ now: () => T0 })];
      await fc.assert(
        fc.asyncProperty(arbitraryTurns(), async (turns) => {
          const begin = together.head;
          const projects = [`p${begin}`, `q${begin}`];
          for (const turn of turns) {
            // Projects of this round only.
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
            headers: (await log.runs({ canRead: (id) => projects.includes(id), limit: 9 })).runs,
            views: await Promise.all(projects.flatMap((id) => [log.run(id, 'r'), log.run(id, 's')])),
          });
          expect(await all(together)).toEqual(await all(alone));
        }),
        { numRuns: 30 },
      );
    });

    test('[L2] a check sees the run just before its draft, the drafts before it in the batch included', async () => {
      const log = await openLog();
      await append(log, created({ stages: [{ stageId: 'a', name: 'A' }] }));
      const repeated = draft('stage.completed', { stageId: 'a' });
      const seen: unknown[] = [];
      await log.append({
        actor: 'ci',
        drafts: [draft('stage.started', { stageId: 'a' }), repeated, repeated, created({ runId: 'new' })],
        check: (rows, { runId }) => seen.push([runId, rows.header()?.lastRunSeq, rows.stage('a')?.status]),
      });
      expect(seen).toEqual([
        ['r', 1, 'pending'],
        ['r', 2, 'running'],
        ['new', undefined, undefined],
      ]);
    });

    test('[L3] an eventId is stored once in its project, and the answer has the position of the first', async () => {
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
      expect((await log.run('p', 'r'))?.run.name).toBe('first');
      expect(log.head).toBe(3);
    });

    test('[L3] an eventId of a batch that was refused is free', async () => {
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

    test('[L4] batches of one turn commit together, in order, and listeners hear of them before the publishers', async () => {
      const log = await openLog();
      const heard: string[] = [];
      log.subscribe((records) => heard.push(`commit ${seqs(records)} at ${log.head}`));
      const stop = log.subscribe(() => heard.push('stopped'));
      stop();
      await Promise.all(
        ['a', 'b', 'c'].map(async (publisher) => {
          const receipts = await append(log, started(), started());
          heard.push(`${publisher} ${seqs(receipts)}`);
        }),
      );
      expect(heard).toEqual(['commit 1,2,3,4,5,6 at 6', 'a 1,2', 'b 3,4', 'c 5,6']);
      await append(log, started());
      expect(heard.at(-1)).toBe('commit 7 at 7');
    });

    test('[L4] a batch with nothing new rings no bell', async () => {
      const log = await openLog();
      const event = created();
      await append(log, event);
      let commits = 0;
      log.subscribe(() => commits++);
      await append(log, event);
      expect(commits).toBe(0);
    });

    test('[L5] a page holds every match between after and scannedTo, in order, whatever the scope and the types', async () => {
      const log = await openLog();
      await fc.assert(
        fc.asyncProperty(
          fc.array(arbitraryDraft(), { minLength: 1, maxLength: 30 }),
          fc.nat(3),
          fc.array(one('run.created', 'run.started', 'stage.progress', 'approval.granted')),
          fc.integer({ min: 1, max: 7 }),
          async (drafts, kind, types, limit) => {
            // Projects and users of this round only, so that the log of the rounds before is noise to it.
            const round = log.head;
            const mine = drafts.map((item) => ({
              ...item,
              projectId: `${item.projectId}${round}`,
              audience: item.audience?.map((user) => `${user}${round}`),
            }));
            const heard: LogRecord[] = [];
            const stop = log.subscribe((records) => heard.push(...records));
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
            const matches = heard.filter(
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
            expect(await log.read({ scope, after: after + 5, limit })).toEqual({ records: [], scannedTo: after + 5 });
          },
        ),
        { numRuns: 60 },
      );
    });

    test('[L7] two logs have different epochs and secrets', async () => {
      const [a, b] = [await openLog(), await openLog()];
      expect(a.epoch).not.toBe(b.epoch);
      expect(a.epoch).toMatch(/^\S{8,}$/);
      expect(a.secret).not.toBe(b.secret);
      expect(a.secret).toMatch(/^\S{32,}$/);
    });

    test('[L8] trimming removes a prefix by recordedAt, never the newest event, and leaves views and counters', async () => {
      let now = T0;
      const log = await openLog({ now: () => now });
      const first = created({ createdBy: 'ann' });
      await append(log, first, draft('stage.started', { stageId: 'a' }));
      now = T0 + 1_000;
      await append(log, started(), created({ runId: 's' }));
      const [run, other] = [await log.run('p', 'r'), await log.run('p', 's')];

      expect(await log.trim(T0)).toEqual({ removed: 0 });
      expect(await log.trim(T0 + 1)).toEqual({ removed: 2 });
      expect({ head: log.head, oldest: log.oldest }).toEqual({ head: 4, oldest: 3 });
      expect(seqs(await readAll(log))).toEqual([3, 4]);
      expect(seqs(await readAll(log, { scope: { kind: 'user', userId: 'ann' } }))).toEqual([3]);

      expect(await log.trim(T0 + 10_000)).toEqual({ removed: 1 });
      expect({ head: log.head, oldest: log.oldest }).toEqual({ head: 4, oldest: 4 });
      expect(await log.run('p', 'r')).toEqual(run);
      expect(await log.run('p', 's')).toEqual(other);
      expect(await append(log, first)).toMatchObject([{ seq: 5, runSeq: 4, isDuplicate: false }]);
    });

    test('[L9] recordedAt never goes back, even when the clock does', async () => {
      let now = T0;
      const log = await openLog({ now: () => now });
      for (const at of [5_000, 1_000, -90_000, 6_000]) {
        now = T0 + at;
        await append(log, started(), started());
      }
      const times = (await readAll(log)).map((record) => (record.event as RunEvent).recordedAt);
      expect(times).toEqual([5, 5, 5, 5, 5, 5, 6, 6].map(instant));
    });

    test('[L10] a run that is read while events arrive has all of them up to its position', async () => {
      const log = await openLog();
      const readings: Promise<unknown>[] = [];
      log.subscribe((records) => {
        const reading = log.run('p', 'r').then((found) => {
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
              const found = await log.run(projectId, runId);
              expect(found?.run).toEqual(expected);
              if (found) expect(found.position).toBe(log.head);
            }
            const { runs } = await log.runs({ canRead: () => true, projectId, limit: 9 });
            for (const header of runs) {
              const found = await log.run(projectId, header.runId);
              const { stages, artifacts, approvals, ...rest } = found?.run ?? ({} as RunView);
              expect(header).toEqual(rest);
            }
          },
        ),
        { numRuns: 150 },
      );
    });

    test('[F10] of stages that started at one time the current one is the same, whatever order a store gives to text', async () => {
      const log = await openLog();
      const at = { timestamp: instant(1) };
      await append(
        log,
        draft('stage.started', { stageId: '～' }),
        draft('stage.started', { stageId: '😀' }),
        draft('stage.started', { stageId: 'a', ...at }),
        draft('stage.completed', { stageId: 'a', ...at }),
      );
      expect((await log.run('p', 'r'))?.run).toEqual(folded(await readAll(log)));
    });

    test('[L11] the view of a big run and its position are of one moment, while events arrive', async () => {
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
        const found = await log.run('p', 'r');
        if (found) views.push({ ...found, headBefore });
      }
      isDone = true;
      await publishing;

      const records = await readAll(log, { scope: { kind: 'run', projectId: 'p', runId: 'r' } });
      const memory = new RunMemory();
      for (const { run, position, headBefore } of views) {
        expect(position).toBeGreaterThan(headBefore);
        while ((records[0]?.seq ?? Number.POSITIVE_INFINITY) <= position) {
          foldEvent(memory, records.shift()?.event as RunEvent);
        }
        expect(run).toEqual(memory.view());
      }
      expect(views).toHaveLength(8);
    });

    test('[L12] runs are listed newest first, page by page, each once, by every filter', async () => {
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
        runs.map(async ({ projectId, runId }) => (await log.run(projectId, runId))?.run as RunView),
      );

      await fc.assert(
        fc.asyncProperty(query, async ({ readable, approver, ...filters }) => {
          const { projectId, status, labels = {}, text = '', since, until } = filters;
          const expected = views.filter(
            (view) =>
              readable.includes(view.projectId) &&
              (projectId ?? view.projectId) === view.projectId &&
              (status?.includes(view.status as never) ?? true) &&
              Object.entries(labels).every(([key, value]) => view.labels[key] === value) &&
              `${view.name}\n${view.runId}`.toLowerCase().includes(text.toLowerCase()) &&
              (since === undefined || view.createdAt >= since) &&
              (until === undefined || view.createdAt < until) &&
              (approver === undefined ||
                view.approvals.some((item) => item.status === 'pending' && item.approvers?.includes(approver))),
          );
          const found: string[] = [];
          const times: string[] = [];
          let after: RunQuery['after'];
          do {
            const page = await log.runs({
              ...filters,
              canRead: (id) => readable.includes(id),
              hasPending: approver === undefined ? undefined : (item) => item.approvers?.includes(approver) ?? false,
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

    test('[L12] runs that arrive between two pages neither repeat nor hide an older one', async () => {
      const log = await openLog();
      for (const index of upTo(4)) await append(log, created({ runId: `r${index}`, timestamp: instant(1) }));
      const query = { canRead: () => true, limit: 2 };
      const first = await log.runs(query);
      await append(log, created({ runId: 'newer', timestamp: instant(1) }), created({ runId: 'old' }));
      const second = await log.runs({ ...query, after: first.next });
      const third = await log.runs({ ...query, after: second.next });
      const ids = [first, second, third].flatMap((page) => page.runs.map((run) => run.runId));
      expect(ids).toEqual(['r4', 'r3', 'r2', 'r1', 'old']);
      expect(first.position).toBe(4);
    });

    test('[L12] the projects of a run id are known', async () => {
      const log = await openLog();
      await append(log, created(), created({ projectId: 'q' }), created({ projectId: 'z', runId: 's' }));
      expect((await log.projectsOf('r')).sort()).toEqual(['p', 'q']);
      expect(await log.projectsOf('unknown')).toEqual([]);
      expect(await log.projectsOf('r', ['q', 'x', 'p'])).toEqual(['q', 'p']);
      expect(await log.projectsOf('r', ['q'])).toEqual(['q']);
      expect(await log.projectsOf('r', [])).toEqual([]);
      expect(await log.projectsOf('unknown', ['p'])).toEqual([]);
      expect(await log.run('z', 'r')).toBeUndefined();
    });

    test('[L21] approvals are listed newest request first, page by page, each once, by status and by who may read', async () => {
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
      const everything: KeptApproval[] = [];
      for (const projectId of ['p', 'q', 'z']) {
        for (const index of upTo(7)) {
          const { run } = (await log.run(projectId, `run${index - 1}`)) ?? {};
          const kept = run?.approvals.map((approval) => {
            return { projectId, runId: run.runId, isRunOver: run.status === 'completed', approval };
          });
          everything.push(...(kept ?? []));
        }
      }
      everything.sort((a, b) => b.approval.order.seq - a.approval.order.seq);
      expect(everything.length).toBe(40);

      const query = fc.record({
        status: fc.option(fc.subarray([...statuses]), { nil: undefined }),
        readable: fc.subarray(['p', 'q', 'z']),
        limit: fc.integer({ min: 1, max: 12 }),
      });
      await fc.assert(
        fc.asyncProperty(query, async ({ status, readable, limit }) => {
          const expected = everything.filter(
            (kept) => readable.includes(kept.projectId) && (status?.includes(kept.approval.status) ?? true),
          );
          const found: KeptApproval[] = [];
          let after: number | undefined;
          do {
            const page = await log.approvals({ canRead: (id) => readable.includes(id), status, limit, after });
            expect(page.approvals.length).toBeLessThanOrEqual(limit);
            found.push(...page.approvals);
            after = page.next;
            // What says that there is more is right.
            expect(after !== undefined).toBe(found.length < expected.length);
          } while (after !== undefined);
          expect(found).toEqual(expected);
        }),
      );
      const { projectId, runId, approval } = everything[0] as KeptApproval;
      expect(await log.approval(projectId, runId, approval.approvalId)).toEqual(approval);
      expect(await log.approval(projectId, runId, 'unknown')).toBeUndefined();
      expect(await log.approval(projectId, 'unknown', approval.approvalId)).toBeUndefined();
    });

    test('[L21] an approval that is asked for between two pages neither repeats nor hides an older one', async () => {
      const log = await openLog();
      const request = (approvalId: string) => append(log, draft('governance.required', { approvalId, title: 't' }));
      for (const id of ['a', 'b', 'c', 'd']) await request(id);
      const query = { canRead: () => true, limit: 2 };
      const first = await log.approvals(query);
      await request('e');
      const second = await log.approvals({ ...query, after: first.next });
      expect([first, second].map((page) => page.approvals.map(({ approval }) => approval.approvalId))).toEqual([
        ['d', 'c'],
        ['b', 'a'],
      ]);
      expect(second.next).toBeUndefined();
    });

    test('[L22] pending approvals are found by their run, and by when they expire, the soonest first', async () => {
      const log = await openLog();
      const expiries = { a: instant(30), b: undefined, c: instant(10), d: instant(20), e: instant(5) };
      for (const [approvalId, expiresAt] of Object.entries(expiries)) {
        const runId = approvalId < 'c' ? 'r' : 's';
        const more = expiresAt === undefined ? {} : { expiresAt };
        await append(log, draft('governance.required', { runId, approvalId, title: 't', ...more }));
      }
      await append(log, draft('approval.granted', { runId: 's', approvalId: 'e', decidedBy: 'ann' }));
      await append(log, draft('run.failed', { runId: 's', error: { message: 'x' } }));
      const found = async (...query: Parameters<EventLog['pendingApprovals']>) =>
        (await log.pendingApprovals(...query)).map(({ isRunOver, approval }) => [approval.approvalId, isRunOver]);
      expect(await found('expiring', 9)).toEqual([
        ['c', true],
        ['d', true],
        ['a', false],
      ]);
      expect(await found('expiring', 1)).toEqual([['c', true]]);
      expect((await found({ projectId: 'p', runId: 'r' }, 9)).sort()).toEqual([
        ['a', false],
        ['b', false],
      ]);
      expect(await found({ projectId: 'p', runId: 'r' }, 1)).toHaveLength(1);
      expect(await found({ projectId: 'q', runId: 'r' }, 9)).toEqual([]);
    });

    test('[L13] who asks again and again for changed runs has the last state of each, in the order of change', async () => {
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
                const page = await log.runsChangedSince({
                  after,
                  limit,
                  projectId: ofOneProject ? projects[0] : undefined,
                });
                const changes = page.runs.map((run) => run.lastSeq);
                expect(changes).toEqual(changes.toSorted((a, b) => a - b));
                expect(changes.every((seq) => seq > after && seq <= page.scannedTo)).toBe(true);
                expect(page.runs.length).toBeLessThanOrEqual(limit);
                for (const run of page.runs) latest.set(`${run.projectId} ${run.runId}`, run);
                after = page.scannedTo;
              }
              expect(await log.runsChangedSince({ after, limit })).toEqual({ runs: [], scannedTo: after });
            }
            const found = await log.runs({ canRead: (id) => projects.includes(id), limit: 9 });
            const expected = found.runs.filter((run) => !ofOneProject || run.projectId === projects[0]);
            expect(latest).toEqual(new Map(expected.map((run) => [`${run.projectId} ${run.runId}`, run])));
          },
        ),
        { numRuns: 60 },
      );
    });

    test('[L14] an event is kept for its audience, its approvers and who created its run, as they were then', async () => {
      const log = await openLog();
      const heard: LogRecord[] = [];
      log.subscribe((records) => heard.push(...records));
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
      const users = heard.map((record) => [...(record.users ?? [])].sort());
      expect(users).toEqual([[], ['ann'], ['ann', 'bob'], ['ann', 'carl'], ['dora'], ['dora'], []]);
    });

    test('[V1] a log that was appended to, trimmed and erased from verifies, whatever was refused meanwhile', async () => {
      let now = T0;
      const log = await openLog({ now: () => now });
      const nothing = { ok: true, from: 1, to: 0, hash: '0'.repeat(64), events: 0, erased: 0 };
      expect(await log.verify()).toEqual(nothing);
      await fc.assert(
        fc.asyncProperty(arbitraryTurns(), fc.nat(9), fc.array(fc.nat(40)), async (turns, trimmed, erased) => {
          for (const turn of turns) await Promise.all(turn.map((each) => attempt(log, each)));
          now += 1_000;
          await append(log, started());
          await log.trim(now - trimmed * 1_000);
          for (const back of erased) await eraseAt(log, log.head - back).catch(() => undefined);
          const kept = await readAll(log, { after: log.oldest - 1 });
          expect(await log.verify()).toEqual({
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

    test('[V1] a log verifies while events arrive, are trimmed and are erased', async () => {
      let now = T0;
      const log = await openLog({ now: () => now });
      const batch = () => append(log, ...upTo(1_000).map(() => started()));
      await batch();
      now += 1_000;
      for (let count = 0; count < 8; count++) await batch();
      const to = log.head;
      const verifying = Promise.all([log.verify(), log.verify()]);
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
      for (const verdict of await verifying) expect(verdict).toMatchObject({ ok: true, to });
      expect(log.head).toBeGreaterThan(to);
      expect(await log.verify()).toMatchObject({ ok: true, from: log.oldest, to: log.head });
    });

    test('[V7] immediates and timers have their turn while a log is verified, and a signal stops it', async () => {
      const log = await openLog();
      for (let batch = 0; batch < 20; batch++) await append(log, ...upTo(1_000).map(() => started()));
      const turns = await turnsDuring(log.verify());
      expect(turns.immediates).toBeGreaterThan(10);
      expect(turns.timers).toBeGreaterThan(1);
      const controller = new AbortController();
      const verifying = log.verify({ signal: controller.signal });
      const stopped = new Error('stopped');
      setImmediate(() => controller.abort(stopped));
      await expect(verifying).rejects.toBe(stopped);
    });

    test('[V5] [V6] a checkpoint says where the log is, and the log agrees with it for as long as the row is kept', async () => {
      let now = T0;
      const log = await openLog({ now: () => now });
      const take = async () => (await log.checkpoint()).checkpoint;
      const checkpoints = [await take()];
      expect(checkpoints[0]).toMatchObject({ epoch: log.epoch, seq: 0, oldest: 1, at: instant(0) });
      for (let round = 0; round < 3; round++) {
        now += 1_000;
        await append(log, started(), started());
        checkpoints.push(await take());
      }
      expect(seqs(checkpoints)).toEqual([0, 2, 4, 6]);
      expect(await log.checkpoint()).toEqual({ checkpoint: checkpoints[3], isNew: false });
      expect(await log.verify({ checkpoints })).toMatchObject({ ok: true, hash: checkpoints[3]?.hash });
      await log.trim(T0 + 3_000);
      expect(log.oldest).toBe(5);
      expect(await log.verify({ checkpoints })).toMatchObject({ ok: true, from: 5 });

      const other = '1'.repeat(64);
      for (const [seq, found] of [
        [0, 'ok'], // Trimmed, so that nothing is known of it.
        [4, 5], // The last that was trimmed.
        [5, 5],
        [6, 6],
        [7, 7],
      ]) {
        const verdict = await log.verify({ checkpoints: [...checkpoints, { seq: seq as number, hash: other }] });
        expect(verdict).toMatchObject(found === 'ok' ? { ok: true } : { ok: false, seq: found, reason: 'checkpoint' });
      }
    });

    test('[V10] an erased event keeps its envelope and its ids, is an event of its type, and says nothing', async () => {
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
      expect(JSON.stringify(await log.run('p', 'r'))).not.toContain(secret);
      expect(JSON.stringify(await log.runs({ canRead: () => true, limit: 9 }))).not.toContain(secret);
      expect(JSON.stringify(await log.approvals({ canRead: () => true, limit: 9 }))).not.toContain(secret);
      expect(await readAll(log, { scope: { kind: 'user', userId: secret } })).toEqual([]);
      expect(await log.verify()).toMatchObject({ ok: true, erased: draftOf.length });
    });

    test('[V11] the rows of a run after erasures are the fold of what is left of its events', async () => {
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
              const before = await log.run(projectId, 'r');
              await eraseAt(log, seq);
              // In place of each text that went there is none or ERASED; nothing else changes.
              const now = await log.run(projectId, 'r');
              expect(now?.run.status).toBe(before?.run.status);
              expect(now?.run.counts).toEqual(before?.run.counts);
              expect(now?.run.lastSeq).toBe(before?.run.lastSeq);
            }
            for (const runId of ['r', 's']) {
              const kept = await readAll(log, { scope: { kind: 'run', projectId, runId }, after });
              expect((await log.run(projectId, runId))?.run).toEqual(folded(kept));
            }
          },
        ),
        { numRuns: 100 },
      );
      expect(await log.verify()).toMatchObject({ ok: true });
    });

    test('[V11] an erased event is no longer for its audience, but still for its approvers and who created its run', async () => {
      const log = await openLog();
      const audience = ['ann', 'bob', 'carl'];
      await append(log, created({ createdBy: 'ann' }));
      await append(log, draft('governance.required', { approvalId: 'x', title: 't', audience, approvers: ['bob'] }));
      const heard: LogRecord[] = [];
      log.onErased((record) => heard.push(record));
      const stop = log.onErased(() => heard.push());
      stop();
      await eraseAt(log, 2);
      const of = async (userId: string) => seqs(await readAll(log, { scope: { kind: 'user', userId } }));
      expect([await of('ann'), await of('bob'), await of('carl')]).toEqual([[1, 2], [2], []]);
      const [record] = await readAll(log, { after: 1 });
      expect(heard).toMatchObject([{ seq: 2, runSeq: 2, projectId: 'p', runId: 'r', users: ['ann', 'bob'] }]);
      expect(heard[0]?.json).toBe(record?.json);
    });

    test('[V11] the view of a big run that is being read when an event is erased says nothing of it afterwards', async () => {
      const log = await openLog();
      for (let batch = 0; batch < 4; batch++) {
        const stage = (index: number) => {
          return draft('stage.started', { stageId: `s${batch * 1_000 + index}`, name: `SECRET ${'x'.repeat(150)}` });
        };
        await append(log, ...upTo(1_000).map(stage));
      }
      const kept = ({ run }: { run: RunView }) => run.stages.filter(({ name }) => name.startsWith('SECRET')).length;
      // The later the erasure, the more has been read before it.
      for (let turns = 0; turns < 8; turns++) {
        let isErased = false;
        const reading = log.run('p', 'r').then((found) => ({ run: found?.run as RunView, isErased }));
        for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
        await eraseAt(log, turns + 1);
        // What was read before, in the same turn, is on its way.
        await new Promise(setImmediate);
        isErased = true;
        const found = await reading;
        if (found.isErased) expect(kept(found)).toBe(4_000 - turns - 1);
      }
    });

    test('[V13] erased twice, an event stays as it is; what is not there, trimmed or not one of theirs is EVENT_NOT_FOUND', async () => {
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
      expect(await log.verify()).toMatchObject({ ok: true, from: 3, erased: 0 });
      expect(await append(log, created({ name: 'two' }))).toMatchObject([{ seq: 5 }]);
    });

    test('[V13] an erasure that fails leaves everything as it was', async () => {
      const log = await openLog();
      await append(log, created({ name: 'one' }));
      const before = [await log.run('p', 'r'), (await readAll(log)).map(({ json }) => json)];
      const heard: unknown[] = [];
      log.onErased((record) => heard.push(record));
      const tombstone = () => ({
        type: 'run.created',
        name: null,
        get seq() {
          throw new Error('a defect');
        },
      });
      await expect(eraseAt(log, 1, { tombstone })).rejects.toMatchObject({ code: 'INTERNAL' });
      expect([await log.run('p', 'r'), (await readAll(log)).map(({ json }) => json)]).toEqual(before);
      expect(heard).toEqual([]);
      expect(await log.verify()).toMatchObject({ ok: true, erased: 0 });
      expect(await append(log, started())).toMatchObject([{ seq: 2 }]);
    });

    test('[L16] what was accepted before close is logged, and after it every call is UNAVAILABLE', async () => {
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
        projectsOf: () => log.projectsOf('r'),
        run: () => log.run('p', 'r'),
        runs: () => log.runs({ canRead: () => true, limit: 1 }),
        runsChangedSince: () => log.runsChangedSince({ after: 0, limit: 1 }),
        trim: () => log.trim(0),
        verify: () => log.verify(),
        checkpoint: () => log.checkpoint(),
        erase: () => eraseAt(log, 1),
        search: () => log.search({ projects: 'all', limit: 1 }),
        searchText: () => log.search({ projects: 'all', text: 'x', limit: 1 }),
        positionBefore: () => log.positionBefore(0),
        write: () => log.access.write([]),
        list: () => log.access.list({ projects: 'all', limit: 1 }),
      };
      for (const [name, call] of Object.entries(calls)) {
        await expect(call(), name).rejects.toMatchObject({ name: 'RunwireError', code: 'UNAVAILABLE' });
      }
    });

    test('[L19] immediates and timers have their turn during long reads and a long trim', async () => {
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

    test('[A10] revocations are kept once each, the later and the better known, and forgotten when all is expired', async () => {
      const { revocations } = await openLog();
      expect(await revocations.all()).toEqual([]);
      await revocations.put({ kind: 'jti', id: 'a', atMs: 10 });
      await revocations.put({ kind: 'sub', id: 'a', atMs: 20 });
      await revocations.put({ kind: 'jti', id: 'b', atMs: 30, untilMs: 40 });
      expect(byId(await revocations.all())).toEqual([
        { kind: 'jti', id: 'a', atMs: 10 },
        { kind: 'jti', id: 'b', atMs: 30, untilMs: 40 },
        { kind: 'sub', id: 'a', atMs: 20 },
      ]);
      await revocations.put({ kind: 'sub', id: 'a', atMs: 15 });
      await revocations.put({ kind: 'jti', id: 'a', atMs: 12, untilMs: 50 });
      await revocations.put({ kind: 'jti', id: 'b', atMs: 30 });
      const all = [
        { kind: 'jti', id: 'a', atMs: 12, untilMs: 50 },
        { kind: 'jti', id: 'b', atMs: 30, untilMs: 40 },
        { kind: 'sub', id: 'a', atMs: 20 },
      ];
      expect(byId(await revocations.all())).toEqual(all);
      await revocations.forget(40);
      expect(byId(await revocations.all())).toEqual(all);
      await revocations.forget(41);
      expect(byId(await revocations.all())).toEqual([all[0], all[2]]);
    });

    test('[A10] any number of revocations comes back, whatever the ids', async () => {
      const { revocations } = await openLog();
      const ids = [...upTo(2_500).map((n) => `id ${n}`), "'; --", 'é', '😀'];
      await Promise.all(ids.map((id, atMs) => revocations.put({ kind: 'jti', id, atMs })));
      await revocations.put({ kind: 'sub', id: 'id 1', atMs: 1 });
      const all = await revocations.all();
      expect(all).toHaveLength(ids.length + 1);
      expect(new Map(all.filter(({ kind }) => kind === 'jti').map(({ id, atMs }) => [id, atMs]))).toEqual(
        new Map(ids.map((id, atMs) => [id, atMs])),
      );
    });

    describeSearch(openLog);
    describeAccess(openLog);
    if (isPersistent) describePersistence(makePlace);
  });
}

const VOCABULARY = [
  'reads',
  'aligned',
  'Émile',
  'failed',
  'fail',
  'run-17',
  'no space left',
  '東京',
  'readsorted',
  '🚀',
];

/** Events of three projects in bursts, of several actors, a second apart each hundred. */
async function fillForSearch(log: EventLog, count: number, tick: () => void): Promise<void> {
  for (let from = 0; from < count; from += 100) {
    tick();
    const drafts = upTo(100).map((index) => {
      const at = from + index;
      const projectId = 'pqz'[(at >> 5) % (at % 7 === 0 ? 3 : 2)] as string;
      const words = [at, at >> 3, at * 7].map((pick) => VOCABULARY[pick % VOCABULARY.length]);
      const message = `${words.join(' ')} n${at} ${at % 5_000 === 1 ? 'needle' : ''}`;
      const type = at % 11 === 0 ? 'stage.started' : 'stage.progress';
      const rest = type === 'stage.progress' ? { message } : { name: message.slice(0, 100) };
      return draft(type, { projectId, runId: 'rs'[at % 2], stageId: `stage-${at % 40}`, ...rest });
    });
    await log.append({ actor: ['ann', 'bob', 'ci'][(from / 100) % 3] as string, drafts });
  }
  await untilIndexed(log);
}

function describeSearch(openLog: (options?: { now?: () => number }) => Promise<EventLog>): void {
  test('[R1] [R2] a search finds what a look at every event finds, newest first, each once, while events arrive', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    const tick = () => {
      now += 1_000;
    };
    // So many that blocks of the index are full, that one project falls behind, and that some are in memory alone.
    await fillForSearch(log, 20_000, tick);
    const fields = {
      text: fc.option(
        fc
          .array(
            one(...VOCABULARY, 'n1', 'n19', '"no space"', '"space no"', 'needle', 'emile', 'STAGE', 'ann', 'ali'),
            {
              minLength: 1,
              maxLength: 3,
            },
          )
          .map((words) => words.join(' ')),
        { nil: undefined, freq: 6 },
      ),
      runId: fc.option(one('r', 's', 'none'), { nil: undefined }),
      types: fc.option(one(new Set(['stage.started']), new Set(['stage.started', 'stage.progress'])), {
        nil: undefined,
      }),
      actor: fc.option(one('ann', 'bob', 'nobody'), { nil: undefined }),
      sinceMs: fc.option(fc.integer({ min: -1, max: 205 }), { nil: undefined, freq: 2 }),
      untilMs: fc.option(fc.integer({ min: -1, max: 205 }), { nil: undefined, freq: 2 }),
      before: fc.option(fc.integer({ min: 1, max: 20_001 }), { nil: undefined, freq: 2 }),
      limit: one(7, 50, 500),
    };
    const query = fc.record({
      projects: one<SearchQuery['projects']>('all', ['p'], ['q', 'z'], [], ['none', 'z']),
      ...fields,
    });
    const records = await readAll(log);
    await fc.assert(
      fc.asyncProperty(query, async ({ sinceMs, untilMs, ...rest }) => {
        const at = (seconds: number | undefined) => (seconds === undefined ? undefined : T0 + seconds * 1_000);
        const asked = {
          ...rest,
          sinceMs: at(sinceMs),
          untilMs: at(untilMs),
          before: rest.before ?? records.length + 1,
        };
        await append(log, draft('stage.progress', { stageId: 'a', message: VOCABULARY.join(' ') }));
        const found = await searchAll(log, asked);
        expect(seqs(found.records)).toEqual(seqs(matching(records, asked)));
        expect(found.records.map(({ json }) => json)).toEqual(matching(records, asked).map(({ json }) => json));
      }),
      { numRuns: 60 },
    );
  }, 60_000);

  test('[R5] an event is found at once after it was published', async () => {
    const log = await openLog();
    for (const index of upTo(5)) {
      await append(log, created({ name: `unheard-of ${index}` }));
      expect(seqs((await log.search({ projects: 'all', text: `unheard-of ${index}`, limit: 5 })).records)).toEqual([
        index,
      ]);
    }
  });

  test('[R6] what was trimmed is found no more, and what stays is', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    await fillForSearch(log, 5_000, () => {
      now += 1_000;
    });
    for (const oldest of [1_501, 3_001, 5_000]) {
      await log.trim(T0 + (oldest / 100) * 1_000 + 1_000 - 1);
      const kept = await readAll(log);
      for (const text of [undefined, 'fail', 'needle']) {
        const asked = { projects: 'all' as const, text };
        expect(seqs((await searchAll(log, asked)).records)).toEqual(seqs(matching(kept, asked)));
      }
    }
    expect((await readAll(log)).length).toBeLessThan(101);
  });

  test('[R1] positionBefore is the last position that was recorded before an instant', async () => {
    let now = T0;
    const log = await openLog({ now: () => now });
    expect(await log.positionBefore(T0)).toBe(0);
    for (const at of [0, 0, 5, 5, 9]) {
      now = T0 + at;
      await append(log, started());
    }
    const ask = (at: number) => log.positionBefore(T0 + at);
    expect(await Promise.all([-1, 0, 1, 5, 6, 9, 10].map(ask))).toEqual([0, 0, 2, 2, 4, 4, 5]);
    await log.trim(T0 + 5);
    expect(await Promise.all([-1, 1, 5, 6].map(ask))).toEqual([2, 2, 2, 4]);
  });

  test('[R7] where much has to be looked through and little is found, a search lets others have their turn, and answers with what it has', async () => {
    const log = await openLog();
    for (let batch = 0; batch < 60; batch++) {
      await append(log, ...upTo(1_000).map(() => draft('stage.started', { stageId: 'a' })));
    }
    const rare = { projects: 'all' as const, types: new Set(['run.failed']), limit: 5 };
    const searching = searchAll(log, rare);
    const turns = await turnsDuring(searching);
    expect(turns.immediates).toBeGreaterThan(3);
    expect(await searching).toEqual({ records: [], pages: 2 });
    const first = await log.search(rare);
    expect(first).toMatchObject({ records: [], next: expect.any(Number) });
    const aborted = await log.search({ ...rare, signal: AbortSignal.abort() });
    expect(aborted.next).toBe(60_001);
  });
}

function describeAccess(openLog: () => Promise<EventLog>): void {
  const entry = (second: number, fields: Partial<AccessEntry> = {}): AccessEntry => ({
    at: instant(second),
    sub: 'ann',
    action: 'run.get',
    outcome: 'ok',
    via: 'ws',
    count: 1,
    ...fields,
  });

  test('[R16] entries of access are listed newest first, page by page, each once, by every filter', async () => {
    const log = await openLog();
    const entries = upTo(600).map((index) =>
      entry(index, {
        sub: [null, 'ann', 'bob'][index % 3] as string | null,
        action: index % 2 ? 'run.get' : 'event.search',
        outcome: index % 5 ? 'ok' : 'FORBIDDEN',
        ...(index % 4 ? { projectId: 'pqz'[index % 4] ?? 'p' } : {}),
        ...(index % 7 ? { runId: `r${index % 2}` } : {}),
        ...(index % 9 ? {} : { detail: 'resume', count: index }),
      }),
    );
    for (let from = 0; from < 600; from += 200) await log.access.write(entries.slice(from, from + 200));
    const query = fc.record({
      projects: one<AccessQuery['projects']>('all', ['q'], ['q', 'z'], []),
      sub: fc.option(one('ann', 'eve'), { nil: undefined }),
      action: fc.option(one('run.get'), { nil: undefined }),
      projectId: fc.option(one('q', 'none'), { nil: undefined }),
      runId: fc.option(one('r0', 'r1'), { nil: undefined }),
      outcome: fc.option(one('ok', 'FORBIDDEN'), { nil: undefined }),
      since: fc.option(fc.integer({ min: 0, max: 620 }), { nil: undefined }),
      until: fc.option(fc.integer({ min: 0, max: 620 }), { nil: undefined }),
      limit: one(3, 100),
    });
    await fc.assert(
      fc.asyncProperty(query, async ({ since, until, ...rest }) => {
        const at = (second: number | undefined) => (second === undefined ? undefined : T0 + second * 1_000);
        const asked = { ...rest, sinceMs: at(since), untilMs: at(until) };
        const listed: AccessEntry[] = [];
        for (let before: number | undefined; ; ) {
          const page = await log.access.list({ ...asked, before });
          listed.push(...page.entries);
          before = page.next;
          if (before === undefined) break;
        }
        const expected = entries.filter(
          (each) =>
            (rest.projects === 'all' || (each.projectId !== undefined && rest.projects.includes(each.projectId))) &&
            (['sub', 'action', 'projectId', 'runId', 'outcome'] as const).every(
              (key) => rest[key] === undefined || each[key] === rest[key],
            ) &&
            (since === undefined || each.at >= instant(since)) &&
            (until === undefined || each.at < instant(until)),
        );
        expect(listed).toEqual(expected.reverse());
      }),
      { numRuns: 200 },
    );
  });

  test('[R17] entries of access go with the events of their time, and the times of those that stay never go back', async () => {
    const log = await openLog();
    await log.access.write([entry(5), entry(9), entry(2)]);
    const times = async () => (await log.access.list({ projects: 'all', limit: 9 })).entries.map(({ at }) => at);
    expect(await times()).toEqual([9, 9, 5].map(instant));
    await log.trim(T0 + 9_000);
    expect(await times()).toEqual([9, 9].map(instant));
  });
}

/** What holds across a restart. */
function describePersistence(makePlace: () => Promise<Place>): void {
  test('[L1] seq and runSeq go on where they were after a restart, trimmed or not', async () => {
    const place = await makePlace();
    let log = await place.open();
    await append(log, created(), started(), created({ runId: 's' }));
    await log.close();
    log = await place.open();
    expect({ head: log.head, oldest: log.oldest }).toEqual({ head: 3, oldest: 1 });
    expect(await append(log, started())).toMatchObject([{ seq: 4, runSeq: 3 }]);
    await log.trim(Date.now() + 60_000);
    await log.close();
    log = await place.open();
    expect({ head: log.head, oldest: log.oldest }).toEqual({ head: 4, oldest: 4 });
    expect(await append(log, started({ runId: 's' }))).toMatchObject([{ seq: 5, runSeq: 2 }]);
    expect(seqs(await readAll(log))).toEqual([4, 5]);
  });

  test('[L3] an eventId is stored once across a restart', async () => {
    const place = await makePlace();
    let log = await place.open();
    const event = created();
    await append(log, started({ runId: 's' }), event);
    await log.close();
    log = await place.open();
    expect(await append(log, event)).toMatchObject([{ seq: 2, runSeq: 1, isDuplicate: true }]);
  });

  test('[L7] epoch and secret stay with the log', async () => {
    const place = await makePlace();
    let log = await place.open();
    const { epoch, secret } = log;
    await log.close();
    log = await place.open();
    expect([log.epoch, log.secret]).toEqual([epoch, secret]);
  });

  test('[A10] revocations are there after a restart, and after everything has been trimmed', async () => {
    const place = await makePlace();
    let log = await place.open();
    await append(log, created(), started());
    const put: Revocation[] = [
      { kind: 'jti', id: 'a', atMs: 10, untilMs: 5_000_000_000_000 },
      { kind: 'sub', id: 'ann', atMs: 20 },
    ];
    for (const revocation of put) await log.revocations.put(revocation);
    await log.trim(Date.now() + 60_000);
    await log.close();
    log = await place.open();
    expect(byId(await log.revocations.all())).toEqual(put);
    await log.close();
    await expect(log.revocations.all()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(log.revocations.put({ kind: 'jti', id: 'b', atMs: 1 })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  test('[L9] recordedAt does not go back when the clock did while the server was down', async () => {
    const place = await makePlace();
    let log = await place.open({ now: () => T0 + 5_000 });
    await append(log, started());
    await log.close();
    log = await place.open({ now: () => T0 });
    await append(log, started());
    const times = (await readAll(log)).map((record) => (record.event as RunEvent).recordedAt);
    expect(times).toEqual([instant(5), instant(5)]);
  });

  test('[F10] a run folded across restarts equals the fold of its events in memory', async () => {
    const place = await makePlace();
    const drafts = fc
      .sample(arbitraryDraft(), { numRuns: 200, seed: 7 })
      .map((item) => ({ ...item, eventId: randomUUID(), projectId: 'p' }));
    for (let index = 0; index < drafts.length; index += 40) {
      const log = await place.open();
      await append(log, ...drafts.slice(index, index + 40));
      const records = await readAll(log, { scope: { kind: 'run', projectId: 'p', runId: 'r' } });
      expect((await log.run('p', 'r'))?.run).toEqual(folded(records));
      await log.close();
    }
  });

  test('[V1] a log verifies across restarts, trimmed and erased from, with the checkpoints from before', async () => {
    const place = await makePlace();
    const checkpoints = [];
    for (let round = 0; round < 4; round++) {
      let now = T0 + round * 1_000;
      const log = await place.open({ now: () => now });
      await append(log, created(), started(), started());
      checkpoints.push((await log.checkpoint()).checkpoint);
      await eraseAt(log, log.head - 1);
      now += 500;
      if (round === 2) await log.trim(T0 + 1_500);
      expect(await log.verify({ checkpoints })).toMatchObject({ ok: true, to: log.head });
      await log.close();
    }
    const log = await place.open();
    expect(await log.verify({ checkpoints })).toMatchObject({ ok: true, from: 7, to: 12, erased: 2 });
    expect(await log.checkpoint()).toEqual({ checkpoint: checkpoints[3], isNew: false });
  });

  test('[R5] the index is whole after a restart, wherever it was', async () => {
    const place = await makePlace();
    let now = T0;
    const tick = () => {
      now += 1_000;
    };
    for (const count of [3_000, 200, 16_000]) {
      const log = await place.open({ now: () => now });
      await fillForSearch(log, count, tick);
      const records = await readAll(log);
      for (const [text, projects] of [
        ['needle', 'all'],
        ['n2', ['z']],
        ['failed 17', ['p', 'z']],
      ] as const) {
        const found = await searchAll(log, { projects, text });
        expect(seqs(found.records)).toEqual(seqs(matching(records, { projects, text })));
      }
      await log.close();
    }
  });

  test('[R16] entries of access are there after a restart', async () => {
    const place = await makePlace();
    let log = await place.open();
    const entry: AccessEntry = { at: instant(1), sub: 'ann', action: 'x', outcome: 'ok', via: 'http', count: 3 };
    await log.access.write([entry]);
    await log.close();
    log = await place.open();
    expect(await log.access.list({ projects: 'all', limit: 9 })).toEqual({ entries: [entry] });
  });

  test('[L16] what was accepted in the turn of close is there when the log opens again', async () => {
    const place = await makePlace();
    let log = await place.open();
    const accepted = append(log, created(), started());
    await log.close();
    await accepted;
    log = await place.open();
    expect(seqs(await readAll(log))).toEqual([1, 2]);
  });
}
