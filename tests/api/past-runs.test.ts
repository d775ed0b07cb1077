import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fetchRunAt } from '../../client/connection/fetch-run.ts';
import { PastRuns } from '../../server/api/past-runs.ts';
import { foldOf, runwireTable } from '../../shared/event-table.ts';
import type { RunEvent, RunEventDraft } from '../../shared/events.ts';
import type { RunView } from '../../shared/run.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import { created, everyone, openServer, progress } from '../support/harness.ts';

/** `run.at`: a run as it was after one of its events. */

const run = { projectId: 'demo', runId: 'r1' };
const publisher = { actor: 'ci' };
type Server = Awaited<ReturnType<typeof openServer>>;
const callerOf = (server: Server) => server.router.createCaller({ principal: everyone });
/** Reads all pages of `run.at`, as a client does. */
const stateAt = (server: Server, runSeq: number) => {
  const caller = callerOf(server);
  return fetchRunAt({ run: { at: { query: (input: never) => caller.run.at(input) } } } as never, { ...run, runSeq });
};

async function historyOf(server: Server): Promise<RunEvent[]> {
  const events: RunEvent[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await callerOf(server).run.history({ ...run, limit: 500, cursor });
    events.push(...(page.events as RunEvent[]));
    cursor = page.nextCursor;
    if (cursor === undefined) return events;
  }
}

/** The state after each event of a run, by a fold from the first. */
function foldsOf(events: readonly RunEvent[]): RunView[] {
  const rows = new RunMemory();
  return events.map((event) => {
    foldOf(runwireTable)(rows, event as never);
    return rows.view() as RunView;
  });
}

const stageId = fc.constantFrom('a', 'b', 'c');
const approvalId = fc.constantFrom('x', 'y');
const timestamp = fc.integer({ min: 0, max: 5_000 }).map((ms) => new Date(Date.UTC(2026, 0, 1) + ms).toISOString());
const draft = fc
  .oneof(
    fc.record({ type: fc.constant('stage.started'), stageId, timestamp }),
    fc.record({ type: fc.constant('stage.progress'), stageId, timestamp, progress: fc.integer({ min: 0, max: 100 }) }),
    fc.record({ type: fc.constant('stage.completed'), stageId, timestamp }),
    fc.record({
      type: fc.constant('stage.failed'),
      stageId,
      timestamp,
      error: fc.record({ message: fc.constantFrom('no', 'disk') }),
    }),
    fc.record({
      type: fc.constant('artifact.created'),
      artifactId: stageId,
      timestamp,
      name: fc.constantFrom('f', 'g'),
    }),
    fc.record({ type: fc.constant('governance.required'), approvalId, timestamp, title: fc.constant('May it?') }),
    fc.record({ type: fc.constantFrom('run.started', 'run.completed'), timestamp }),
  )
  .map((fields) => ({ ...run, ...fields }) as RunEventDraft);

test('[R26] run.at is the fold of the events up to each event of a random run', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(draft, { minLength: 1, maxLength: 40 }), async (drafts) => {
      await using server = await openServer();
      for (const one of drafts) await server.bus.publish([one], publisher);
      const folds = foldsOf(await historyOf(server));
      // The server denies an approval of a run that has ended.
      expect(folds.length).toBeGreaterThanOrEqual(drafts.length);
      // In an order that begins at the end, so that states in memory are after and before the wanted one.
      const order = folds.map((_, index) => (index * 7) % folds.length).reverse();
      for (const index of [...new Set(order)]) {
        expect(await stateAt(server, index + 1)).toEqual({ run: folds[index], firstRunSeq: 1 });
      }
    }),
    { numRuns: 15 },
  );
});

test('[R26] a large state comes in pages, and a far event costs a fold from the nearest state in memory', async () => {
  await using server = await openServer();
  const stages = Array.from({ length: 3_000 }, (_, index) =>
    progress('r1', 1, { stageId: `stage-${index}`, message: 'x'.repeat(100) }),
  );
  for (let at = 0; at < 3; at++) await server.bus.publish(stages.slice(at * 1_000, at * 1_000 + 1_000), publisher);
  const first = await callerOf(server).run.at({ ...run, runSeq: 2_500 });
  expect(first.run.stages.length).toBeLessThan(2_500);
  expect(first.nextCursor).toBeDefined();
  const { run: state } = await stateAt(server, 2_500);
  expect(state.stages).toHaveLength(2_500);
  expect(state.lastRunSeq).toBe(2_500);
  let reads = 0;
  const { read } = server.log;
  server.log.read = (query) => {
    reads++;
    return read.call(server.log, query);
  };
  await stateAt(server, 2_100);
  expect(reads).toBeLessThanOrEqual(2); // 100 events after the state at 2,000.
});

test('[R26] states in memory have a bounded amount of text, whatever the number of their rows', async () => {
  await using server = await openServer();
  for (const runId of ['r1', 'r2']) {
    const stages = Array.from({ length: 400 }, (_, index) =>
      progress(runId, 1, { stageId: `stage-${index}`, message: 'x'.repeat(2_000) }),
    );
    await server.bus.publish(stages, publisher);
  }
  const folds = async (maxCharacters: number) => {
    let folded = 0;
    const fold = (...args: Parameters<ReturnType<typeof foldOf>>) => {
      folded++;
      foldOf(runwireTable)(...args);
    };
    const pastRuns = new PastRuns(server.log, fold as never, maxCharacters);
    for (const runId of ['r1', 'r2', 'r1']) await pastRuns.at({ ...run, runId }, 400, 0, { user: 'ada' });
    return folded;
  };
  expect(await folds(4_000_000)).toBe(800);
  expect(await folds(1_500_000)).toBe(1_200); // The state of the first run gave way.
});

test('[R26] after an erasure no state has the erased text', async () => {
  await using server = await openServer();
  await server.bus.publish(
    [created('r1'), progress('r1', 5, { message: 'Jane was here' }), progress('r1', 6)],
    publisher,
  );
  expect(JSON.stringify(await stateAt(server, 2))).toContain('Jane was here');
  await callerOf(server).audit.erase({ seq: 2, reason: 'a name' });
  for (const runSeq of [2, 3]) expect(JSON.stringify(await stateAt(server, runSeq))).not.toContain('Jane');
});

test('[R26] a removed, later or unknown event is EVENT_NOT_FOUND; the state after removed events names the first kept', async () => {
  await using server = await openServer();
  await server.bus.publish([created('r1'), progress('r1', 1)], publisher);
  for (const runSeq of [3, Number.MAX_SAFE_INTEGER]) {
    await expect(stateAt(server, runSeq)).rejects.toMatchObject({ message: expect.stringMatching('no such event') });
  }
  await new Promise((resolve) => setTimeout(resolve, 2));
  const now = Date.now();
  const later = (ms: number) => ({ timestamp: new Date(now + ms).toISOString() });
  await server.bus.publish([progress('r1', 50, later(1)), progress('r1', 60, later(2))], publisher);
  await server.log.trim(now);
  await expect(stateAt(server, 1)).rejects.toMatchObject({ message: expect.stringMatching('no such event') });
  const { run: state, firstRunSeq } = await stateAt(server, 4);
  expect(firstRunSeq).toBe(3);
  expect(state.stages[0]?.progress).toBe(60);
});
