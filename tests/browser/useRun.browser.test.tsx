import { QueryClient } from '@tanstack/react-query';
import { Fragment } from 'react';
import { expect, onTestFinished, test } from 'vitest';
import { render } from 'vitest-browser-react';
import {
  RunwireProvider,
  type UseRunOptions,
  type UseRunReturn,
  useRun,
  useRunEvents,
} from '../../client/hooks/index.ts';
import { mount, until, watchFrames, watchRequests, watchSubscriptions } from './mount.tsx';
import { draft, openServer, progress, type TestServer } from './servers.ts';

const use = (options: UseRunOptions) => useRun(options);
const upTo = (count: number, from = 1) => Array.from({ length: count }, (_, index) => from + index);
const isLive = (hook: { result: { current: UseRunReturn } }) =>
  until(() => expect(hook.result.current).toMatchObject({ connectionState: 'connected', phase: 'live' }));
const runOf = async (server: TestServer, runId = 'r1') => (await server.client.run.get.query({ runId })).run;
const started = (runId: string, ...stageIds: string[]) => [
  draft('run.created', runId, { name: `Run ${runId}` }),
  ...stageIds.map((stageId) => draft('stage.started', runId, { stageId })),
];

test('[H3] useRun returns the run of the log from one snapshot and one subscription after its cursor', async () => {
  const server = await openServer();
  await server.publish(...started('r1', 's1', 's2'));
  const requests = watchRequests('run.get');
  const subscriptions = watchSubscriptions();
  const hook = await mount(server, { props: { runId: 'r1' }, use });
  expect(hook.result.current).toMatchObject({ status: 'pending', run: undefined, error: null });
  await isLive(hook);
  expect(hook.result.current).toMatchObject({ status: 'success', seq: 3, gap: null, error: null, isConnected: true });
  expect(hook.result.current.run).toEqual(await runOf(server));

  const before = hook.result.current.run;
  await server.publish(...upTo(100).map((value) => progress('r1', value)), draft('run.started', 'r1', {}));
  await until(() => expect(hook.result.current.run).toMatchObject({ lastSeq: 104 }));
  expect(hook.result.current.run).toEqual(await runOf(server));
  expect(hook.result.current.run?.stages[1]).toBe(before?.stages[1]);
  expect(hook.result.current.run?.artifacts).toBe(before?.artifacts);
  // One request by the hook, two by the test.
  expect(requests.count).toBe(3);
  expect(subscriptions).toEqual(['onRunEvent']);
});

test('[H3] the cache entry of the run is updated with its cursor, and a later mount resumes from it', async () => {
  const server = await openServer();
  await server.publish(...started('r1', 's1'));
  const queryClient = new QueryClient();
  const key = ['runwire', server.url, 'ada', 'run', { runId: 'r1' }];
  const hook = await mount(server, { props: { runId: 'r1' }, use, queryClient });
  await isLive(hook);
  await server.publish(progress('r1', 50));
  await until(() => expect(queryClient.getQueryData(key)).toMatchObject({ run: { lastSeq: 3 } }));
  expect(queryClient.getQueryData(key)).toEqual(await server.client.run.get.query({ runId: 'r1' }));
  await hook.unmount();
  await server.publish(progress('r1', 60), progress('r1', 70));

  const requests = watchRequests('run.get');
  const again = await mount(server, { props: { runId: 'r1' }, use, queryClient });
  expect(again.result.current).toMatchObject({ status: 'success', phase: 'replaying', run: { lastSeq: 3 } });
  await isLive(again);
  expect(again.result.current.run).toMatchObject({ lastSeq: 5 });
  expect(requests.count).toBe(0);
  expect(again.result.current.run).toEqual(await runOf(server));
});

test('[H3] after a gap the run is fetched again once, and equal parts stay the same objects', async () => {
  const server = await openServer();
  const stamp = { timestamp: '2026-01-01T00:00:00.000Z', eventId: 'e1' };
  const created = draft('run.created', 'r1', { name: 'one', labels: { team: 'ops' }, ...stamp });
  await server.publish(created, progress('r1', 1), progress('r1', 2));
  const requests = watchRequests('run.get');
  const hook = await mount(server, { props: { runId: 'r1' }, use });
  await isLive(hook);
  const before = hook.result.current.run;
  expect(requests.count).toBe(1);

  const release = requests.hold();
  await server.replace();
  await server.publish(created);
  await until(() => expect(hook.result.current).toMatchObject({ phase: 'gap', gap: { reason: 'epoch_changed' } }));
  // The old run stays until the snapshot has been loaded.
  expect(hook.result.current).toMatchObject({ status: 'success', run: { lastSeq: 3 } });
  release();
  await isLive(hook);
  expect(requests.count).toBe(2);
  expect(hook.result.current.run).toEqual(await runOf(server));
  expect(hook.result.current.run?.lastSeq).toBe(1);
  expect(hook.result.current.run?.labels).toBe(before?.labels);
  expect(hook.result.current.run?.artifacts).toBe(before?.artifacts);
});

test('[H3] RUN_NOT_FOUND disappears when the run is created', async () => {
  const server = await openServer();
  const hook = await mount(server, { props: { runId: 'r1' }, use });
  await until(() => expect(hook.result.current).toMatchObject({ status: 'error', run: undefined, phase: 'live' }));
  expect(hook.result.current.error).toMatchObject({ code: 'RUN_NOT_FOUND' });
  await server.publish(...started('r1', 's1'));
  await until(() => expect(hook.result.current).toMatchObject({ status: 'success', error: null, run: { lastSeq: 2 } }));
  expect(hook.result.current.run).toEqual(await runOf(server));
});

test('[H3] a final error is reported; reconnect() retries, and another run starts over', async () => {
  const server = await openServer();
  await server.publish(...started('r1'), draft('run.created', 'r1', { projectId: 'another', name: 'of the same id' }));
  const hook = await mount(server, { props: { runId: 'r1' } as UseRunOptions, use });
  await until(() => expect(hook.result.current).toMatchObject({ status: 'error', connectionState: 'failed' }));
  expect(hook.result.current.error).toMatchObject({ code: 'RUN_AMBIGUOUS' });
  const subscriptions = watchSubscriptions();
  hook.result.current.reconnect();
  await until(() => expect(subscriptions).toHaveLength(1));
  await until(() => expect(hook.result.current.connectionState).toBe('failed'));
  await hook.rerender({ runId: 'r1', projectId: 'another' });
  expect(hook.result.current).toMatchObject({ status: 'pending', error: null });
  await isLive(hook);
  expect(hook.result.current.run?.name).toBe('of the same id');
});

test('[H3] after a failed first snapshot, the subscription opens and then loads one', async () => {
  const server = await openServer();
  await server.publish(...started('r1', 's1'));
  const realFetch = window.fetch;
  let refused = 0;
  window.fetch = async (input, init) => {
    if (String(input).includes('/run.get') && refused++ === 0) return new Response('', { status: 502 });
    return realFetch(input, init);
  };
  onTestFinished(() => {
    window.fetch = realFetch;
  });
  const hook = await mount(server, { props: { runId: 'r1' }, use });
  await isLive(hook);
  await server.publish(progress('r1', 50));
  await until(() => expect(hook.result.current.run?.lastSeq).toBe(3));
  expect(hook.result.current.run).toEqual(await runOf(server));
});

test('[H3] with enabled: false it sends no request', async () => {
  const server = await openServer();
  await server.publish(...started('r1'));
  const requests = watchRequests('run.get');
  const hook = await mount(server, { props: { runId: 'r1', enabled: false } as UseRunOptions, use });
  expect(hook.result.current).toMatchObject({ status: 'pending', connectionState: 'idle', run: undefined });
  await hook.rerender({ runId: 'r1', enabled: true });
  await isLive(hook);
  await hook.rerender({ runId: 'r1', enabled: false });
  await until(() => expect(hook.result.current.connectionState).toBe('idle'));
  expect(hook.result.current).toMatchObject({ status: 'success', run: { lastSeq: 1 } });
  expect(requests.count).toBe(1);
});

test('[H4] fifty hooks on one run share one subscription, one snapshot and one render a frame', async () => {
  const server = await openServer();
  await server.publish(...started('r1', 's1'));
  const requests = watchRequests('run.get');
  const subscriptions = watchSubscriptions();
  const runs: (UseRunReturn['run'] | undefined)[] = [];
  const received = upTo(25).map(() => [] as number[]);
  let renders = 0;
  const One = ({ index }: { index: number }) => {
    runs[index] = useRun({ runId: 'r1' }).run;
    return null;
  };
  const Two = ({ index }: { index: number }) => {
    const { events, run } = useRunEvents({ runId: 'r1', limit: 10 + index });
    received[index] = events.map(({ seq }) => seq);
    runs[25 + index] = run;
    if (index === 0) renders++;
    return null;
  };
  const hook = await mount(server, { props: undefined, use: () => useRun({ runId: 'r1' }) });
  const page = await render(
    <RunwireProvider url={server.url} token={server.token}>
      {upTo(25, 0).map((index) => (
        <Fragment key={index}>
          <One index={index} />
          <Two index={index} />
        </Fragment>
      ))}
    </RunwireProvider>,
  );
  onTestFinished(() => page.unmount());
  await isLive(hook);
  await until(() => expect(runs.filter((run) => run?.lastSeq === 2)).toHaveLength(50));
  await until(async () => expect(await server.stats()).toMatchObject({ connections: 2, subscriptions: 2 }));
  // Each of the two providers has one.
  expect(subscriptions).toEqual(['onRunEvent', 'onRunEvent']);
  expect(requests.count).toBe(2);

  const frames = watchFrames();
  renders = 0;
  await server.publish(...upTo(500).map((value) => progress('r1', value % 100)));
  await until(() => expect(runs.filter((run) => run?.lastSeq === 502)).toHaveLength(50));
  expect(new Set(runs).size).toBe(1);
  expect(runs[0]).toEqual(await runOf(server));
  await until(() => expect(received.map((seqs) => seqs.length)).toEqual(upTo(25, 10)));
  for (const seqs of received) expect(seqs).toEqual(upTo(seqs.length, 503 - seqs.length));
  expect(renders).toBeLessThanOrEqual(frames.count + 1);
  await page.unmount();
  await until(async () => expect(await server.stats()).toMatchObject({ connections: 1, subscriptions: 1 }));
});
