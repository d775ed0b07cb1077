import { QueryClient } from '@tanstack/react-query';
import { expect, onTestFinished, test } from 'vitest';
import { type UseRunsOptions, type UseRunsReturn, useRuns } from '../../client/hooks/index.ts';
import { mount, until, watchFrames, watchRequests } from './mount.tsx';
import { draft, openServer, progress, type TestServer } from './servers.ts';

const use = (options: UseRunsOptions) => useRuns(options);
const upTo = (count: number, from = 1) => Array.from({ length: count }, (_, index) => from + index);
type Hook = { result: { current: UseRunsReturn } };
const isLive = (hook: Hook) =>
  until(() =>
    expect(hook.result.current).toMatchObject({ status: 'success', connectionState: 'connected', phase: 'live' }),
  );
const idsOf = (hook: Hook) => hook.result.current.runs.map(({ runId }) => runId);
const at = (minute: number) => ({ timestamp: new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString() });
const created = (number: number, more: object = {}) =>
  draft('run.created', `r${number}`, { name: `Run ${number}`, ...at(number), ...more });
const listOf = async (server: TestServer, input: object = {}) =>
  (await server.client.run.list.query({ limit: 500, ...input })).runs;

test('[H5] rows change in place after one fetch, and an unchanged row stays the same object', async () => {
  const server = await openServer();
  await server.publish(created(1), created(2), created(3));
  const requests = watchRequests('run.list');
  const queryClient = new QueryClient();
  const hook = await mount(server, { props: {}, use, queryClient });
  expect(hook.result.current).toMatchObject({ status: 'pending', runs: [], newCount: 0, error: null });
  await isLive(hook);
  expect(idsOf(hook)).toEqual(['r3', 'r2', 'r1']);
  const before = hook.result.current.runs;

  await server.publish(draft('run.started', 'r2', {}), progress('r2', 40));
  await until(() => expect(hook.result.current.runs[1]).toMatchObject({ status: 'running', progress: 40 }));
  expect(hook.result.current.runs).toEqual(await listOf(server));
  expect(hook.result.current.runs[0]).toBe(before[0]);
  expect(hook.result.current.runs[2]).toBe(before[2]);
  expect(hook.result.current.newCount).toBe(0);

  // The cached list outlives the component, and a later mount receives the events since.
  await hook.unmount();
  await server.publish(draft('run.completed', 'r2', {}));
  const again = await mount(server, { props: {}, use, queryClient });
  expect(again.result.current.runs[1]).toMatchObject({ progress: 40 });
  await until(() => expect(again.result.current.runs[1]).toMatchObject({ status: 'completed' }));
  expect(requests.count).toBe(2); // One of the two is by the test.
});

test('[H5] new runs wait, also across an unmount, until showNew() inserts them by age', async () => {
  const server = await openServer();
  await server.publish(created(2), created(4));
  const queryClient = new QueryClient();
  const hook = await mount(server, { props: {}, use, queryClient });
  await isLive(hook);
  const before = hook.result.current.runs;
  await server.publish(created(5), created(3), created(1));
  await until(() => expect(hook.result.current.newCount).toBe(3));
  expect(hook.result.current.runs).toBe(before);

  await hook.unmount();
  const again = await mount(server, { props: {}, use, queryClient });
  await until(() => expect(again.result.current.newCount).toBe(3));
  again.result.current.showNew();
  await until(() => expect(idsOf(again)).toEqual(['r5', 'r4', 'r3', 'r2', 'r1']));
  expect(again.result.current.newCount).toBe(0);
  expect(again.result.current.runs).toEqual(await listOf(server));
});

test('[H5] with a filter, a run that stops matching leaves, and a run that starts matching waits', async () => {
  const server = await openServer();
  const ops = { labels: { team: 'ops' } };
  await server.publish(
    ...upTo(3).map((number) => created(number, ops)),
    created(4, { labels: { team: 'lab' } }),
    ...upTo(4).map((number) => draft('run.started', `r${number}`, {})),
    created(5, ops),
    created(6, { ...ops, projectId: 'another' }),
    draft('run.started', 'r6', { projectId: 'another' }),
  );
  const props: UseRunsOptions = { projectId: 'demo', status: ['running'], ...ops, text: 'RUN' };
  const hook = await mount(server, { props, use });
  await isLive(hook);
  expect(idsOf(hook)).toEqual(['r3', 'r2', 'r1']);
  await server.publish(draft('run.completed', 'r2', {}), draft('run.started', 'r5', {}), progress('r4', 1));
  await until(() => expect(idsOf(hook)).toEqual(['r3', 'r1']));
  await until(() => expect(hook.result.current.newCount).toBe(1));
  await server.publish(draft('run.completed', 'r5', {}));
  await until(() => expect(hook.result.current.newCount).toBe(0));
  await server.publish(created(7, ops), draft('run.started', 'r7', {}));
  await until(() => expect(hook.result.current.newCount).toBe(1));
  hook.result.current.showNew();
  await until(() => expect(idsOf(hook)).toEqual(['r7', 'r3', 'r1']));
  expect(hook.result.current.runs).toEqual(await listOf(server, props));

  await hook.rerender({ projectId: 'another' });
  await isLive(hook);
  expect(idsOf(hook)).toEqual(['r6']);
});

test('[H5] across pages each run is listed once, also when runs change during the fetch of a page', async () => {
  const server = await openServer();
  await server.publish(...upTo(9).map((number) => created(number)));
  const hook = await mount(server, { props: { limit: 3 }, use });
  await isLive(hook);
  expect(idsOf(hook)).toEqual(['r9', 'r8', 'r7']);
  expect(hook.result.current.hasNextPage).toBe(true);
  // A run older than the listed ones does not wait: its page has not been fetched.
  await server.publish(draft('run.started', 'r1', {}), draft('run.started', 'r9', {}));
  await until(() => expect(hook.result.current.runs[0]?.status).toBe('running'));
  expect(hook.result.current.newCount).toBe(0);

  const requests = watchRequests('run.list');
  const release = requests.hold();
  const fetched = hook.result.current.fetchNextPage();
  await until(() => expect(requests.answered).toBe(1));
  expect(hook.result.current.isFetchingNextPage).toBe(true);
  await server.publish(
    draft('run.completed', 'r8', {}),
    draft('run.failed', 'r5', { error: { message: 'x' } }),
    created(10),
  );
  await until(() => expect(hook.result.current.runs[1]?.status).toBe('completed'));
  await until(() => expect(hook.result.current.newCount).toBe(1));
  const seen: string[] = [];
  release();
  await fetched;
  await until(() => expect(idsOf(hook)).toEqual(['r9', 'r8', 'r7', 'r6', 'r5', 'r4']));
  seen.push(hook.result.current.runs[1]?.status ?? '', hook.result.current.runs[4]?.status ?? '');
  expect(seen).toEqual(['completed', 'failed']);
  expect(hook.result.current.newCount).toBe(1);

  await hook.result.current.fetchNextPage();
  hook.result.current.showNew();
  await until(() => expect(idsOf(hook)).toHaveLength(10));
  expect(hook.result.current.runs).toEqual(await listOf(server));
});

test('[H5] the last row of a page that leaves and matches again waits, because no later page contains it', async () => {
  const server = await openServer();
  const team = (name: string) => ({ labels: { team: name } });
  await server.publish(...upTo(4).map((number) => created(number, team('ops'))));
  const hook = await mount(server, { props: { limit: 2, ...team('ops') } as UseRunsOptions, use });
  await isLive(hook);
  expect(idsOf(hook)).toEqual(['r4', 'r3']);
  await server.publish(draft('run.created', 'r3', { name: 'Run 3', ...team('lab') }));
  await until(() => expect(idsOf(hook)).toEqual(['r4']));
  await server.publish(draft('run.created', 'r3', { name: 'Run 3', ...team('ops') }));
  await until(() => expect(hook.result.current.newCount).toBe(1));
  hook.result.current.showNew();
  await until(() => expect(idsOf(hook)).toEqual(['r4', 'r3']));
});

test('[H5] runs shown during the fetch of a page stay', async () => {
  const server = await openServer();
  await server.publish(...upTo(4).map((number) => created(number)));
  const hook = await mount(server, { props: { limit: 2 }, use });
  await isLive(hook);
  await server.publish(created(5));
  await until(() => expect(hook.result.current.newCount).toBe(1));
  const requests = watchRequests('run.list');
  const release = requests.hold();
  const fetched = hook.result.current.fetchNextPage();
  await until(() => expect(requests.answered).toBe(1));
  hook.result.current.showNew();
  await until(() => expect(idsOf(hook)).toEqual(['r5', 'r4', 'r3']));
  release();
  await fetched;
  await until(() => expect(idsOf(hook)).toEqual(['r5', 'r4', 'r3', 'r2', 'r1']));
  expect(hook.result.current.newCount).toBe(0);
});

test('[H5] after a gap the list is fetched again', async () => {
  const server = await openServer();
  await server.publish(created(1), created(2), progress('r1', 1));
  const hook = await mount(server, { props: {}, use });
  await isLive(hook);
  const requests = watchRequests('run.list');
  const release = requests.hold();
  await server.replace();
  await until(() => expect(hook.result.current).toMatchObject({ phase: 'gap', gap: { reason: 'epoch_changed' } }));
  await server.publish(created(8));
  release();
  await isLive(hook);
  // The run is listed if it was published before the server read the list. Otherwise its summary may still be under way.
  await until(() => expect(idsOf(hook).length + hook.result.current.newCount).toBe(1));
  hook.result.current.showNew();
  await until(() => expect(idsOf(hook)).toEqual(['r8']));
  expect(requests.count).toBe(1);
});

test('[H5] lost connections lose no change, and there is at most one render a frame', async () => {
  const server = await openServer();
  await server.publish(...upTo(20).map((number) => created(number)));
  let renders = 0;
  const hook = await mount(server, {
    props: {},
    isStrict: false,
    use: (options) => {
      renders++;
      return useRuns(options);
    },
  });
  await isLive(hook);
  const frames = watchFrames();
  renders = 0;
  for (let round = 0; round < 4; round++) {
    await server.publish(...upTo(20).map((number) => progress(`r${number}`, round * 10 + number)));
    await server.cut();
    await server.publish(...upTo(20).map((number) => progress(`r${number}`, round * 20 + number)));
  }
  await until(() => expect(hook.result.current.runs.map(({ lastSeq }) => lastSeq)).toEqual(upTo(20, 161).reverse()));
  expect(hook.result.current.runs).toEqual(await listOf(server));
  expect(renders).toBeGreaterThan(0);
  expect(renders).toBeLessThanOrEqual(frames.count + 1);
});

test('[H5] a list that cannot be fetched reports the error, and reconnect() fetches it again', async () => {
  const server = await openServer();
  await server.publish(created(1));
  const realFetch = window.fetch;
  window.fetch = async () =>
    Response.json([{ error: { code: -32600, message: 'no', data: { runwireCode: 'FORBIDDEN' } } }]);
  onTestFinished(() => {
    window.fetch = realFetch;
  });
  const queryClient = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  const hook = await mount(server, { props: {}, use, queryClient });
  await until(() => expect(hook.result.current.status).toBe('error'));
  expect(hook.result.current.error).toMatchObject({ code: 'FORBIDDEN' });
  window.fetch = realFetch;
  hook.result.current.reconnect();
  await isLive(hook);
  expect(hook.result.current.error).toBeNull();
  expect(idsOf(hook)).toEqual(['r1']);
});
