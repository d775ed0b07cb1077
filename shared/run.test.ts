import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { arbitraryDraft, T0 } from '../server/event-log/conformance/kit.ts';
import { AnyWebSocketEventSchema, foldEvent, type RunEvent, runwireEvents } from './events.ts';
import type { Approval, RunView } from './run.ts';
import { RunMemory } from './run-memory.ts';
import { tombstoneOf } from './tombstone.ts';

const numRuns = 3_000;
const LENGTH = 24;
const instant = (seconds: number) => new Date(T0 + seconds * 1_000).toISOString();

/** Logged events of one run, in log order. Their eventIds are distinct and unordered; most other values collide. */
const loggedEvents = fc
  .uniqueArray(arbitraryDraft(), { selector: (draft) => draft.eventId, minLength: 1, maxLength: LENGTH })
  .map((drafts) => drafts.map((draft, index) => logged({ ...draft, projectId: 'p', runId: 'r' }, index + 1)));
const shuffle = fc.array(fc.nat(LENGTH), { minLength: LENGTH, maxLength: LENGTH });
const cut = fc.nat(LENGTH);

function logged(draft: { [key: string]: unknown }, seq: number): RunEvent {
  return { ...draft, actor: 'ci', recordedAt: instant(0), seq, runSeq: seq } as unknown as RunEvent;
}

/** Events of a sample run, by default one second apart. */
function history(...drafts: { type: RunEvent['type']; [key: string]: unknown }[]): RunEvent[] {
  return drafts.map((draft, index) => {
    const envelope = { projectId: 'p', runId: 'r', timestamp: instant(index), eventId: `e${index}` };
    return AnyWebSocketEventSchema.parse(logged({ ...envelope, ...draft }, index + 1));
  });
}

function fold(events: readonly RunEvent[], memory = new RunMemory()): RunMemory {
  for (const event of events) foldEvent(memory, event);
  return memory;
}

const viewOf = (events: readonly RunEvent[]): RunView => fold(events).view() as RunView;
const stageOf = (events: readonly RunEvent[], stageId = 'a') =>
  viewOf(events).stages.find((stage) => stage.stageId === stageId);
const tombstone = tombstoneOf(runwireEvents) as (event: RunEvent) => RunEvent;
const throughJson = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(deepFreeze);
  return value;
}

/** Expects equal parts of two views to be the same objects, down to rows; lists are compared by the ids of their rows. */
function expectShared(before: RunView | undefined, after: RunView): void {
  if (!before) return;
  const isEqual = (a: unknown, b: unknown) => canonical(a) === canonical(b);
  if (isEqual(before, after)) expect(after).toBe(before);
  for (const name of ['labels', 'counts', 'error', 'stages', 'artifacts', 'approvals'] as const) {
    if (after[name] !== undefined && isEqual(before[name], after[name])) expect(after[name]).toBe(before[name]);
  }
  for (const stage of after.stages) {
    const same = before.stages.find(({ stageId }) => stageId === stage.stageId);
    if (isEqual(stage, same)) expect(stage).toBe(same);
  }
}

const isGovernance = (event: RunEvent) => event.type === 'governance.required' || event.type.startsWith('approval.');

function shuffled(events: readonly RunEvent[], keys: readonly number[]): RunEvent[] {
  return events
    .map((event, index) => ({ event, key: keys[index] ?? 0 }))
    .sort((a, b) => a.key - b.key)
    .map(({ event }) => event);
}

/** Another order of arrival. Approval events, which are ordered by `seq`, keep their order among themselves. */
function rearranged(events: readonly RunEvent[], keys: readonly number[]): RunEvent[] {
  const governance = events.filter(isGovernance);
  return shuffled(events, keys).map((event) => (isGovernance(event) ? (governance.shift() as RunEvent) : event));
}

/** All permutations of a short list. */
function* permutations<T>(items: readonly T[]): Generator<T[]> {
  if (items.length === 0) yield [];
  for (const [index, item] of items.entries()) {
    for (const rest of permutations(items.toSpliced(index, 1))) yield [item, ...rest];
  }
}

describe('the fold', () => {
  test('the arbitrary events of these tests are logged events', () => {
    fc.assert(
      fc.property(loggedEvents, (events) => {
        for (const event of events) AnyWebSocketEventSchema.parse(event);
      }),
      { numRuns: 100 },
    );
  });

  test('[F1] events in any order of arrival give the same view', () => {
    fc.assert(
      fc.property(loggedEvents, shuffle, (events, keys) => {
        expect(fold(rearranged(events, keys)).view()).toEqual(fold(events).view());
      }),
      { numRuns },
    );
  });

  test('[F1] all 720 orders of a run with two plans, a retry and two ends give the same view', () => {
    const events = history(
      { type: 'run.created', name: 'n', stages: [{ stageId: 'a', name: 'A' }] },
      { type: 'run.created', name: 'm', stages: [{ stageId: 'a', name: 'AA' }] },
      { type: 'stage.failed', stageId: 'a', error: { message: 'x' }, willRetry: true },
      { type: 'stage.started', stageId: 'a', attempt: 2 },
      { type: 'run.failed', error: { message: 'y' } },
      { type: 'run.completed', summary: 's' },
    );
    const views = new Set([...permutations(events)].map((order) => canonical(viewOf(order))));
    expect(views.size).toBe(1);
  });

  test('[F13] a plan in parts equals the plan in one event, in any order of arrival', () => {
    const stages = ['a', 'b', 'c', 'd', 'e'].map((stageId) => ({ stageId, name: stageId.toUpperCase() }));
    const whole = history({ type: 'run.created', name: 'n', labels: { k: 'v' }, stages });
    const parts = history(
      { type: 'run.created', name: 'n', labels: { k: 'v' }, stages: stages.slice(0, 2) },
      { type: 'run.created', name: 'n', stages: stages.slice(2, 4), stagesFrom: 2 },
      { type: 'run.created', name: 'n', stages: stages.slice(4), stagesFrom: 4 },
    );
    const planOf = ({ name, labels, stages: rows }: RunView) => ({
      name,
      labels,
      rows: rows.map(({ order: _, ...row }) => row),
    });
    for (const order of permutations(parts)) expect(planOf(viewOf(order))).toEqual(planOf(viewOf(whole)));
  });

  test('[F2] the fold throws for no events in any order, and changes neither events nor snapshots', () => {
    fc.assert(
      fc.property(loggedEvents, shuffle, cut, (events, keys, at) => {
        const arrival = shuffled(events, keys).map((event) => deepFreeze(throughJson(event)));
        const snapshot = deepFreeze(fold(arrival.slice(0, at)).view());
        fold(arrival.slice(at), new RunMemory(snapshot));
      }),
      { numRuns },
    );
  });

  test('[H2] a view that is read between events, also from a snapshot, equals one that is read at the end', () => {
    fc.assert(
      fc.property(loggedEvents, shuffle, cut, fc.array(fc.boolean()), (events, keys, at, looks) => {
        const arrival = rearranged(events, keys);
        const before = fold(arrival.slice(0, at)).view();
        const base = before && throughJson(before);
        // A snapshot with unordered lists.
        base?.stages.reverse();
        const memory = new RunMemory(base);
        arrival.slice(at).forEach((event, index) => {
          foldEvent(memory, event);
          if (looks[index]) expect(memory.view()).toEqual(viewOf(arrival.slice(0, at + index + 1)));
        });
        if (at < arrival.length) expect(memory.view()).toEqual(viewOf(arrival));
      }),
      { numRuns: 500 },
    );
  });

  test('[H2] objects and lists that an event did not change are the same in the next view', () => {
    fc.assert(
      fc.property(loggedEvents, shuffle, (events, keys) => {
        const memory = new RunMemory();
        let before: RunView | undefined;
        // Folding all events again changes nothing.
        for (const event of [...shuffled(events, keys), ...events]) {
          foldEvent(memory, event);
          const after = memory.view() as RunView;
          expectShared(before, after);
          before = after;
        }
      }),
      { numRuns: 500 },
    );
  });

  test('[F2] events folded again, in any order, change nothing', () => {
    fc.assert(
      fc.property(loggedEvents, shuffle, cut, (events, keys, at) => {
        const memory = fold(events);
        const once = throughJson(memory.view());
        fold(shuffled(events, keys).slice(0, at), memory);
        expect(throughJson(memory.view())).toEqual(once);
      }),
      { numRuns },
    );
  });

  test('[F2] a decision before its request does not count, even when it is folded again after the request', () => {
    const events = history(
      { type: 'approval.granted', approvalId: 'x', decidedBy: 'ann' },
      { type: 'governance.required', approvalId: 'x', title: 't' },
    );
    const again = [...events, events[0] as RunEvent];
    expect(viewOf(again)).toEqual(viewOf(events));
    expect(viewOf(again).approvals[0]?.status).toBe('pending');
  });

  test('[F3] folding on from a snapshot sent as JSON equals folding from the start', () => {
    fc.assert(
      fc.property(loggedEvents, shuffle, cut, (events, keys, at) => {
        const arrival = rearranged(events, keys);
        const before = fold(arrival.slice(0, at)).view();
        const resumed = fold(arrival.slice(at), new RunMemory(before && throughJson(before)));
        expect(throughJson(resumed.view())).toEqual(throughJson(fold(arrival).view()));
      }),
      { numRuns },
    );
  });

  test('a view is the same object until an event is folded', () => {
    const memory = fold(history({ type: 'run.created', name: 'n' }));
    const view = memory.view();
    expect(memory.view()).toBe(view);
    foldEvent(memory, logged({ ...history({ type: 'run.started' })[0], eventId: 'other' }, 2));
    expect(memory.view()).not.toBe(view);
    expect(view?.status).toBe('created');
  });
});

describe('stages', () => {
  test('[F4] [F11] a stage equals that of a simple model of the contract, for random events in any order', () => {
    fc.assert(
      fc.property(loggedEvents, shuffle, (events, keys) => {
        const view = fold(rearranged(events, keys)).view();
        const stages = (view?.stages ?? []).map(({ order: _, attempts, ...stage }) => ({
          ...stage,
          ...(attempts && { attempts: attempts.map(({ order: _, ...attempt }) => attempt) }),
        }));
        const byId = (a: { stageId: string }, b: { stageId: string }) => (a.stageId < b.stageId ? -1 : 1);
        expect(stages.sort(byId)).toEqual(stagesByTheContract(events).sort(byId));
      }),
      { numRuns },
    );
  });

  test('[F4] the highest attempt counts, even if it is reported first or with an earlier time', () => {
    const events = history(
      { type: 'stage.started', stageId: 'a', attempt: 2, timestamp: instant(0) },
      { type: 'stage.completed', stageId: 'a', timestamp: instant(9) },
    );
    expect(stageOf(events)).toMatchObject({ attempt: 2, status: 'running', progress: 0, startedAt: instant(0) });
  });

  test('[F4] an end wins against later events of the same attempt', () => {
    const events = history(
      { type: 'stage.completed', stageId: 'a' },
      { type: 'stage.started', stageId: 'a' },
      { type: 'stage.progress', stageId: 'a', progress: 10 },
    );
    expect(stageOf(events)).toMatchObject({ status: 'completed', progress: 100, endedAt: instant(0) });
  });

  test('[F4] of two ends the later counts; at the same time failed; of the same type the greater eventId', () => {
    const completed = { type: 'stage.completed', stageId: 'a' } as const;
    const failed = { type: 'stage.failed', stageId: 'a', error: { message: 'x' } } as const;
    const at = { timestamp: instant(0) };
    expect(stageOf(history(failed, completed))?.status).toBe('completed');
    expect(stageOf(history({ ...failed, ...at, eventId: 'a' }, { ...completed, ...at, eventId: 'b' }))?.status).toBe(
      'failed',
    );
    const twoFailures = history(
      { ...failed, ...at, eventId: 'b', error: { message: 'of b' } },
      { ...failed, ...at, eventId: 'a', error: { message: 'of a' } },
    );
    expect(stageOf(twoFailures)?.error?.message).toBe('of b');
  });

  test('[F11] earlier attempts are listed with their times, ends and errors, in any order of arrival', () => {
    const events = history(
      { type: 'run.created', name: 'n', stages: [{ stageId: 'a', name: 'A' }] },
      { type: 'stage.started', stageId: 'a' },
      { type: 'stage.failed', stageId: 'a', error: { message: 'x'.repeat(300), code: 'E' }, willRetry: true },
      { type: 'stage.started', stageId: 'a', attempt: 2 },
      { type: 'stage.started', stageId: 'a', attempt: 3 },
      { type: 'stage.failed', stageId: 'a', attempt: 3, error: { message: 'z' }, willRetry: true },
    );
    const attempts = [
      {
        attempt: 1,
        status: 'failed',
        startedAt: instant(1),
        endedAt: instant(2),
        error: { message: 'x'.repeat(200), code: 'E' },
      },
      { attempt: 2, status: 'running', startedAt: instant(3) },
    ];
    for (const order of permutations(events)) {
      const stage = stageOf(order);
      expect(stage).toMatchObject({ attempt: 3, startedAt: instant(4), failedAt: instant(5), attempts });
    }
    const ended = fold(history(...events, { type: 'stage.completed', stageId: 'a', attempt: 3 })).view();
    expect(ended?.stages[0]).not.toHaveProperty('failedAt');
  });

  test('[F11] of many attempts, the 20 before the last are kept, whatever the order of arrival', () => {
    const attempts = fc.shuffledSubarray(
      Array.from({ length: 40 }, (_, index) => index + 1),
      { minLength: 22 },
    );
    fc.assert(
      fc.property(attempts, (numbers) => {
        const events = history(
          ...numbers.map((attempt) => ({
            type: 'stage.started' as const,
            stageId: 'a',
            attempt,
            timestamp: instant(attempt),
          })),
        );
        const stage = stageOf(events);
        const sorted = [...numbers].sort((a, b) => a - b);
        expect(stage?.attempts?.map(({ attempt }) => attempt)).toEqual(sorted.slice(-21, -1));
        expect(stage?.attempts?.every(({ attempt, startedAt }) => startedAt === instant(attempt))).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  test('[F11] the tombstone of an earlier failure removes its text from the list of attempts', () => {
    const events = history(
      { type: 'stage.started', stageId: 'a' },
      { type: 'stage.failed', stageId: 'a', error: { message: 'CANARY' }, willRetry: true },
      { type: 'stage.started', stageId: 'a', attempt: 2 },
      { type: 'run.failed', error: { message: 'y' }, stageId: 'a' },
    );
    const erased = fold(events);
    foldEvent(erased, tombstone(events[1] as RunEvent));
    expect(JSON.stringify(erased.view())).not.toContain('CANARY');
    expect(erased.view()?.stages[0]?.attempts).toMatchObject([{ attempt: 1, status: 'failed', endedAt: instant(1) }]);
  });

  test('[F4] a new attempt resets everything but the name and the attempts before', () => {
    const events = history(
      { type: 'stage.started', stageId: 'a', name: 'Align' },
      { type: 'stage.progress', stageId: 'a', progress: 80, message: 'nearly' },
      { type: 'stage.failed', stageId: 'a', error: { message: 'x' } },
      { type: 'stage.started', stageId: 'a', attempt: 2 },
    );
    const { order: _, attempts, ...stage } = stageOf(events) as NonNullable<ReturnType<typeof stageOf>>;
    expect(attempts).toHaveLength(1);
    expect(stage).toEqual({
      stageId: 'a',
      name: 'Align',
      status: 'running',
      attempt: 2,
      progress: 0,
      startedAt: instant(3),
    });
  });

  test('[F5] a failure with willRetry leaves the stage running with its error, and is not counted', () => {
    const events = history(
      { type: 'stage.started', stageId: 'a' },
      { type: 'stage.failed', stageId: 'a', error: { message: 'x' }, willRetry: true },
    );
    expect(stageOf(events)).toMatchObject({ status: 'running', error: { message: 'x' } });
    expect(stageOf(events)).not.toHaveProperty('endedAt');
    expect(viewOf(events)).toMatchObject({ status: 'running', currentStageId: 'a', counts: { stagesFailed: 0 } });
    const final = history(
      { type: 'stage.started', stageId: 'a' },
      { type: 'stage.failed', stageId: 'a', error: { message: 'x' }, willRetry: false },
    );
    expect(stageOf(final)).toMatchObject({ status: 'failed', endedAt: instant(1) });
  });

  test('progress defaults to done / total, and the start of a stage to its end minus its duration', () => {
    const share = history({ type: 'stage.progress', stageId: 'a', done: 1, total: 4 });
    expect(stageOf(share)?.progress).toBe(25);
    const over = history({ type: 'stage.progress', stageId: 'a', done: 9, total: 4 });
    expect(stageOf(over)?.progress).toBe(100);
    const unknown = history({ type: 'stage.progress', stageId: 'a', done: 9, total: 0 });
    expect(stageOf(unknown)?.progress).toBe(0);
    const ended = history({ type: 'stage.completed', stageId: 'a', durationMs: 1_000, timestamp: instant(5) });
    expect(stageOf(ended)?.startedAt).toBe(instant(4));
  });

  test('stages are ordered by plan, then by start', () => {
    const events = history(
      { type: 'stage.started', stageId: 'late', timestamp: instant(8) },
      { type: 'stage.started', stageId: 'early', timestamp: instant(2) },
      {
        type: 'run.created',
        name: 'n',
        stages: [
          { stageId: 'b', name: 'B' },
          { stageId: 'a', name: 'A' },
        ],
      },
    );
    expect(viewOf(events).stages.map((stage) => stage.stageId)).toEqual(['b', 'a', 'early', 'late']);
  });
});

describe('the header', () => {
  test('[F6] [F7] [F8] [F12] status, progress, current stage and error equal those of a simple model of the contract', () => {
    fc.assert(
      fc.property(loggedEvents, shuffle, (events, keys) => {
        const view = viewOf(rearranged(events, keys));
        const expected = headerByTheContract(events);
        expect(view).toMatchObject(expected.exact);
        expect(view.stageError).toEqual(expected.stageError);
        expect(Math.abs(view.progress - expected.progress)).toBeLessThan(0.001);
        if (expected.currentStageIds.length === 0) expect(view).not.toHaveProperty('currentStageId');
        else expect(expected.currentStageIds).toContain(view.currentStageId);
        const current = view.stages.find(({ stageId }) => stageId === view.currentStageId);
        expect(view.currentStageName).toBe(current?.name);
        expect(view.lastSeq).toBe(events.length);
      }),
      { numRuns },
    );
  });

  test('[F12] a failed run has the error of the stage that it names; else, of the last stage that failed for good', () => {
    const events = history(
      { type: 'stage.failed', stageId: 'a', error: { message: 'of a', code: 'A' } },
      { type: 'stage.failed', stageId: 'b', error: { message: 'of b' } },
      { type: 'stage.failed', stageId: 'c', error: { message: 'of c' }, willRetry: true },
      { type: 'run.failed', stageId: 'a', error: { message: 'stage a failed' } },
    );
    expect(viewOf(events.slice(0, 3))).not.toHaveProperty('stageError');
    for (const order of permutations(events)) {
      expect(viewOf(order).stageError).toEqual({ message: 'of a', code: 'A', stageId: 'a' });
    }
    const unnamed = [...events.slice(0, 3), ...history({ type: 'run.failed', error: { message: 'x' } }).slice(-1)];
    expect(viewOf(unnamed).stageError).toEqual({ message: 'of b', stageId: 'b' });
    const erased = fold(events);
    foldEvent(erased, tombstone(events[0] as RunEvent));
    expect(erased.view()?.stageError).toMatchObject({ message: '[erased]' });
    const completed = history(...events, { type: 'run.completed' });
    expect(viewOf(completed)).not.toHaveProperty('stageError');
  });

  test('[F6] an ended run is not reopened, and the later of two ends counts', () => {
    const events = history(
      { type: 'run.failed', error: { message: 'x' }, stageId: 'a', timestamp: instant(3) },
      { type: 'run.completed', summary: 'ok', durationMs: 5, timestamp: instant(4) },
      { type: 'run.started', timestamp: instant(9) },
      { type: 'stage.started', stageId: 'a', timestamp: instant(9) },
    );
    expect(viewOf(events)).toMatchObject({ status: 'completed', summary: 'ok', durationMs: 5, endedAt: instant(4) });
    expect(viewOf(events)).not.toHaveProperty('error');
    const failed = [...events, ...history({ type: 'run.failed', error: { message: 'y' }, timestamp: instant(5) })];
    expect(viewOf(failed)).toMatchObject({ status: 'failed', error: { message: 'y' }, endedAt: instant(5) });
    expect(viewOf(failed)).not.toHaveProperty('summary');
  });

  test('[F6] the status is the first that applies: ended, waiting, running, created', () => {
    const request = { type: 'governance.required', approvalId: 'x', title: 't' } as const;
    const events = history(
      { type: 'run.created', name: 'n' },
      { type: 'stage.progress', stageId: 'a', progress: 1 },
      request,
      { type: 'run.completed' },
    );
    const statuses = events.map((_, index) => viewOf(events.slice(0, index + 1)).status);
    expect(statuses).toEqual(['created', 'running', 'waiting', 'completed']);
    expect(viewOf(history({ type: 'run.created', name: 'n' }, request)).status).toBe('waiting');
    expect(viewOf(history({ type: 'run.created', name: 'n' }, { type: 'run.started' })).status).toBe('running');
  });

  test('[F7] progress is the mean over all known and planned stages, and 100 once the run has completed', () => {
    const stages = ['a', 'b', 'c', 'd'].map((stageId) => ({ stageId, name: stageId }));
    const events = history(
      { type: 'run.created', name: 'n', stages },
      { type: 'stage.completed', stageId: 'a' },
      { type: 'stage.progress', stageId: 'b', progress: 50 },
      { type: 'stage.progress', stageId: 'e', progress: 0.1 },
    );
    expect(viewOf(events.slice(0, 1)).progress).toBe(0);
    expect(viewOf(events.slice(0, 3)).progress).toBe(37.5);
    expect(viewOf(events).progress).toBe(30.02);
    const end = (type: 'run.completed' | 'run.failed', more = {}) => history({ type, ...more })[0] as RunEvent;
    expect(viewOf([...events, end('run.completed')]).progress).toBe(100);
    expect(viewOf([...events, end('run.failed', { error: { message: 'x' } })]).progress).toBe(30.02);
  });

  test('[F8] the current stage is the running stage that started last; an ended run has none', () => {
    const events = history(
      { type: 'stage.started', stageId: 'b', timestamp: instant(5) },
      { type: 'stage.started', stageId: 'a', timestamp: instant(3) },
      { type: 'stage.started', stageId: 'c', timestamp: instant(7) },
      { type: 'stage.completed', stageId: 'c', timestamp: instant(8) },
      { type: 'stage.started', stageId: 'b', timestamp: instant(1) },
      { type: 'run.completed', timestamp: instant(9) },
      { type: 'stage.progress', stageId: 'd', progress: 1, timestamp: instant(9) },
    );
    const current = events.map((_, index) => viewOf(events.slice(0, index + 1)).currentStageId);
    expect(current).toEqual(['b', 'b', 'c', 'b', 'a', undefined, undefined]);
  });

  test('[F8] currentStageName is the name of the stage once it is known', () => {
    const events = history(
      { type: 'stage.started', stageId: 'a', timestamp: instant(1) },
      { type: 'run.created', name: 'n', stages: [{ stageId: 'a', name: 'Align' }], timestamp: instant(2) },
      { type: 'stage.started', stageId: 'a', name: 'Align reads', timestamp: instant(3) },
      { type: 'stage.completed', stageId: 'a', timestamp: instant(4) },
    );
    const names = events.map((_, index) => viewOf(events.slice(0, index + 1)).currentStageName);
    expect(names).toEqual(['a', 'Align', 'Align reads', undefined]);
  });

  test('createdAt is that of the first run.created, startedAt that of the first run.started', () => {
    const events = history(
      { type: 'stage.started', stageId: 'a', timestamp: instant(1) },
      { type: 'run.created', name: 'n', timestamp: instant(3) },
      { type: 'run.created', name: 'n', timestamp: instant(2) },
      { type: 'run.started', timestamp: instant(4) },
    );
    expect(viewOf(events.slice(0, 1))).toMatchObject({ createdAt: instant(1), startedAt: instant(1), name: 'r' });
    expect(viewOf(events)).toMatchObject({ createdAt: instant(2), startedAt: instant(4), name: 'n' });
  });

  test('the latest run.created names the run, and plans are merged', () => {
    const events = history(
      { type: 'run.created', name: 'new', labels: { b: '2' }, timestamp: instant(5) },
      { type: 'run.created', name: 'old', labels: { a: '1' }, createdBy: 'ann', stages: [{ stageId: 'a', name: 'A' }] },
    );
    expect(viewOf(events)).toMatchObject({ name: 'new', labels: { b: '2' }, createdAt: instant(1) });
    expect(viewOf(events)).not.toHaveProperty('createdBy');
    expect(viewOf(events).stages).toHaveLength(1);
  });

  test('of an artifact published twice the later counts, and it is counted once', () => {
    const artifact = { type: 'artifact.created', artifactId: 'x' } as const;
    const events = history(
      { ...artifact, name: 'new', uri: 's3://b/k', timestamp: instant(5) },
      { ...artifact, name: 'old', kind: 'text/csv', timestamp: instant(1) },
    );
    const view = viewOf(events);
    expect(view.artifacts).toMatchObject([{ artifactId: 'x', name: 'new', uri: 's3://b/k', createdAt: instant(5) }]);
    expect(view.artifacts[0]).not.toHaveProperty('kind');
    expect(view.counts.artifacts).toBe(1);
  });
});

describe('approvals', () => {
  const request = { type: 'governance.required', approvalId: 'x', title: 't' } as const;
  const grant = (decidedBy: string) => ({ type: 'approval.granted', approvalId: 'x', decidedBy }) as const;
  const deny = { type: 'approval.denied', approvalId: 'x', decidedBy: 'eve', reason: 'no' } as const;
  const approvalAfter = (...drafts: Parameters<typeof history>) => viewOf(history(...drafts)).approvals[0];

  test('[F9] approvals equal those of a simple model of the contract', () => {
    fc.assert(
      fc.property(loggedEvents, (events) => {
        const view = fold(events).view();
        const brief = (view?.approvals ?? []).map(({ approvalId, title, status, decisions }) => ({
          approvalId,
          title,
          status,
          deciders: decisions.map(({ decidedBy, decision }) => `${decision} ${decidedBy}`),
        }));
        const expected = approvalsByTheContract(events);
        expect(brief).toEqual(expected);
        const pending = expected.filter((approval) => approval.status === 'pending').length;
        expect(view?.counts.approvalsPending ?? 0).toBe(pending);
      }),
      { numRuns },
    );
  });

  test('[F9] the first request of an id counts, by seq and not by time', () => {
    const approval = approvalAfter(
      { ...request, title: 'first', timestamp: instant(9) },
      { ...request, title: 'second', timestamp: instant(1), requiredApprovals: 9 },
    );
    expect(approval).toMatchObject({ title: 'first', requiredApprovals: 1, requiredRole: 'approver' });
    expect(approval).toMatchObject({ authority: 'runwire', requestActor: 'ci', requestedAt: instant(9) });
  });

  test('[F9] one user counts once, and requiredApprovals grants decide', () => {
    const two = { ...request, requiredApprovals: 2 };
    expect(approvalAfter(two, grant('ann'), grant('ann'))).toMatchObject({ status: 'pending' });
    expect(approvalAfter(two, grant('ann'), grant('ann'))?.decisions).toHaveLength(1);
    expect(approvalAfter(two, grant('ann'), grant('bob'))).toMatchObject({ status: 'granted', decidedAt: instant(2) });
    expect(approvalAfter(request, grant('ann'))?.status).toBe('granted');
  });

  test('[F9] one deny decides, even by a user with an earlier grant, and a decision is final', () => {
    const two = { ...request, requiredApprovals: 2 };
    expect(approvalAfter(two, grant('eve'), deny, grant('ann'), grant('bob'))).toMatchObject({
      status: 'denied',
      decisions: [{ decision: 'granted' }, { decision: 'denied', reason: 'no' }],
    });
    expect(approvalAfter(request, grant('ann'), deny)?.status).toBe('granted');
    expect(approvalAfter(request, { ...deny, decidedBy: 'system', expired: true })?.status).toBe('expired');
    expect(approvalAfter(request, deny, request)?.status).toBe('denied');
  });

  test('[F9] a decision without a request, or before it, decides nothing', () => {
    expect(approvalAfter(grant('ann'))).toBeUndefined();
    expect(approvalAfter(grant('ann'), request)?.status).toBe('pending');
  });
});

/** A view as JSON with sorted keys. */
const canonical = (value: unknown) =>
  JSON.stringify(value, (_, item) =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
type Failed = Extract<RunEvent, { type: 'stage.failed' }>;

// A simple model of the contract's section 3: it computes each field from all events of a run, without state.

type StageEvent = Extract<RunEvent, { type: `stage.${string}` }>;
type Created = Extract<RunEvent, { type: 'run.created' }>;

function greatest<T>(items: readonly T[], ...keys: ((item: T) => string | number)[]): T | undefined {
  return [...items]
    .sort((a, b) => {
      for (const key of keys) if (key(a) !== key(b)) return key(a) < key(b) ? -1 : 1;
      return 0;
    })
    .at(-1);
}

const at = (event: RunEvent) => event.timestamp;
const id = (event: RunEvent) => event.eventId;
const present = (value: object) => Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined));

function stagesByTheContract(events: readonly RunEvent[]) {
  const own = events.filter((event): event is StageEvent => event.type.startsWith('stage.'));
  const created = events.filter((event): event is Created => event.type === 'run.created');
  const planned = created.flatMap((event) => event.stages ?? []);
  const stageIds = [...new Set([...planned, ...own].map(({ stageId }) => stageId))];
  return stageIds.map((stageId) => {
    const ofStage = own.filter((event) => event.stageId === stageId);
    const attempts = [...new Set(ofStage.map((event) => event.attempt ?? 1))].sort((a, b) => a - b);
    const attempt = attempts.at(-1) ?? 1;
    const ofAttempt = ofStage.filter((event) => (event.attempt ?? 1) === attempt);
    const { last, begun } = lastAndFirst(ofAttempt);

    const isRetried = last?.type === 'stage.failed' && last.willRetry === true;
    const ended = last && isEnd(last) && !isRetried ? last : undefined;
    const status = ended ? (ended.type === 'stage.failed' ? 'failed' : 'completed') : last ? 'running' : 'pending';
    const progresses = ofAttempt.filter((event) => event.type === 'stage.progress');
    const share = ({ progress, done, total }: (typeof progresses)[number]) =>
      progress ?? (done !== undefined && total ? Math.min(100, (done * 100) / total) : undefined);
    const reported = greatest(
      progresses.filter((event) => share(event) !== undefined),
      at,
      id,
    );
    const spoken = greatest(
      progresses.filter((event) => event.message !== undefined),
      at,
      id,
    );
    const counted = greatest(
      progresses.filter((event) => event.done !== undefined),
      at,
      id,
    );
    const durationMs = ended?.type === 'stage.completed' ? ended.durationMs : undefined;
    const named = greatest(
      ofStage.filter((event) => event.type === 'stage.started' && event.name !== undefined),
      at,
      id,
    ) as Extract<StageEvent, { type: 'stage.started' }> | undefined;
    const plan = greatest(
      created.filter((event) => event.stages?.some((stage) => stage.stageId === stageId)),
      at,
      id,
    )?.stages?.find((stage) => stage.stageId === stageId);
    return present({
      stageId,
      name: named?.name ?? plan?.name ?? stageId,
      status,
      attempt,
      progress: status === 'completed' ? 100 : ((reported && share(reported)) ?? 0),
      message: spoken?.message,
      done: counted?.done,
      total: counted?.total,
      startedAt: begun?.timestamp ?? startOf(ended),
      endedAt: ended?.timestamp,
      failedAt: isRetried ? last.timestamp : undefined,
      durationMs,
      error: last?.type === 'stage.failed' ? last.error : undefined,
      attempts:
        attempts.length < 2
          ? undefined
          : attempts.slice(0, -1).map((number) => ({
              attempt: number,
              ...attemptByTheContract(ofStage.filter((event) => (event.attempt ?? 1) === number)),
            })),
    }) as { stageId: string; status: string; progress: number; startedAt?: string; error?: object };
  });
}

const isEnd = ({ type }: StageEvent) => type === 'stage.completed' || type === 'stage.failed';
const ranks = ['stage.started', 'stage.progress', 'stage.completed', 'stage.failed'];
const rank = (event: StageEvent) => ranks.indexOf(event.type);

/** The event that decides the status of an attempt, and the first event that is no end. */
const lastAndFirst = (ofAttempt: readonly StageEvent[]) => ({
  last: greatest(ofAttempt, (event) => Number(isEnd(event)), at, rank, id),
  begun: greatest(
    ofAttempt.filter((event) => !isEnd(event)),
    (event) => -Date.parse(event.timestamp),
  ),
});

function startOf(end: StageEvent | undefined): string | undefined {
  if (end?.type !== 'stage.completed' || end.durationMs === undefined) return undefined;
  return new Date(Date.parse(end.timestamp) - end.durationMs).toISOString();
}

function attemptByTheContract(ofAttempt: readonly StageEvent[]) {
  const { last, begun } = lastAndFirst(ofAttempt);
  const end = last && isEnd(last) ? last : undefined;
  return present({
    status: end ? end.type.slice('stage.'.length) : 'running',
    startedAt: begun?.timestamp ?? startOf(end),
    endedAt: end?.timestamp,
    durationMs: end?.type === 'stage.completed' ? end.durationMs : undefined,
    error: end?.type === 'stage.failed' ? end.error : undefined,
  });
}

function headerByTheContract(events: readonly RunEvent[]) {
  const stages = stagesByTheContract(events);
  const created = events.filter((event) => event.type === 'run.created');
  const ends = events.filter((event) => event.type === 'run.completed' || event.type === 'run.failed');
  const end = greatest(ends, at, (event) => Number(event.type === 'run.failed'), id);
  const isWaiting = approvalsByTheContract(events).some((approval) => approval.status === 'pending');
  const isRunning = events.some((event) => event.type === 'run.started' || event.type.startsWith('stage.'));
  const running = end ? [] : stages.filter((stage) => stage.status === 'running');
  const latestStart = greatest(running, (stage) => stage.startedAt ?? '')?.startedAt;
  const mean = stages.reduce((sum, stage) => sum + stage.progress, 0) / (stages.length || 1);
  const count = (status: string) => stages.filter((stage) => stage.status === status).length;
  const earliest = (type: RunEvent['type'] | 'stage.' | '') =>
    events
      .filter((event) => event.type.startsWith(type))
      .map(at)
      .sort()[0];
  const exact = {
    createdAt: earliest('run.created') ?? earliest(''),
    ...present({ startedAt: earliest('run.started') ?? earliest('stage.') }),
    name: greatest(created, at, id)?.name ?? 'r',
    status: end ? end.type.slice('run.'.length) : isWaiting ? 'waiting' : isRunning ? 'running' : 'created',
    counts: { stages: stages.length, stagesCompleted: count('completed'), stagesFailed: count('failed') },
    ...(end ? { endedAt: end.timestamp } : {}),
  };
  return {
    exact,
    progress: end?.type === 'run.completed' ? 100 : mean,
    stageError: end?.type === 'run.failed' ? stageErrorByTheContract(events, end.stageId) : undefined,
    currentStageIds: running.filter((stage) => stage.startedAt === latestStart).map((stage) => stage.stageId),
  };
}

function stageErrorByTheContract(events: readonly RunEvent[], named: string | undefined) {
  const failed = events.filter((event): event is Failed => event.type === 'stage.failed' && !event.willRetry);
  const stages = stagesByTheContract(events);
  for (const stageId of [named, greatest(failed, at, id)?.stageId]) {
    const stage = stages.find((one) => one.stageId === stageId);
    if (stage?.error && stage.status !== 'completed') return { ...stage.error, stageId };
  }
  return undefined;
}

function approvalsByTheContract(events: readonly RunEvent[]) {
  const requests = events.filter((event) => event.type === 'governance.required');
  const first = requests.filter(
    (event) => !requests.some((other) => other.approvalId === event.approvalId && other.seq < event.seq),
  );
  return first.map(({ approvalId, title, requiredApprovals = 1, seq }) => {
    const deciders: string[] = [];
    let status: Approval['status'] = 'pending';
    for (const event of events) {
      if (status !== 'pending' || event.seq < seq) continue;
      if (event.type === 'approval.granted' && event.approvalId === approvalId) {
        const text = `granted ${event.decidedBy}`;
        if (!deciders.includes(text)) deciders.push(text);
        if (deciders.length >= requiredApprovals) status = 'granted';
      } else if (event.type === 'approval.denied' && event.approvalId === approvalId) {
        deciders.push(`denied ${event.decidedBy}`);
        status = event.expired ? 'expired' : 'denied';
      }
    }
    return { approvalId, title, status, deciders };
  });
}
