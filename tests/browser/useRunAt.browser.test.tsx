import { expect, test } from 'vitest';
import { type UseRunAtOptions, useRunAt } from '../../client/react/index.ts';
import { foldOf, runwireTable } from '../../shared/event-table.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import { mount, until, watchRequests } from './mount.tsx';
import { draft, openServer } from './servers.ts';

const use = (options: UseRunAtOptions) => useRunAt(options);

test('[H45] useRunAt returns the fold of the events up to each event, and steps without a request', async () => {
  const server = await openServer();
  const progress = (value: number) =>
    draft('stage.progress', 'r1', { stageId: `s${value % 7}`, progress: value % 100 });
  await server.publish(draft('run.created', 'r1', { name: 'Run' }));
  for (let at = 0; at < 12; at++)
    await server.publish(...Array.from({ length: 100 }, (_, index) => progress(at * 100 + index)));
  const events = await server.history('r1');
  expect(events).toHaveLength(1_201);
  const rows = new RunMemory();
  const folds = events.map((event) => {
    foldOf(runwireTable)(rows, event as never);
    return rows.view();
  });

  const hook = await mount(server, { props: { runId: 'r1', runSeq: 1_100 }, use });
  const shows = async (runSeq: number) => {
    await hook.rerender({ runId: 'r1', runSeq });
    await until(() => expect(hook.result.current.isLoading).toBe(false));
    expect(hook.result.current.event?.runSeq).toBe(runSeq);
    expect(hook.result.current.run).toEqual(folds[runSeq - 1]);
  };
  await shows(1_100);
  const requests = watchRequests('run.');
  for (const runSeq of [1_101, 1_099, 1_001, 1_200]) await shows(runSeq);
  expect(requests.count).toBe(0);
  const release = requests.hold();
  await hook.rerender({ runId: 'r1', runSeq: 700 });
  expect(hook.result.current).toMatchObject({ isLoading: true, error: null, event: { runSeq: 1_200 } });
  release();
  for (const runSeq of [700, 501, 500, 499, 1]) await shows(runSeq);

  await hook.rerender({ runId: 'r1', runSeq: 9_999 });
  await until(() =>
    expect(hook.result.current).toMatchObject({ isLoading: false, error: { code: 'EVENT_NOT_FOUND' } }),
  );
  // An event that is logged later is fetched, although its page is in memory.
  await server.publish(progress(55));
  await hook.rerender({ runId: 'r1', runSeq: 1_202 });
  await until(() => expect(hook.result.current).toMatchObject({ isLoading: false, event: { runSeq: 1_202 } }));
});
