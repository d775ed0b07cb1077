import { skipToken } from '@tanstack/react-query';
import { useEffect } from 'react';
import { expect, onTestFinished, test, vi } from 'vitest';
import { type UseRunEventsOptions, useRun, useRunEvents } from '../../client/hooks/index.ts';
import type { RunEvent } from '../../shared/events.ts';
import { mount, until, watchFrames, watchRequests, watchSubscriptions } from './mount.tsx';
import { draft, openServer, progress } from './servers.ts';

const upTo = (count: number, from = 1) => Array.from({ length: count }, (_, index) => from + index);
const seqsOf = (events: readonly RunEvent[]) => events.map(({ seq }) => seq);
const use = (options: UseRunEventsOptions) => useRunEvents(options);
const completed = draft('run.completed', 'r1', {});

function stubReports() {
  const reported = vi.fn();
  vi.stubGlobal('reportError', reported);
  onTestFinished(() => void vi.unstubAllGlobals());
  return reported;
}

test('[H16] the callbacks of the latest render are called for each event, from the mount on, and one that throws is reported', async () => {
  const server = await openServer();
  const reported = stubReports();
  await server.publish(...upTo(20).map((value) => progress('r1', value)));
  const calls: string[] = [];
  const hook = await mount(server, {
    props: { name: 'one' },
    use: ({ name }) =>
      useRunEvents({
        runId: 'r1',
        from: 'start',
        onEvent: (event) => {
          calls.push(`${name} ${event.seq}`);
          if (event.seq === 3) throw new Error('of the application');
        },
        onEnd: (event) => void calls.push(`${name} ended by ${event.type}`),
      }),
  });
  await until(() => expect(hook.result.current.phase).toBe('live'));
  expect(calls).toEqual(upTo(20).map((seq) => `one ${seq}`));
  expect(reported.mock.calls).toEqual([[expect.objectContaining({ message: 'of the application' })]]);
  calls.length = 0;
  await hook.rerender({ name: 'two' });
  await server.publish(completed, progress('r1', 5));
  await until(() => expect(calls).toEqual(['two 21', 'two ended by run.completed', 'two 22']));
});

test('[H16] onGap is called for events that the server could not deliver', async () => {
  const server = await openServer();
  const onGap = vi.fn();
  const hook = await mount(server, { props: { runId: 'r1', onGap } as UseRunEventsOptions, use });
  await until(() => expect(hook.result.current.phase).toBe('live'));
  await server.replace();
  await until(() => expect(onGap).toHaveBeenCalledOnce());
  expect(onGap).toHaveBeenCalledWith(expect.objectContaining({ reason: 'epoch_changed' }));
});

test('[H17] a page that keeps the cursor receives each event once over a reload', async () => {
  const server = await openServer();
  await server.publish(...upTo(3).map((value) => progress('r1', value)));
  const received: number[] = [];
  const page = (props: Partial<UseRunEventsOptions>) =>
    mount(server, {
      props: { runId: 'r1', onEvent: ({ seq }) => void received.push(seq), ...props } as UseRunEventsOptions,
      use,
    });
  const first = await page({ from: 'start', lastEventId: null });
  await until(() => expect(first.result.current).toMatchObject({ phase: 'live', seq: 3 }));
  const { cursor } = first.result.current;
  expect(cursor).toBeTypeOf('string');
  await first.unmount();
  await server.publish(progress('r1', 4), progress('r1', 5));

  const second = await page({ from: 'start', lastEventId: cursor });
  await until(() => expect(seqsOf(second.result.current.events)).toEqual([4, 5]));
  expect(received).toEqual(upTo(5));
  await until(() => expect(second.result.current.run).toMatchObject({ lastSeq: 5 }));
  // The hook has its own position by now.
  const subscriptions = watchSubscriptions();
  await second.rerender({
    runId: 'r1',
    from: 'start',
    lastEventId: null,
    onEvent: ({ seq }) => void received.push(seq),
  });
  await server.publish(progress('r1', 6));
  await until(() => expect(received).toEqual(upTo(6)));
  expect(subscriptions).toEqual([]);
});

test('[H17] onEvent gets the cursor of each event, so a page that ends between two events receives none twice', async () => {
  const server = await openServer();
  await server.publish(...upTo(5).map((value) => progress('r1', value)));
  let kept: string | null = null;
  const received: number[] = [];
  const page = (props: Partial<UseRunEventsOptions>) =>
    mount(server, {
      props: {
        runId: 'r1',
        from: 'start',
        lastEventId: kept,
        onEvent: ({ seq }, cursor) => {
          if (received.length === 3 && props.limit === 1) return; // The page has ended before the fourth event.
          received.push(seq);
          kept = cursor;
        },
        ...props,
      } as UseRunEventsOptions,
      use,
    });
  const first = await page({ limit: 1 });
  await until(() => expect(received).toEqual([1, 2, 3]));
  await first.unmount();
  await page({});
  await until(() => expect(received).toEqual([1, 2, 3, 4, 5]));
});

test('[H17] a cursor of another log is a gap, and text that is no cursor is an error with its code', async () => {
  const server = await openServer();
  const other = await openServer();
  await other.publish(progress('r1', 1));
  const before = await mount(other, { props: { runId: 'r1', from: 'start' } as UseRunEventsOptions, use });
  await until(() => expect(before.result.current).toMatchObject({ phase: 'live', seq: 1 }));
  const { cursor } = before.result.current;
  const gone = await mount(server, { props: { runId: 'r1', lastEventId: cursor }, use });
  await until(() => expect(gone.result.current).toMatchObject({ gap: { reason: 'epoch_changed' }, phase: 'live' }));
  const wrong = await mount(server, { props: { runId: 'r1', lastEventId: 'no cursor' }, use });
  await until(() =>
    expect(wrong.result.current).toMatchObject({ connectionState: 'failed', error: { code: 'CURSOR_INVALID' } }),
  );
});

test('[H18] with stopOnEnd the subscription ends after the event that ends the run, and reconnect() catches up', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'one' }));
  const hook = await mount(server, {
    props: { runId: 'r1', from: 'start', stopOnEnd: true } as UseRunEventsOptions,
    use: (options) => ({ events: useRunEvents(options), run: useRun({ runId: 'r1', stopOnEnd: true }) }),
  });
  const events = () => hook.result.current.events;
  await until(() => expect(events().phase).toBe('live'));
  await server.publish(progress('r1', 5), completed);
  const stopped = { connectionState: 'disconnected', isConnected: false, error: null };
  await until(() => expect(hook.result.current).toMatchObject({ events: stopped, run: stopped }));
  expect(seqsOf(events().events)).toEqual(upTo(3));
  expect(hook.result.current.run).toMatchObject({ status: 'success', run: { status: 'completed', lastSeq: 3 } });
  await until(async () => expect(await server.stats()).toMatchObject({ subscriptions: 0 }));

  const subscriptions = watchSubscriptions();
  await server.publish(draft('artifact.created', 'r1', { artifactId: 'late', name: 'late' }));
  expect(seqsOf(events().events)).toEqual(upTo(3));
  events().reconnect();
  await until(() => expect(seqsOf(events().events)).toEqual(upTo(4)));
  await until(() => expect(events()).toMatchObject(stopped));
  expect(subscriptions).toEqual(['onRunEvent']);
});

test('[H18] with stopOnEnd a hook on a run that has already ended receives what is asked for, and stops', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 5), completed, draft('artifact.created', 'r1', { artifactId: 'a', name: 'a' }));
  const queries: UseRunEventsOptions[] = [
    { runId: 'r1' },
    { runId: 'r1', from: 'start' },
    { runId: 'r1', from: 'start', types: ['run.completed'] },
  ];
  for (const [index, query] of queries.entries()) {
    const hook = await mount(server, { props: { ...query, stopOnEnd: true } as UseRunEventsOptions, use });
    await until(() => expect(hook.result.current.connectionState).toBe('disconnected'));
    expect(seqsOf(hook.result.current.events)).toEqual([[], [1, 2, 3], [2]][index]);
  }
});

test('[H18] stopOnEnd can be turned on and off while the hook follows an ended run', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 5), completed);
  const props: UseRunEventsOptions = { runId: 'r1', from: 'start' };
  const hook = await mount(server, {
    props,
    use: (options) => ({ events: useRunEvents(options), run: useRun({ runId: 'r1', stopOnEnd: options.stopOnEnd }) }),
  });
  const reaches = (connectionState: string) =>
    until(() => expect(hook.result.current).toMatchObject({ events: { connectionState }, run: { connectionState } }));
  await reaches('connected');
  await hook.rerender({ ...props, stopOnEnd: true });
  await reaches('disconnected');
  await hook.rerender(props);
  await reaches('connected');
  await server.publish(draft('artifact.created', 'r1', { artifactId: 'late', name: 'late' }));
  await until(() => expect(seqsOf(hook.result.current.events.events)).toEqual(upTo(3)));
});

test('[H19] with pauseWhenHidden a hidden tab has no subscription, and a visible one receives what it missed', async () => {
  const server = await openServer();
  let visibility: DocumentVisibilityState = 'visible';
  vi.spyOn(document, 'visibilityState', 'get').mockImplementation(() => visibility);
  onTestFinished(() => void vi.restoreAllMocks());
  const show = (next: DocumentVisibilityState) => {
    visibility = next;
    document.dispatchEvent(new Event('visibilitychange'));
  };
  const hook = await mount(server, {
    props: { runId: 'r1', pauseWhenHidden: true } as UseRunEventsOptions,
    use: (options) => ({ events: useRunEvents(options), run: useRun({ runId: 'r1', pauseWhenHidden: true }) }),
  });
  await until(() => expect(hook.result.current).toMatchObject({ events: { phase: 'live' }, run: { phase: 'live' } }));
  await server.publish(progress('r1', 1));
  await until(() => expect(seqsOf(hook.result.current.events.events)).toEqual([1]));
  show('hidden');
  await until(async () => expect(await server.stats()).toMatchObject({ subscriptions: 0 }));
  await until(() => expect(hook.result.current.events.connectionState).toBe('disconnected'));
  await server.publish(progress('r1', 2), progress('r1', 3));
  hook.result.current.events.reconnect();
  show('visible');
  await until(() => expect(seqsOf(hook.result.current.events.events)).toEqual([1, 2, 3]));
  await until(() => expect(hook.result.current.run).toMatchObject({ phase: 'live', run: { lastSeq: 3 } }));

  show('hidden');
  await until(() => expect(hook.result.current.events.connectionState).toBe('disconnected'));
  await hook.rerender({ runId: 'r1' });
  await until(() => expect(hook.result.current.events.phase).toBe('live'));
});

test('[H20] with skipToken the hooks are idle without request and subscription, until they get options', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 1));
  const requests = watchRequests('run.get');
  const hook = await mount(server, {
    props: undefined as string | undefined,
    use: (runId) => ({
      events: useRunEvents(runId === undefined ? skipToken : { runId, from: 'start' }),
      run: useRun(runId === undefined ? skipToken : { runId }),
    }),
  });
  const idle = { connectionState: 'idle', isConnected: false, phase: 'replaying', run: undefined, error: null };
  const isIdle = () => {
    expect(hook.result.current.events).toMatchObject({ ...idle, events: [], cursor: null });
    expect(hook.result.current.run).toMatchObject({ ...idle, status: 'pending' });
  };
  isIdle();
  expect(requests.count).toBe(0);
  expect(await server.stats()).toMatchObject({ connections: 0 });
  await hook.rerender('r1');
  await until(() => expect(hook.result.current).toMatchObject({ run: { phase: 'live' }, events: { seq: 1 } }));
  await hook.rerender(undefined);
  isIdle();
  await until(async () => expect(await server.stats()).toMatchObject({ subscriptions: 0 }));
});

test('[H15] a component that only handles events renders for none of them and requests no run', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'one' }));
  const requests = watchRequests('run.get');
  const received = { handler: 0, callback: 0 };
  let renders = 0;
  await mount(server, {
    props: undefined,
    isStrict: false,
    use: () => {
      renders++;
      const { subscribe } = useRunEvents({ runId: 'r1', onEvent: () => void received.callback++ });
      useEffect(() => subscribe('stage.progress', () => void received.handler++), [subscribe]);
    },
  });
  await until(async () => expect(await server.stats()).toMatchObject({ subscriptions: 1 }));
  for (const value of upTo(10)) await server.publish(progress('r1', value));
  await until(() => expect(received).toEqual({ handler: 10, callback: 10 }));
  expect(renders).toBe(1);
  expect(requests.count).toBe(0);
});

test('[H15] with select a component renders when the selected part changes, also for an object made at each call', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'one' }), draft('run.started', 'r1', {}));
  const renders = { run: 0, events: 0 };
  const run = await mount(server, {
    props: undefined,
    isStrict: false,
    use: () => {
      renders.run++;
      return useRun({ runId: 'r1', select: ({ name, status }) => ({ name, status }) }).run;
    },
  });
  const events = await mount(server, {
    props: undefined,
    isStrict: false,
    use: () => {
      renders.events++;
      return useRunEvents({ runId: 'r1', select: (view) => view.status }).run;
    },
  });
  await until(() => expect([run.result.current?.status, events.result.current]).toEqual(['running', 'running']));
  const before = run.result.current;
  renders.run = 0;
  renders.events = 0;
  for (const value of upTo(10)) await server.publish(progress('r1', value));
  const { client } = server;
  await client.run.get.query({ runId: 'r1' });
  expect(run.result.current).toBe(before);
  await server.publish(completed);
  await until(() => expect(run.result.current).toEqual({ name: 'one', status: 'completed' }));
  await until(() => expect(events.result.current).toBe('completed'));
  expect(renders).toEqual({ run: 1, events: 1 });
});

test('[H15] a field that is first read after it changed has the latest value, and is followed from then on', async () => {
  const server = await openServer();
  const hook = await mount(server, { props: { runId: 'r1', from: 'start' } as UseRunEventsOptions, use });
  const { result } = hook;
  await until(() => expect(result.current.phase).toBe('live'));
  await server.publish(progress('r1', 1), progress('r1', 2));
  let isHandled = false;
  result.current.subscribe('stage.progress', ({ seq }) => {
    isHandled = seq === 3;
  });
  await server.publish(progress('r1', 3));
  await until(() => expect(isHandled).toBe(true));
  // The state changes in the next frame, without a render.
  const frames = watchFrames();
  await until(() => expect(frames.count).toBeGreaterThan(2));
  expect([result.current.seq, result.current.seq]).toEqual([3, 3]);
  const { events, ...rest } = result.current;
  expect(seqsOf(events)).toEqual([1, 2, 3]);
  expect(rest).toMatchObject({ phase: 'live', seq: 3, cursor: expect.any(String) });
  await until(() => expect(result.current.run).toMatchObject({ lastSeq: 3 }));
  await server.publish(progress('r1', 4));
  await until(() => expect(seqsOf(result.current.events)).toEqual([1, 2, 3, 4]));
});
