import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { eventMatcher } from '../../shared/event-filter.ts';
import { EventPositionsBuilder } from '../../shared/event-positions.ts';
import type { RunEvent, RunEventDraft } from '../../shared/events.ts';
import { created, everyone, openServer, progress } from '../support/harness.ts';

const publisher = { actor: 'ci' };
const draft = (type: RunEventDraft['type'], fields: object) =>
  ({ projectId: 'demo', runId: 'r1', type, ...fields }) as RunEventDraft;

async function serve() {
  const server = await openServer();
  onTestFinished(() => server.close());
  return { ...server, caller: server.router.createCaller({ principal: everyone }) };
}
type Caller = Awaited<ReturnType<typeof serve>>['caller'];
type Filter = Omit<Parameters<Caller['run']['history']>[0], 'runId'>;

async function historyOf(caller: Caller, filter: Filter = {}): Promise<RunEvent[]> {
  const events: RunEvent[] = [];
  let cursor: string | undefined;
  do {
    const page = await caller.run.history({ runId: 'r1', ...filter, cursor });
    expect(page.events.length).toBeLessThanOrEqual(filter.limit ?? 50);
    events.push(...page.events);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return events;
}

const words = ['CUDA', 'out', 'of', 'memory', 'Émile', 'ok', '細胞'];
const stageId = fc.constantFrom('a', 'b', 'stage:c');
const message = fc.array(fc.constantFrom(...words), { minLength: 1, maxLength: 4 }).map((all) => all.join(' '));
const attempt = fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined });
const timestamp = fc.integer({ min: 0, max: 300 }).map((minutes) => new Date(1e12 + minutes * 60_000).toISOString());
const arbitraryDrafts = fc.array(
  fc.oneof(
    fc.record({ stageId, attempt, timestamp }).map((fields) => draft('stage.started', fields)),
    fc.record({ stageId, attempt, message, timestamp }).map((fields) => draft('stage.progress', fields)),
    fc.record({ stageId, attempt, progress: fc.nat(100), timestamp }).map((fields) => draft('stage.progress', fields)),
    fc
      .record({ stageId, attempt, message, timestamp })
      .map(({ message: text, ...fields }) => draft('stage.failed', { ...fields, error: { message: text } })),
    message.map((reason) => draft('approval.denied', { approvalId: 'x', decidedBy: 'bo', reason })),
    fc.constant(created('other')),
  ),
  { minLength: 1, maxLength: 60 },
);
const arbitraryFilter = fc.record(
  {
    types: fc.uniqueArray(fc.constantFrom('stage.started', 'stage.progress', 'stage.failed', 'approval.denied')),
    stageId,
    attempt: fc.integer({ min: 1, max: 3 }),
    text: fc.oneof(message, fc.constantFrom('émile', 'mem', '"out of"', '細', '?', '  ')),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<Filter>;

test('[R20] run.history with a filter has the events of the whole history that match it, in order, with pages of any size', async () => {
  const { bus, caller } = await serve();
  await fc.assert(
    fc.asyncProperty(
      arbitraryDrafts,
      arbitraryFilter,
      fc.integer({ min: 1, max: 9 }),
      fc.nat(99),
      async (drafts, filter, limit, skipped) => {
        await bus.publish([...drafts, draft('run.started', {})], publisher);
        const all = await historyOf(caller, { limit: 500 });
        const from = 1 + (skipped % all.length);
        const expected = all.slice(from - 1).filter(eventMatcher(filter));
        expect(await historyOf(caller, { ...filter, limit, fromRunSeq: from })).toEqual(expected);
      },
    ),
    { numRuns: 60 },
  );
});

test('[R20] a filter selects by type, stage, attempt and text; an event without an attempt is of the first', async () => {
  const { bus, caller } = await serve();
  await bus.publish(
    [
      created('r1', { name: 'Émile trains' }),
      draft('stage.started', { stageId: 'a' }),
      draft('stage.failed', { stageId: 'a', attempt: 1, error: { message: 'CUDA out of memory' } }),
      draft('stage.started', { stageId: 'a', attempt: 2 }),
      draft('stage.failed', { stageId: 'b', error: { message: 'no memory' } }),
    ],
    publisher,
  );
  const of = async (filter: Filter) => (await historyOf(caller, filter)).map(({ runSeq }) => runSeq);
  expect(await of({ stageId: 'a' })).toEqual([2, 3, 4]);
  expect(await of({ stageId: 'a', attempt: 1 })).toEqual([2, 3]);
  expect(await of({ attempt: 2 })).toEqual([4]);
  expect(await of({ text: 'MEMORY' })).toEqual([3, 5]);
  expect(await of({ text: '"out of memory"', types: ['stage.failed'] })).toEqual([3]);
  expect(await of({ text: 'memo', stageId: 'b' })).toEqual([5]);
  expect(await of({ text: 'emile' })).toEqual([1]);
  expect(await of({ text: '?!' })).toEqual([]);
  expect(await of({ text: ' ' })).toEqual([1, 2, 3, 4, 5]);
});

test('[R20] a page looks at a bounded part of a long run, and may have no events and a next page', async () => {
  const { bus, caller } = await serve();
  const message = 'x'.repeat(1_500);
  await bus.publish([created('r1')], publisher);
  for (let part = 0; part < 40; part++) {
    const values = Array.from({ length: 1_000 }, (_, at) => progress('r1', at % 100, { message }));
    await bus.publish(values, publisher);
  }
  await bus.publish([draft('stage.failed', { stageId: 's', error: { message: 'found' } })], publisher);
  const first = await caller.run.history({ runId: 'r1', text: 'found' });
  expect(first.events).toEqual([]);
  expect(first.nextCursor).toBeDefined();
  expect((await historyOf(caller, { text: 'found' })).map(({ runSeq }) => runSeq)).toEqual([40_002]);
  const { through } = await caller.run.positions({ runId: 'r1', text: 'found' });
  expect(through).toBeLessThan(40_002);
});

async function positionsOf(caller: Caller, filter: Filter, to: number) {
  const found = new EventPositionsBuilder();
  for (let from = 1; from <= to; ) {
    const page = await caller.run.positions({ runId: 'r1', ...filter, fromRunSeq: from, toRunSeq: to });
    expect(page.oldest).toBe(from);
    found.append(page);
    from = page.through + 1;
  }
  return found.list();
}

test('[R21] run.positions has the positions of the matching events, their quarters of an hour, and stretches of progress', async () => {
  const { bus, caller } = await serve();
  await fc.assert(
    fc.asyncProperty(arbitraryDrafts, arbitraryFilter, fc.nat(99), async (drafts, filter, cut) => {
      await bus.publish([...drafts, draft('run.started', {})], publisher);
      const all = await historyOf(caller, { limit: 500 });
      const to = 1 + (cut % all.length);
      const matching = all.slice(0, to).filter(eventMatcher(filter));
      const { runSeqs, times, progress: stretches } = await positionsOf(caller, filter, to);
      expect(runSeqs).toEqual(matching.map(({ runSeq }) => runSeq));
      const quarter = (event?: RunEvent) => Math.floor(Date.parse(event?.timestamp ?? '') / 900_000);
      const changes = matching.flatMap((event, at) =>
        quarter(event) === quarter(matching[at - 1]) ? [] : [[at, Date.parse(event.timestamp)]],
      );
      expect(times).toEqual(changes);
      const stageOf = (event: RunEvent | undefined) => (event?.type === 'stage.progress' ? event.stageId : undefined);
      for (const { index, count, stageId: stage, first, last } of stretches) {
        const events = matching.slice(index, index + count);
        expect(events.map(stageOf)).toEqual(Array(count).fill(stage));
        expect([stageOf(matching[index - 1]), stageOf(matching[index + count])]).not.toContain(stage);
        expect([first.at, last.at]).toEqual([events[0], events.at(-1)].map((one) => Date.parse(one?.timestamp ?? '')));
      }
      const inStretches = new Set(
        stretches.flatMap(({ index, count }) => Array.from({ length: count }, (_, at) => index + at)),
      );
      const pairs = matching.flatMap((event, at) =>
        stageOf(event) !== undefined && stageOf(event) === stageOf(matching[at - 1]) ? [at - 1, at] : [],
      );
      expect(pairs.filter((at) => !inStretches.has(at))).toEqual([]);
    }),
    { numRuns: 60 },
  );
});

test('[R21] run.counts counts the events of the whole run by type, stage and publisher, from any position on', async () => {
  const { bus, caller } = await serve();
  await bus.publish([created('r1'), progress('r1', 5), created('r2')], { actor: 'ann' });
  await bus.publish([progress('r1', 10), draft('stage.started', { stageId: '__proto__' })], publisher);
  const { types, stages, actors, ...rest } = await caller.run.counts({ runId: 'r1' });
  expect(types).toEqual({ 'run.created': 1, 'stage.progress': 2, 'stage.started': 1 });
  expect(Object.entries(stages).sort()).toEqual(
    [
      ['__proto__', 1],
      ['s1', 2],
    ].sort(),
  );
  expect(actors).toEqual({ ann: 2, ci: 2 });
  expect(rest).toEqual({ through: 4, isComplete: true });
  expect(await caller.run.counts({ runId: 'r1', fromRunSeq: 4 })).toMatchObject({ types: { 'stage.started': 1 } });
  expect(await caller.run.counts({ runId: 'r1', fromRunSeq: 9 })).toMatchObject({ types: {}, isComplete: true });
});

test('[R21] run.counts of a long run comes in parts, which add up to the whole', async () => {
  const { bus, caller } = await serve();
  await bus.publish([created('r1')], publisher);
  const message = 'x'.repeat(1_500);
  for (let part = 0; part < 40; part++) {
    const values = Array.from({ length: 1_000 }, (_, at) => progress('r1', at % 100, { message }));
    await bus.publish(values, publisher);
  }
  let [parts, progressed, from] = [0, 0, 1];
  for (let isComplete = false; !isComplete; parts++) {
    const counts = await caller.run.counts({ runId: 'r1', fromRunSeq: from });
    progressed += counts.types['stage.progress'] ?? 0;
    ({ isComplete } = counts);
    from = counts.through + 1;
  }
  expect(progressed).toBe(40_000);
  expect(parts).toBeGreaterThan(1);
});

test('[R22] audit.run has the last verification, and the erased events of a run with user and reason', async () => {
  const { bus, caller, router } = await serve();
  const viewer = router.createCaller({ principal: { sub: 'vera', projects: ['demo'], roles: ['viewer'] } });
  await bus.publish([created('r1'), progress('r1', 5, { message: 'a slip' }), created('r2')], publisher);
  const before = await viewer.audit.run({ runId: 'r1' });
  expect(before.record).toEqual({ seq: 3, oldest: 1, hashPrefix: expect.stringMatching(/^[0-9a-f]{8}$/) });
  expect(before.erasures).toEqual([]);
  await caller.audit.erase({ seq: 2, reason: 'asked for' });
  await caller.audit.erase({ seq: 3, reason: 'of another run' });
  const verdict = await caller.audit.verify();
  expect(verdict).toMatchObject({ ok: true, to: 3 });
  const { record, erasures } = await viewer.audit.run({ runId: 'r1' });
  expect(record.verified).toMatchObject({ by: 'ada', verdict });
  expect(erasures).toMatchObject([{ seq: 2, runId: 'r1', by: 'ada', reason: 'asked for' }]);
});
