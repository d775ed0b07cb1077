import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import type { RunEventDraft } from '../../shared/events.ts';
import type { SearchFacets } from '../../shared/search-facets.ts';
import { created, everyone, openServer, progress } from '../support/harness.ts';

async function serve() {
  const server = await openServer();
  onTestFinished(() => server.close());
  return { ...server, caller: server.router.createCaller({ principal: everyone }) };
}
type Caller = Awaited<ReturnType<typeof serve>>['caller'];
type Filter = NonNullable<Parameters<Caller['event']['search']>[0]>;

/** Counts the results of a search, as `event.facets` does. */
async function countFound({ event }: Caller, filter: Filter): Promise<SearchFacets> {
  const counts = { types: {}, projects: {}, actors: {}, hours: {} } as Record<string, Record<string, number>>;
  let total = 0;
  let cursor: string | undefined;
  do {
    const page = await event.search({ ...filter, limit: 500, cursor });
    for (const { type, projectId, actor, recordedAt } of page.events) {
      total++;
      const hours = `${recordedAt.slice(0, 13)}:00:00.000Z`;
      for (const [field, value] of Object.entries({ types: type, projects: projectId, actors: actor, hours })) {
        const of = counts[field] as Record<string, number>;
        of[value] = (of[value] ?? 0) + 1;
      }
    }
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  const listOf = (field: string) =>
    Object.entries(counts[field] as object)
      .map(([value, count]: [string, number]) => ({ value, count }))
      .sort((a, b) => b.count - a.count || (a.value < b.value ? -1 : 1));
  const hours = listOf('hours').map(({ value, count }) => ({ at: value, count }));
  hours.sort((a, b) => (a.at < b.at ? -1 : 1));
  return { total, types: listOf('types'), projects: listOf('projects'), actors: listOf('actors'), hours };
}

test('[R23] the facets of any filter equal a count over the events that event.search finds with it', async () => {
  const { bus, caller } = await serve();
  const words = ['disk full', 'out of memory', 'aligned', 'disk ok'];
  const actors = ['ci', 'ann', 'bob'];
  for (let batch = 0; batch < 12; batch++) {
    const drafts: RunEventDraft[] = Array.from({ length: 40 }, (_, at) => {
      const projectId = ['p', 'q', 'r'][(at * 7 + batch) % 3] as string;
      const message = words[(at + batch) % words.length] as string;
      if (at % 5 === 0) return created(`r${batch}-${at}`, { projectId, name: message });
      return progress(`r${batch}-0`, at, { projectId, message });
    });
    await bus.publish(drafts, { actor: actors[batch % actors.length] as string });
  }
  const some = <T>(...values: T[]) => fc.option(fc.constantFrom(...values), { nil: undefined });
  const filter: fc.Arbitrary<Filter> = fc.record({
    text: some('disk', '"of memory"', 'ali', 'nowhere', '--'),
    projectId: some<string | string[]>('p', ['p', 'r'], ['none'], []),
    types: some<RunEventDraft['type'][]>(['run.created'], ['run.created', 'stage.progress'], ['run.failed']),
    actor: some<string | string[]>('ci', ['ann', 'bob'], 'nobody'),
    runId: some('r3-0', 'none'),
    since: some('2020-01-01T00:00:00Z', '2100-01-01T00:00:00Z'),
  });
  await fc.assert(
    fc.asyncProperty(filter, async (asked) => {
      expect(await caller.event.facets(asked)).toEqual(await countFound(caller, asked));
    }),
    { numRuns: 60 },
  );
});

test('[R23] an answer of event.facets counts 10,000 events, and the sum of its pages counts each once', async () => {
  const { bus, caller } = await serve();
  for (let batch = 0; batch < 24; batch++) {
    await bus.publish(
      Array.from({ length: 500 }, () => progress('r1', 1, { message: 'same' })),
      { actor: 'ci' },
    );
  }
  for (const text of [undefined, 'same']) {
    const first = await caller.event.facets({ text });
    expect(first.total).toBeLessThanOrEqual(10_000);
    let total = 0;
    let cursor: string | undefined;
    do {
      const page = await caller.event.facets({ text, cursor });
      total += page.total;
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    expect(total).toBe(12_000);
  }
});

test('[R23] [R4] facets count readable events only, and show nothing of others', async () => {
  const { bus, router } = await serve();
  await bus.publish([created('r1', { projectId: 'mine' })], { actor: 'ci' });
  await bus.publish([created('r2', { projectId: 'theirs' }), progress('r2', 5, { projectId: 'theirs' })], {
    actor: 'somebody',
  });
  const viewer = router.createCaller({ principal: { sub: 'ann', projects: ['mine'], roles: ['viewer'] } });
  const counts = await viewer.event.facets({});
  expect(counts).toMatchObject({
    total: 1,
    types: [{ value: 'run.created', count: 1 }],
    projects: [{ value: 'mine', count: 1 }],
    actors: [{ value: 'ci', count: 1 }],
  });
  const nothing = { total: 0, types: [], projects: [], actors: [], hours: [] };
  expect(await viewer.event.facets({ projectId: ['theirs', 'unknown'] })).toEqual(nothing);
  expect(await viewer.event.facets({ projectId: 'theirs' })).toEqual(nothing);
  expect((await viewer.event.search({ projectId: ['theirs', 'mine'] })).events.map(({ seq }) => seq)).toEqual([1]);
  const producer = router.createCaller({ principal: { sub: 'ci', projects: ['*'], roles: ['producer'] } });
  expect(await producer.event.facets({})).toEqual(nothing);
});

test('[R1] a search states the names of the runs that it found events of', async () => {
  const { bus, caller } = await serve();
  await bus.publish([created('r1', { name: 'Nightly' }), progress('r1', 5), progress('r2', 5)], { actor: 'ci' });
  expect((await caller.event.search({})).runs).toEqual([
    { projectId: 'demo', runId: 'r2', name: 'r2' },
    { projectId: 'demo', runId: 'r1', name: 'Nightly' },
  ]);
});

test('[R1] several projects and several publishers of a search are alternatives', async () => {
  const { bus, caller } = await serve();
  for (const [index, projectId] of ['a', 'b', 'c'].entries()) {
    await bus.publish([created('r1', { projectId })], { actor: `user-${index}` });
  }
  const found = async (filter: Filter) => (await caller.event.search(filter)).events.map(({ seq }) => seq);
  for (const text of [undefined, 'run']) {
    expect(await found({ text, projectId: ['a', 'c', 'a'] })).toEqual([3, 1]);
    expect(await found({ text, actor: ['user-1', 'user-2'] })).toEqual([3, 2]);
    expect(await found({ text, actor: ['user-1', 'user-2'], projectId: ['a', 'b'] })).toEqual([2]);
    expect(await found({ text, projectId: [] })).toEqual([]);
  }
});
