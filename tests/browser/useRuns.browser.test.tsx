import { QueryClient, skipToken } from '@tanstack/react-query';
import { expect, onTestFinished, test, vi } from 'vitest';
import { renderHook } from 'vitest-browser-react';
import {
  RunwireProvider,
  type UseRunsOptions,
  type UseRunsReturn,
  useApprovals,
  useRuns,
  useRunwire,
} from '../../client/hooks/index.ts';
import { createRunwireClient } from '../../client/index.ts';
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
    Response.json({ error: { code: -32600, message: 'no', data: { runwireCode: 'FORBIDDEN' } } });
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

const request = (runId: string, approvalId: string, more: object = {}) =>
  draft('governance.required', runId, { approvalId, title: 'Go', ...more });

/** Mounts the list as `eve`, who did not publish the requests and may decide them. */
async function mountAsEve(server: TestServer, props: UseRunsOptions) {
  const token = await server.tokenOf('eve', { roles: ['approver', 'viewer'] });
  const { client, connection } = createRunwireClient({ url: server.url, token });
  onTestFinished(() => connection.close());
  const hook = await mount({ ...server, token }, { props, use });
  await isLive(hook);
  return { hook, eve: client };
}

test('[H5] with needsMyDecision, a run enters when it begins to wait for the user and leaves when it no longer does', async () => {
  const server = await openServer();
  await server.publish(
    created(1),
    request('r1', 'a'),
    created(2),
    request('r2', 'a', { approvers: ['bob'] }),
    created(3),
    request('r3', 'quorum', { requiredApprovals: 2 }),
    created(4),
  );
  const { hook, eve } = await mountAsEve(server, { needsMyDecision: true });
  expect(idsOf(hook)).toEqual(['r3', 'r1']);

  // A pending approval of somebody else, and progress of a run that waits, change nothing.
  await server.publish(request('r4', 'a', { approvers: ['bob'] }), progress('r1', 5));
  await until(() => expect(hook.result.current.runs[1]).toMatchObject({ counts: { stages: 1 } }));
  expect(hook.result.current.newCount).toBe(0);
  await server.publish(request('r4', 'mine'));
  await until(() => expect(hook.result.current.newCount).toBe(1));
  hook.result.current.showNew();
  await until(() => expect(idsOf(hook)).toEqual(['r4', 'r3', 'r1']));

  // After the first of two grants the header still counts a pending approval, and the run does not wait for eve.
  await eve.approval.grant.mutate({ runId: 'r3', approvalId: 'quorum' });
  await until(() => expect(idsOf(hook)).toEqual(['r4', 'r1']));
  await eve.approval.deny.mutate({ runId: 'r1', approvalId: 'a', reason: 'no' });
  await server.publish(draft('run.failed', 'r4', { error: { message: 'x' } }));
  await until(() => expect(idsOf(hook)).toEqual([]));
  expect((await eve.run.list.query({ needsMyDecision: true })).runs).toEqual([]);
});

test('[H5] since and until select runs by their creation', async () => {
  const server = await openServer();
  await server.publish(...upTo(4).map((number) => created(number)));
  const props = { since: at(2).timestamp, until: at(4).timestamp };
  const hook = await mount(server, { props, use });
  await isLive(hook);
  expect(idsOf(hook)).toEqual(['r3', 'r2']);
  await server.publish(
    draft('run.created', 'early', { name: 'early', ...at(1) }),
    draft('run.created', 'within', { name: 'within', timestamp: '2026-01-01T00:02:30Z' }),
    draft('run.created', 'late', { name: 'late', ...at(4) }),
    draft('run.started', 'r2', {}),
  );
  await until(() => expect(hook.result.current.runs[1]?.status).toBe('running'));
  expect(hook.result.current.newCount).toBe(1);
  hook.result.current.showNew();
  await until(() => expect(idsOf(hook)).toEqual(['r3', 'within', 'r2']));
  expect(hook.result.current.runs).toEqual(await listOf(server, props));
});

test('[H5] with skipToken or enabled: false the hook is idle, before and after it was live', async () => {
  const server = await openServer();
  await server.publish(created(1));
  const requests = watchRequests('run.list');
  const stopped = new Set<string>(); // In every render.
  const hook = await mount(server, {
    props: skipToken as UseRunsOptions | typeof skipToken,
    use: (options) => {
      const result = useRuns(options);
      if (options === skipToken || options.enabled === false) stopped.add(`${result.connectionState} ${result.phase}`);
      return result;
    },
  });
  const idle = { connectionState: 'idle', phase: 'replaying', isConnected: false, error: null };
  expect(hook.result.current).toMatchObject({ ...idle, status: 'pending', runs: [] });
  expect(requests.count).toBe(0);
  await hook.rerender({});
  await isLive(hook);
  await hook.rerender({ enabled: false });
  expect(hook.result.current).toMatchObject({ ...idle, status: 'success', runs: [{ runId: 'r1' }] });
  await until(async () => expect(await server.stats()).toMatchObject({ subscriptions: 0 }));
  expect(hook.result.current).toMatchObject(idle);
  await hook.rerender(skipToken);
  expect(hook.result.current).toMatchObject({ ...idle, status: 'pending', runs: [], newCount: 0 });
  await hook.rerender({});
  await isLive(hook);
  expect(requests.count).toBe(1);
});

test('[H5] a list in the cache that is invalid is not live before it has been fetched again', async () => {
  const server = await openServer();
  await server.publish(created(1));
  const queryClient = new QueryClient();
  const props: UseRunsOptions = {};
  const before = await mount(server, { props, use, queryClient });
  await isLive(before);
  await before.unmount();
  await queryClient.invalidateQueries();
  const release = watchRequests('run.list').hold();
  const { result } = await mount(server, { props, use, queryClient });
  await until(() => expect(result.current).toMatchObject({ connectionState: 'connected', seq: 1 }));
  expect(result.current).toMatchObject({ phase: 'replaying', runs: [{ runId: 'r1' }] });
  release();
  await until(() => expect(result.current.phase).toBe('live'));
});

test('[H5] a list that is left during its refetch after a gap is fetched again before it is live', async () => {
  const server = await openServer();
  await server.publish(created(1), created(2));
  const queryClient = new QueryClient();
  const props: UseRunsOptions = {};
  for (const isMountedAnew of [false, true]) {
    const hook = await mount(server, { props, use, queryClient });
    await isLive(hook);
    const realFetch = window.fetch;
    const asked = vi.fn();
    window.fetch = async (input, init) => {
      if (!String(input).includes('/run.list')) return realFetch(input, init);
      asked();
      throw new TypeError('Failed to fetch');
    };
    await server.replace();
    await until(() => expect(hook.result.current.phase).toBe('gap'));
    await until(() => expect(asked).toHaveBeenCalled());
    await server.publish(created(8));
    const phases: string[] = [];
    if (isMountedAnew) await hook.unmount();
    else await hook.rerender({ enabled: false });
    window.fetch = realFetch;
    const again = isMountedAnew ? await mount(server, { props, use, queryClient }) : hook;
    if (!isMountedAnew) await hook.rerender({});
    await until(() => {
      const { phase, runs } = again.result.current;
      phases.push(`${phase} ${runs.map(({ runId }) => runId)}`);
      expect(phase).toBe('live');
    });
    expect(phases.at(-1)).toMatch(/^live (r8)?$/);
    again.result.current.showNew();
    await until(() => expect(idsOf(again)).toEqual(['r8']));
    await again.unmount();
  }
});

test('[H5] an offline event does not keep the list from being fetched while the server answers', async () => {
  const server = await openServer();
  await server.publish(created(1));
  const hook = await mount(server, { props: {}, use });
  await isLive(hook);
  window.dispatchEvent(new Event('offline'));
  onTestFinished(() => void window.dispatchEvent(new Event('online')));
  await server.replace();
  await server.publish(created(8));
  await isLive(hook);
  hook.result.current.showNew();
  await until(() => expect(idsOf(hook)).toEqual(['r8']));
});

test('[H5] an answer of the server is not requested again; a request without an answer is, and the error is reported meanwhile', async () => {
  const server = await openServer();
  await server.publish(created(1));
  const requests = watchRequests('run.list');
  const refused = await mount(server, { props: { limit: 501 }, use });
  await until(() =>
    expect(refused.result.current).toMatchObject({ status: 'error', error: { code: 'INVALID_INPUT' } }),
  );
  expect(requests.count).toBe(1);

  const realFetch = window.fetch;
  let isAway = true;
  window.fetch = async (input, init) => {
    if (isAway && String(input).includes('/run.list')) throw new TypeError('Failed to fetch');
    return realFetch(input, init);
  };
  onTestFinished(() => {
    window.fetch = realFetch;
  });
  const hook = await mount(server, { props: {}, use });
  await until(() => expect(hook.result.current).toMatchObject({ status: 'pending', error: { code: 'UNAVAILABLE' } }));
  await until(() => expect(hook.result.current.status).toBe('error'));
  isAway = false;
  await isLive(hook);
  expect(hook.result.current).toMatchObject({ error: null, runs: [{ runId: 'r1' }] });
});

test('[H5] a list stays up to date after the application has emptied the cache of React Query', async () => {
  const server = await openServer();
  await server.publish(created(1), created(2), created(3));
  const queryClient = new QueryClient();
  const hook = await mount(server, { props: { limit: 2 }, use, queryClient });
  await isLive(hook);
  queryClient.clear();
  await server.publish(draft('run.started', 'r3', {}), created(4));
  await until(() => expect(idsOf(hook)).toEqual(['r4', 'r3']));
  expect(hook.result.current).toMatchObject({ status: 'success', runs: [{}, { status: 'running' }] });
  await hook.result.current.fetchNextPage();
  await until(() => expect(idsOf(hook)).toEqual(['r4', 'r3', 'r2', 'r1']));
  await server.publish(progress('r2', 10));
  await until(() => expect(hook.result.current.runs[2]).toMatchObject({ progress: 10 }));
  expect(hook.result.current.runs).toEqual(await listOf(server));
});

test('[H5] a change costs the same with any number of waiting runs', async () => {
  const server = await openServer();
  const ops = { labels: { team: 'ops' } };
  const hook = await mount(server, { props: { ...ops }, use });
  await isLive(hook);
  await server.publish(...upTo(600).map((number) => created(number, ops)));
  await until(() => expect(hook.result.current.newCount).toBe(600));
  // The filter looks at the labels of each header that is matched.
  const matched = vi.spyOn(Object, 'hasOwn');
  onTestFinished(() => matched.mockRestore());
  await server.publish(created(601, ops));
  await until(() => expect(hook.result.current.newCount).toBe(601));
  expect(matched.mock.calls.length).toBeLessThan(50);
  hook.result.current.showNew();
  await until(() =>
    expect(idsOf(hook)).toEqual(
      upTo(601)
        .reverse()
        .map((number) => `r${number}`),
    ),
  );
});

test('[H15] a component renders only after a change of a field that it reads', async () => {
  const server = await openServer();
  await server.publish(created(1));
  const renders = { functions: 0, count: 0, all: 0 };
  const hook = await mount(server, {
    props: {},
    isStrict: false,
    use: () => useRuns(),
  });
  const functions = await mount(server, {
    props: {},
    isStrict: false,
    use: () => {
      renders.functions++;
      return useRuns().showNew;
    },
  });
  const count = await mount(server, {
    props: {},
    isStrict: false,
    use: () => {
      renders.count++;
      return useRuns().newCount;
    },
  });
  const all = await mount(server, {
    props: {},
    isStrict: false,
    use: () => {
      renders.all++;
      const { runs, ...rest } = useRuns();
      return { runs, ...rest };
    },
  });
  await isLive(hook);
  await isLive(all);
  for (const value of upTo(5)) await server.publish(progress('r1', value));
  await server.publish(created(2));
  await until(() => expect([count.result.current, all.result.current.newCount]).toEqual([1, 1]));
  expect(functions.result.current).toBeTypeOf('function');
  expect(renders).toMatchObject({ functions: 1, count: 2 });
  expect(renders.all).toBeGreaterThan(2);
});

test('[H5] [G8] runs and approvals of a project that a new token no longer covers leave the lists', async () => {
  const server = await openServer();
  for (const projectId of ['a', 'b']) {
    await server.publish(
      draft('run.created', `r-${projectId}`, { projectId, name: 'Run' }),
      draft('governance.required', `r-${projectId}`, { projectId, approvalId: 'p1', title: 'Continue?' }),
    );
  }
  const tokens = [['a', 'b'], ['a']].map((projects) => server.tokenOf('ann', { projects }));
  let token = tokens[0];
  const hook = await renderHook(
    () => ({ runs: useRuns().runs, approvals: useApprovals().approvals, connection: useRunwire().connection }),
    {
      wrapper: ({ children }) => (
        <RunwireProvider url={server.url} token={() => token}>
          {children}
        </RunwireProvider>
      ),
    },
  );
  onTestFinished(() => hook.unmount());
  const listed = () => {
    const { runs, approvals } = hook.result.current;
    return [runs, approvals].map((list) => list.map(({ projectId }) => projectId).join());
  };
  await until(() => expect(listed()).toEqual(['b,a', 'b,a']));
  await until(async () => expect(await server.stats()).toMatchObject({ connections: 1, subscriptions: 2 }));
  token = tokens[1];
  hook.result.current.connection.refreshToken();
  await until(() => expect(listed()).toEqual(['a', 'a']));
});
