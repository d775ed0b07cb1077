import { useEffect } from 'react';
import { expect, onTestFinished, test, vi } from 'vitest';
import { renderHook } from 'vitest-browser-react';
import {
  RunwireProvider,
  type UseRunEventsOptions,
  type UseRunEventsReturn,
  useRunEvents,
} from '../../client/hooks/index.ts';
import type { RunEvent, RunEventType } from '../../shared/events.ts';
import { mount, until } from './mount.tsx';
import { draft, openServer, progress } from './servers.ts';

const useEvents = (options: UseRunEventsOptions) => useRunEvents(options);
const seqsOf = (events: readonly RunEvent[]) => events.map(({ seq }) => seq);
const upTo = (count: number, from = 1) => Array.from({ length: count }, (_, index) => from + index);
const isLive = (hook: { result: { current: UseRunEventsReturn } }) =>
  until(() => expect(hook.result.current).toMatchObject({ connectionState: 'connected', phase: 'live' }));

/** Registers handlers in an effect, as components do. `into` records the events they receive. */
function useCollected(options: UseRunEventsOptions, types: RunEventType[], into: Record<string, number[]>) {
  const hook = useRunEvents(options);
  const { subscribe } = hook;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the types never change.
  useEffect(() => {
    const offs = types.map((type) =>
      subscribe(type, ({ seq }) => {
        into[type] ??= [];
        into[type].push(seq);
      }),
    );
    return () => {
      for (const off of offs) off();
    };
  }, [subscribe]);
  return hook;
}

test('[C4] under StrictMode each replayed and live event reaches each handler once, over one subscription', async () => {
  const server = await openServer();
  await server.publish(...upTo(50).map((value) => progress('r1', value)));
  const received: Record<string, number[]> = {};
  const hook = await mount(server, {
    props: { runId: 'r1', from: 'start' } as UseRunEventsOptions,
    use: (options) => useCollected(options, ['stage.progress', 'run.started'], received),
  });
  await isLive(hook);
  await server.publish(draft('run.started', 'r1', {}), progress('r1', 51));
  await until(() => expect(hook.result.current.events).toHaveLength(52));

  expect(received).toEqual({ 'stage.progress': [...upTo(50), 52], 'run.started': [51] });
  expect(seqsOf(hook.result.current.events)).toEqual(upTo(52));
  expect(hook.result.current.events).toEqual(await server.history('r1'));
  expect(await server.stats()).toMatchObject({ connections: 1, subscriptions: 1 });
});

test('[C4] handlers receive events of their type or category; unsubscribing removes one; one that throws stops no other', async () => {
  const server = await openServer();
  const reported = vi.fn();
  vi.stubGlobal('reportError', reported);
  onTestFinished(() => void vi.unstubAllGlobals());
  const hook = await mount(server, { props: { runId: 'r1' } as UseRunEventsOptions, use: useEvents });
  await isLive(hook);
  const calls: string[] = [];
  const { subscribe, unsubscribe, subscribe_category, unsubscribe_category } = hook.result.current;
  const note = (name: string) => (event: RunEvent) => void calls.push(`${name} ${event.type}`);
  const byType = note('gone');
  const byCategory = note('gone');
  const failure = new Error('a handler that fails');
  subscribe('stage.started', () => {
    throw failure;
  });
  subscribe('stage.started', note('type'));
  subscribe('stage.started', byType);
  subscribe_category('stage', note('category'));
  subscribe_category('stage', byCategory);
  const off = subscribe('stage.started', note('gone'));
  unsubscribe('stage.started', byType);
  unsubscribe_category('stage', byCategory);
  off();

  await server.publish(
    draft('stage.started', 'r1', { stageId: 's1' }),
    draft('stage.completed', 'r1', { stageId: 's1' }),
    draft('run.completed', 'r1', {}),
  );
  await until(() => expect(hook.result.current.events).toHaveLength(3));
  expect(calls).toEqual(['type stage.started', 'category stage.started', 'category stage.completed']);
  expect(reported.mock.calls).toEqual([[failure]]);
});

test('[C4] events holds the latest `limit` events, and handlers receive all events', async () => {
  const server = await openServer();
  await server.publish(...upTo(300).map(() => progress('r1', 1)));
  const received: Record<string, number[]> = {};
  const hook = await mount(server, {
    props: { runId: 'r1', from: 'start', limit: 10 } as UseRunEventsOptions,
    use: (options) => useCollected(options, ['stage.progress'], received),
  });
  await isLive(hook);
  expect(seqsOf(hook.result.current.events)).toEqual(upTo(10, 291));
  expect(received['stage.progress']).toEqual(upTo(300));
  await hook.rerender({ runId: 'r1', from: 'start', limit: 3 });
  await until(() => expect(seqsOf(hook.result.current.events)).toEqual([298, 299, 300]));
});

test('[C4] the server selects types and categories', async () => {
  const server = await openServer();
  await server.publish(
    draft('run.created', 'r1', { name: 'one' }),
    draft('run.started', 'r1', {}),
    draft('stage.started', 'r1', { stageId: 's1' }),
    draft('run.completed', 'r1', {}),
  );
  const hook = await mount(server, {
    props: { runId: 'r1', from: 'start', types: ['run.completed'], categories: ['stage'] } as UseRunEventsOptions,
    use: useEvents,
  });
  await isLive(hook);
  expect(hook.result.current.events.map(({ type }) => type)).toEqual(['stage.started', 'run.completed']);
  // A fold needs all events of the run.
  expect(hook.result.current.run).toBeUndefined();
});

test('[C4] run equals the view of the server: from the start, from now, and after trimmed events', async () => {
  const server = await openServer();
  await server.publish(
    draft('run.created', 'r1', { name: 'one', stages: [{ stageId: 's1', name: 'build' }] }),
    draft('stage.started', 'r1', { stageId: 's1' }),
  );
  const fromStart = await mount(server, {
    props: { runId: 'r1', from: 'start' } as UseRunEventsOptions,
    use: useEvents,
  });
  const fromNow = await mount(server, { props: { runId: 'r1' } as UseRunEventsOptions, use: useEvents });
  await Promise.all([isLive(fromStart), isLive(fromNow)]);
  expect(fromNow.result.current.events).toEqual([]);
  expect(fromNow.result.current.run).toMatchObject({ name: 'one', status: 'running' });

  await server.publish(progress('r1', 40), draft('stage.completed', 'r1', { stageId: 's1' }));
  await server.trim();
  const fromTrimmed = await mount(server, {
    props: { runId: 'r1', from: 'start' } as UseRunEventsOptions,
    use: useEvents,
  });
  await isLive(fromTrimmed);
  expect(seqsOf(fromTrimmed.result.current.events)).toEqual([4]);
  const { run } = await server.client.run.get.query({ runId: 'r1' });
  expect(run.stages[0]).toMatchObject({ name: 'build', status: 'completed' });
  for (const hook of [fromStart, fromNow, fromTrimmed]) {
    await until(() => expect(hook.result.current.run).toEqual(run));
  }
});

test('[C4] a run without events in the log is shown from its view, also with from: start', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'one' }), draft('run.completed', 'r1', {}));
  await server.publish(draft('run.created', 'r2', { name: 'another' })); // Trimming never removes the newest event of the log.
  await server.trim();
  const hook = await mount(server, { props: { runId: 'r1', from: 'start' } as UseRunEventsOptions, use: useEvents });
  await isLive(hook);
  expect(hook.result.current.events).toEqual([]);
  expect(hook.result.current.run).toEqual((await server.client.run.get.query({ runId: 'r1' })).run);
  expect(hook.result.current.run).toMatchObject({ name: 'one', status: 'completed' });
});

test('[C4] a run that is created later is folded from its first event', async () => {
  const server = await openServer();
  const hook = await mount(server, { props: { runId: 'r1' } as UseRunEventsOptions, use: useEvents });
  await isLive(hook);
  expect(hook.result.current.run).toBeUndefined();
  await server.publish(draft('run.created', 'r1', { name: 'one' }), draft('run.started', 'r1', {}));
  await until(() => expect(hook.result.current.run).toMatchObject({ name: 'one', status: 'running' }));
});

test('[C4] events that arrive during the request for a snapshot are folded onto it', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'one' }), draft('stage.started', 'r1', { stageId: 's1' }));
  const realFetch = window.fetch;
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const answered = vi.fn();
  vi.stubGlobal('fetch', async (input: RequestInfo | URL, init?: RequestInit) => {
    const response = await realFetch(input, init);
    if (String(input).includes('/run.get')) {
      answered();
      await held;
    }
    return response;
  });
  onTestFinished(() => void vi.unstubAllGlobals());
  const hook = await mount(server, {
    props: { runId: 'r1' } as UseRunEventsOptions,
    // The snapshot is requested for a component that reads the run.
    use: (options) => ({ ...useRunEvents(options) }),
  });
  await until(() => expect(answered).toHaveBeenCalled());
  await server.publish(progress('r1', 40), draft('stage.completed', 'r1', { stageId: 's1' }));
  await until(() => expect(seqsOf(hook.result.current.events)).toEqual([3, 4]));
  // Connected, but the view is not complete yet.
  expect(hook.result.current).toMatchObject({ phase: 'replaying', run: undefined });

  vi.unstubAllGlobals();
  release();
  await isLive(hook);
  expect(hook.result.current.run).toEqual((await server.client.run.get.query({ runId: 'r1' })).run);
  expect(hook.result.current.run?.stages[0]?.status).toBe('completed');
});

test('[C4] the hook also follows a project, the events of the user, and all readable events', async () => {
  const server = await openServer();
  const scopes: UseRunEventsOptions[] = [{ projectId: 'p1' }, { scope: 'user' }, { scope: 'all' }];
  const hooks = [];
  for (const props of scopes) hooks.push(await mount(server, { props, use: useEvents }));
  await Promise.all(hooks.map(isLive));
  await server.publish(
    draft('run.created', 'r1', { projectId: 'p1', name: 'one' }),
    draft('run.created', 'r2', { projectId: 'p2', name: 'two', audience: ['ada'] }),
    draft('run.created', 'r3', { projectId: 'p2', name: 'three' }),
  );
  const expected = [[1], [2], [1, 2, 3]];
  for (const [index, hook] of hooks.entries()) {
    await until(() => expect(seqsOf(hook.result.current.events)).toEqual(expected[index]));
  }
});

test('[C4] functions stay the same; another run starts over, and handlers stay registered', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 1), progress('r2', 2), progress('r2', 3));
  const received: Record<string, number[]> = {};
  const stale: string[] = [];
  const hook = await mount(server, {
    props: { runId: 'r1', from: 'start' } as UseRunEventsOptions & { runId: string },
    use: (options) => {
      const result = useCollected(options, ['stage.progress'], received);
      if (result.events.some(({ runId }) => runId !== options.runId)) stale.push(options.runId);
      return result;
    },
  });
  await isLive(hook);
  const { subscribe, unsubscribe, subscribe_category, unsubscribe_category, reconnect, disconnect } =
    hook.result.current;

  await hook.rerender({ runId: 'r2', from: 'start' });
  await until(() => expect(seqsOf(hook.result.current.events)).toEqual([2, 3]));
  expect(hook.result.current.run?.runId).toBe('r2');
  expect(received['stage.progress']).toEqual([1, 2, 3]);
  expect(stale).toEqual([]);
  expect(hook.result.current).toMatchObject({ subscribe, unsubscribe, reconnect, disconnect });
  expect(hook.result.current).toMatchObject({ subscribe_category, unsubscribe_category });
  await until(async () => expect((await server.stats()).subscriptions).toBe(1));
});

test('[C4] with enabled: false it is idle without a subscription; enabled again it resumes', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 1));
  const props: UseRunEventsOptions = { runId: 'r1', from: 'start', enabled: false };
  const hook = await mount(server, { props, use: useEvents });
  expect(hook.result.current).toMatchObject({ connectionState: 'idle', isConnected: false, events: [] });
  expect(await server.stats()).toMatchObject({ connections: 0 });

  await hook.rerender({ ...props, enabled: true });
  await isLive(hook);
  await hook.rerender({ ...props, enabled: false });
  await until(() => expect(hook.result.current.connectionState).toBe('idle'));
  await server.publish(progress('r1', 2));
  await hook.rerender({ ...props, enabled: true });
  await until(() => expect(seqsOf(hook.result.current.events)).toEqual([1, 2]));
});

test('[C4] there is at most one render a frame for any number of events', async () => {
  const server = await openServer();
  let renders = 0;
  const hook = await mount(server, {
    props: { runId: 'r1', from: 'start' } as UseRunEventsOptions,
    isStrict: false,
    use: (options) => {
      renders++;
      return useRunEvents(options);
    },
  });
  await isLive(hook);
  let frames = 0;
  const count = () => {
    frames++;
    frame = requestAnimationFrame(count);
  };
  let frame = requestAnimationFrame(count);
  onTestFinished(() => cancelAnimationFrame(frame));
  renders = 0;
  await server.publish(...upTo(1_000).map(() => progress('r1', 1)));
  await until(() => expect(hook.result.current.events).toHaveLength(1_000));
  expect(renders).toBeGreaterThan(0);
  expect(renders).toBeLessThanOrEqual(frames + 1);
});

test('[C5] disconnect() and reconnect() act on one hook, and it keeps its cursor', async () => {
  const server = await openServer();
  const hook = await mount(server, {
    props: undefined,
    use: () => ({ one: useRunEvents({ runId: 'r1' }), other: useRunEvents({ runId: 'r1' }) }),
  });
  const one = () => hook.result.current.one;
  const other = () => hook.result.current.other;
  await until(() => expect([one().phase, other().phase]).toEqual(['live', 'live']));
  await server.publish(progress('r1', 1));
  await until(() => expect(one().events).toHaveLength(1));

  one().disconnect();
  await until(() => expect(one()).toMatchObject({ connectionState: 'disconnected', isConnected: false }));
  expect(seqsOf(one().events)).toEqual([1]);
  await server.publish(progress('r1', 2), progress('r1', 3));
  await until(() => expect(seqsOf(other().events)).toEqual([1, 2, 3]));
  expect(other().connectionState).toBe('connected');
  expect(await server.stats()).toMatchObject({ connections: 1, subscriptions: 1 });
  expect(seqsOf(one().events)).toEqual([1]);

  const [before] = (await server.stats()).clients;
  one().reconnect();
  await until(() => expect(seqsOf(one().events)).toEqual([1, 2, 3]));
  await until(() => expect(one()).toMatchObject({ connectionState: 'connected', phase: 'live' }));
  await until(() => expect(one().run).toMatchObject({ lastSeq: 3 }));
  await until(() => expect(one().run).toEqual(other().run));
  // The socket is the same as before.
  expect((await server.stats()).clients.map(({ id }) => id)).toEqual([before?.id]);
});

test('[C4] connections cut during publishing lose and repeat no event', async () => {
  const server = await openServer();
  const received: Record<string, number[]> = {};
  const states = new Set<string>();
  const hook = await mount(server, {
    props: { runId: 'r1', from: 'start' } as UseRunEventsOptions,
    use: (options) => {
      const result = useCollected(options, ['stage.progress'], received);
      states.add(result.connectionState);
      return result;
    },
  });
  await isLive(hook);
  for (let round = 0; round < 5; round++) {
    await server.publish(...upTo(50).map((value) => progress('r1', value)));
    await server.cut();
    await server.publish(...upTo(10).map((value) => progress('r1', value)));
  }
  await until(() => expect(received['stage.progress']).toHaveLength(300));
  await isLive(hook);
  expect(received['stage.progress']).toEqual(upTo(300));
  expect(hook.result.current.events).toEqual(await server.history('r1'));
  expect(hook.result.current.run).toEqual((await server.client.run.get.query({ runId: 'r1' })).run);
  expect(states).toContain('reconnecting');
});

test('[C4] an error ends the subscription, is reported once, and keeps the events', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 1));
  const onError = vi.fn();
  const hook = await mount(server, {
    props: { runId: 'r1', from: 'start', onError } as UseRunEventsOptions,
    use: useEvents,
  });
  await isLive(hook);
  await server.publish(draft('run.created', 'r1', { projectId: 'another', name: 'of the same id' }));
  hook.result.current.disconnect();
  hook.result.current.reconnect();

  await until(() => expect(hook.result.current.connectionState).toBe('failed'));
  expect(hook.result.current.error).toMatchObject({ code: 'RUN_AMBIGUOUS' });
  expect(onError).toHaveBeenCalledExactlyOnceWith(hook.result.current.error);
  expect(seqsOf(hook.result.current.events)).toEqual([1]);

  await hook.rerender({ runId: 'r1', projectId: 'demo', from: 'start', onError });
  await isLive(hook);
  expect(hook.result.current.error).toBeNull();
});

test('[C2] [C4] a failed connection is reported, and reconnect() resets the count of failures', async () => {
  const server = await openServer();
  const { token } = server;
  const given = vi.fn(() => 'no token at all');
  const onError = vi.fn();
  const hook = await renderHook(() => useRunEvents({ runId: 'r1', onError }), {
    wrapper: ({ children }) => (
      <RunwireProvider url={server.url} token={given}>
        {children}
      </RunwireProvider>
    ),
  });
  onTestFinished(() => hook.unmount());
  await until(() => expect(hook.result.current.connectionState).toBe('failed'));
  expect(hook.result.current.error).toMatchObject({ code: 'UNAUTHENTICATED' });
  expect(onError).toHaveBeenCalledExactlyOnceWith(hook.result.current.error);

  given.mockReturnValue(token);
  hook.result.current.reconnect();
  await isLive(hook);
  expect(hook.result.current.error).toBeNull();
});

test('[C4] after a gap the phase is gap until the snapshot has been loaded', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'of the old log' }), progress('r1', 1));
  // Delays requests for run.get until `held` is resolved.
  const realFetch = window.fetch;
  let held: Promise<void> = Promise.resolve();
  let asked = 0;
  vi.stubGlobal('fetch', async (input: RequestInfo | URL, init?: RequestInit) => {
    if (String(input instanceof Request ? input.url : input).includes('/run.get')) {
      asked++;
      await held;
    }
    return realFetch(input, init);
  });
  onTestFinished(() => void vi.unstubAllGlobals());
  const hook = await mount(server, { props: { runId: 'r1', from: 'start' } as UseRunEventsOptions, use: useEvents });
  await isLive(hook);
  expect(asked).toBe(0);

  let release = () => {};
  held = new Promise((resolve) => {
    release = resolve;
  });
  await server.replace();
  await until(() => expect(hook.result.current).toMatchObject({ phase: 'gap', connectionState: 'connected' }));
  expect(hook.result.current).toMatchObject({ gap: { reason: 'epoch_changed' }, events: [] });
  expect(hook.result.current.run?.name).toBe('of the old log');
  await server.publish(draft('run.created', 'r1', { name: 'of the new log' }), progress('r1', 7));
  await until(() => expect(seqsOf(hook.result.current.events)).toEqual([1, 2]));
  expect(hook.result.current.phase).toBe('gap');

  release();
  await isLive(hook);
  expect(hook.result.current.run).toEqual((await server.client.run.get.query({ runId: 'r1' })).run);
  expect(hook.result.current.run?.name).toBe('of the new log');
});

test('[C4] after unmounting no connection, listener or handler is left', async () => {
  const server = await openServer();
  // Listeners added before this point belong to the test runner.
  const added = new Set<unknown>();
  const watch = (target: EventTarget, watched: string) => {
    const add = target.addEventListener.bind(target);
    const remove = target.removeEventListener.bind(target);
    vi.spyOn(target, 'addEventListener').mockImplementation((type, listener, options) => {
      if (type === watched) added.add(listener);
      add(type, listener, options);
    });
    vi.spyOn(target, 'removeEventListener').mockImplementation((type, listener, options) => {
      if (type === watched) added.delete(listener);
      remove(type, listener, options);
    });
  };
  const hook = await mount(server, { props: { runId: 'r1', enabled: false } as UseRunEventsOptions, use: useEvents });
  watch(window, 'online');
  watch(document, 'visibilitychange');
  onTestFinished(() => void vi.restoreAllMocks());
  await hook.rerender({ runId: 'r1' });
  await isLive(hook);
  const handler = vi.fn();
  hook.result.current.subscribe_category('stage', handler);
  expect(added.size).toBe(2);

  await hook.unmount();
  await until(async () => expect((await server.stats()).connections).toBe(0));
  expect(added.size).toBe(0);
  await server.publish(progress('r1', 1));
  expect(handler).not.toHaveBeenCalled();
});
