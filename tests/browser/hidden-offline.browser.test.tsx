import { QueryClient } from '@tanstack/react-query';
import { type ReactNode, StrictMode, Suspense, useEffect } from 'react';
import { expect, onTestFinished, test, vi } from 'vitest';
import { render, renderHook } from 'vitest-browser-react';
import {
  RunwireProvider,
  type RunwireProviderProps,
  useConnection,
  useRun,
  useRunEvents,
  useRuns,
} from '../../client/hooks/index.ts';
import { until } from './mount.tsx';
import { draft, openServer, progress, type TestServer } from './servers.ts';

const upTo = (count: number, from = 1) => Array.from({ length: count }, (_, index) => from + index);

/** All hooks on one run under StrictMode. `received` records the events of a handler with from: 'start'. */
async function openPage(server: TestServer, options: RunwireProviderProps = {}) {
  const received: number[] = [];
  const use = () => {
    const events = useRunEvents({ runId: 'r1', from: 'start' });
    const { subscribe_category } = events;
    useEffect(() => subscribe_category('stage', ({ seq }) => void received.push(seq)), [subscribe_category]);
    return { events, run: useRun({ runId: 'r1' }), runs: useRuns(), connection: useConnection() };
  };
  const hook = await renderHook(use, {
    wrapper: ({ children }: { children: ReactNode }) => (
      <StrictMode>
        <RunwireProvider
          url={server.url}
          token={server.token}
          reconnectDelayMs={1}
          maxReconnectAttempts={1e6}
          {...options}
        >
          {children}
        </RunwireProvider>
      </StrictMode>
    ),
  });
  onTestFinished(() => hook.unmount());
  const current = () => hook.result.current;
  const isLive = () =>
    until(() => {
      const { events, run, runs } = current();
      expect([events.phase, run.phase, runs.phase, current().connection.state]).toEqual([
        'live',
        'live',
        'live',
        'connected',
      ]);
    });
  /** Checks that the handler received the whole log, and that every view equals the server's. */
  const equalsLog = async (count: number) => {
    await until(() => expect(received).toHaveLength(count));
    const logged = await server.history('r1');
    expect(logged).toHaveLength(count);
    expect(received).toEqual(logged.map(({ seq }) => seq));
    const { run } = await server.client.run.get.query({ runId: 'r1' });
    await until(() => expect([current().events.run, current().run.run]).toEqual([run, run]));
    const { stages: _s, artifacts: _a, approvals: _p, ...header } = run;
    await until(() => expect(current().runs.runs).toEqual([header]));
    expect(current().events.events).toEqual(logged.slice(-1_000));
  };
  return { hook, current, isLive, equalsLog, received };
}

/** Simulates a hidden page without animation frames, or a visible one. */
function pretendVisibility() {
  let state: DocumentVisibilityState = 'visible';
  vi.spyOn(document, 'visibilityState', 'get').mockImplementation(() => state);
  const { requestAnimationFrame: real, cancelAnimationFrame: cancel } = window;
  const held = new Map<number, FrameRequestCallback>();
  const painted = new Map<number, number>();
  let lastId = 0;
  vi.stubGlobal('requestAnimationFrame', (callback: FrameRequestCallback) => {
    if (state === 'visible') return real(callback);
    lastId--;
    const id = lastId;
    held.set(id, callback);
    return id;
  });
  vi.stubGlobal('cancelAnimationFrame', (id: number) => {
    held.delete(id);
    cancel(painted.get(id) ?? id);
  });
  onTestFinished(() => {
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  });
  return (next: DocumentVisibilityState) => {
    state = next;
    if (next === 'visible') {
      // Frames that were requested in a hidden page are painted once it is visible.
      for (const [id, callback] of held) painted.set(id, real(callback));
      held.clear();
    }
    document.dispatchEvent(new Event('visibilitychange'));
  };
}

test('[H6] in a hidden tab without animation frames, handlers receive events and states are updated', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 1));
  const page = await openPage(server);
  await page.isLive();
  const show = pretendVisibility();
  show('hidden');
  await server.publish(...upTo(50).map((value) => progress('r1', value)));
  await page.equalsLog(51);
  show('visible');
  await server.publish(progress('r1', 1));
  await page.equalsLog(52);
});

test.for(['online', 'visibilitychange'])(
  '[H7] on %s the client finds a dead socket that still looks open',
  async (event) => {
    const server = await openServer();
    await server.publish(progress('r1', 1));
    const page = await openPage(server);
    await page.isLive();
    await server.freeze();
    await server.publish(...upTo(50).map((value) => progress('r1', value)));
    expect(page.current().connection.state).toBe('connected');
    (event === 'online' ? window : document).dispatchEvent(new Event(event));
    await until(() => expect(page.current().connection.error?.message).toBe('the connection stopped responding'));
    await page.isLive();
    await page.equalsLog(51);
  },
);

test('[H7] a working socket stays open when the tab becomes visible', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 1));
  const page = await openPage(server);
  await page.isLive();
  const [before] = (await server.stats()).clients;
  const { send } = WebSocket.prototype;
  const sent: unknown[] = [];
  const pongs = new Promise<void>((resolve) => {
    vi.spyOn(WebSocket.prototype, 'send').mockImplementation(function (this: WebSocket, data) {
      sent.push(data);
      this.addEventListener('message', (message) => message.data === 'PONG' && resolve());
      send.call(this, data);
    });
  });
  onTestFinished(() => void vi.restoreAllMocks());
  document.dispatchEvent(new Event('visibilitychange'));
  window.dispatchEvent(new Event('online'));
  await pongs;
  expect(sent).toEqual(['PING']);
  await server.publish(progress('r1', 2));
  await page.equalsLog(2);
  expect((await server.stats()).clients.map(({ id }) => id)).toEqual([before?.id]);
});

test('[H7] reconnect() does not wait until a dead socket has closed', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 1));
  const page = await openPage(server);
  await page.isLive();
  await server.freeze();
  await server.publish(...upTo(10).map((value) => progress('r1', value)));
  page.current().connection.reconnect();
  await page.equalsLog(11);
  await page.isLive();
  // The old socket delivers nothing more.
  await server.cut();
  await server.publish(progress('r1', 1));
  await page.equalsLog(12);
});

test('[H8] after a long outage no event is lost, and the state is failed after the last attempt', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 1));
  const page = await openPage(server, { maxReconnectAttempts: 3 });
  await page.isLive();
  await server.away();
  for (let round = 0; round < 2; round++) {
    await server.publishInside(...upTo(600).map((value) => progress('r1', value % 100)));
  }
  await until(() => expect(page.current().connection).toMatchObject({ state: 'failed', attempts: 4 }));
  await until(() => expect(page.current().connection.retryAt).toBeGreaterThan(Date.now()));
  expect(page.current().events).toMatchObject({ connectionState: 'failed', error: { code: 'UNAVAILABLE' } });
  expect(page.current().run).toMatchObject({
    connectionState: 'failed',
    status: 'success',
    error: { code: 'UNAVAILABLE' },
  });
  await server.back();
  window.dispatchEvent(new Event('online'));
  await page.equalsLog(1_201);
  await page.isLive();
  expect(page.current().run.error).toBeNull();
});

test('[H8] a page that is opened offline starts when the network comes back', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 1));
  await server.away();
  const queryClient = new QueryClient({
    defaultOptions: { queries: { retryDelay: 10, retry: 1e6, gcTime: Number.POSITIVE_INFINITY } },
  });
  const page = await openPage(server, { queryClient });
  await until(() => expect(page.current().connection.attempts).toBeGreaterThan(1));
  expect(page.current().run).toMatchObject({ status: 'pending', run: undefined });
  await server.back();
  window.dispatchEvent(new Event('online'));
  await page.isLive();
  await page.equalsLog(1);
});

test('[H8] a page starts with a token source that fails at first and then is slow', async () => {
  const server = await openServer();
  await server.publish(progress('r1', 1));
  let give = (_token: string) => {};
  let asked = 0;
  const token = () => {
    asked++;
    if (asked <= 3) return Promise.reject(new Error('the issuer is down'));
    return new Promise<string>((resolve) => {
      give = resolve;
    });
  };
  const queryClient = new QueryClient({
    defaultOptions: { queries: { retryDelay: 10, retry: 1e6, gcTime: Number.POSITIVE_INFINITY } },
  });
  const page = await openPage(server, { token, queryClient });
  await until(() => expect(page.current().connection.error?.message).toBe('the issuer is down'));
  await until(() => expect(asked).toBe(4));
  expect(page.current().run).toMatchObject({ status: 'pending' });
  give(server.token);
  await page.isLive();
  await page.equalsLog(1);
  expect(page.current().run.error).toBeNull();
  expect(asked).toBe(4);
});

test('[H8] no event is lost while a Suspense boundary above the hook suspends again', async () => {
  const server = await openServer();
  const received: number[] = [];
  let wake = () => {};
  let isReady = true;
  const pending = new Promise<void>((resolve) => {
    wake = resolve;
  });
  const Late = () => {
    if (!isReady) throw pending;
    return null;
  };
  const Run = () => {
    const { subscribe, phase } = useRunEvents({ runId: 'r1' });
    const { run } = useRun({ runId: 'r1' });
    useEffect(() => subscribe('stage.progress', ({ seq }) => void received.push(seq)), [subscribe]);
    return <p>{`${phase} ${run?.lastSeq}`}</p>;
  };
  const Page = (_: { round: number }) => (
    <RunwireProvider url={server.url} token={server.token}>
      <Suspense fallback={<i>wait</i>}>
        <Run />
        <Late />
      </Suspense>
    </RunwireProvider>
  );
  const page = await render(<Page round={1} />);
  onTestFinished(() => page.unmount());
  await until(() => expect(page.container.textContent).toContain('live'));
  isReady = false;
  await page.rerender(<Page round={2} />);
  await until(() => expect(page.container.querySelector('i')).not.toBeNull());
  await server.publish(...upTo(20).map((value) => progress('r1', value)));
  await until(() => expect(received).toEqual(upTo(20)));
  isReady = true;
  wake();
  await until(() => expect(page.container.textContent).toBe('live 20'));
});

/** Records listeners on window and document, and timers, that are added from now on and not removed. */
function watchLeftovers() {
  const listeners = new Set<unknown>();
  for (const target of [window, document] as EventTarget[]) {
    const add = target.addEventListener.bind(target);
    const remove = target.removeEventListener.bind(target);
    vi.spyOn(target, 'addEventListener').mockImplementation((type, listener, options) => {
      listeners.add(listener);
      add(type, listener, options);
    });
    vi.spyOn(target, 'removeEventListener').mockImplementation((type, listener, options) => {
      listeners.delete(listener);
      remove(type, listener, options);
    });
  }
  const timers = new Set<unknown>();
  const { setTimeout: set, clearTimeout: clear, setInterval: every, clearInterval: stop } = window;
  vi.stubGlobal('setTimeout', (callback: () => void, ms?: number) => {
    const timer = set(() => {
      timers.delete(timer);
      callback();
    }, ms);
    timers.add(timer);
    return timer;
  });
  vi.stubGlobal('setInterval', (callback: () => void, ms?: number) => {
    const timer = every(callback, ms);
    timers.add(timer);
    return timer;
  });
  const forget = (real: (timer?: number) => void) => (timer?: number) => {
    timers.delete(timer);
    real(timer);
  };
  vi.stubGlobal('clearTimeout', forget(clear));
  vi.stubGlobal('clearInterval', forget(stop));
  onTestFinished(() => {
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  });
  return { listeners, timers };
}

test('[H9] after a thousand mounts and unmounts no subscription, listener or timer is left', async () => {
  const server = await openServer();
  await server.publish(...upTo(5).map((number) => draft('run.created', `r${number}`, { name: 'n' })));
  const queryClient = new QueryClient({ defaultOptions: { queries: { gcTime: Number.POSITIVE_INFINITY } } });
  let mounts = 0;
  const Hooks = ({ number }: { number: number }) => {
    const runId = `r${1 + (number % 5)}`;
    const { subscribe } = useRunEvents({ runId, from: number % 2 ? 'now' : 'start' });
    useRun({ runId });
    useRuns({ text: number % 3 ? 'n' : undefined });
    useConnection();
    useEffect(() => {
      mounts++;
      return subscribe('stage.progress', () => undefined);
    }, [subscribe]);
    return null;
  };
  const Page = ({ numbers }: { numbers: number[] }) => (
    <StrictMode>
      <RunwireProvider url={server.url} token={server.token} queryClient={queryClient}>
        {numbers.map((number) => (
          <Hooks key={number} number={number} />
        ))}
      </RunwireProvider>
    </StrictMode>
  );
  const page = await render(<Page numbers={[]} />);
  const { listeners, timers } = watchLeftovers();
  for (let round = 0; round < 25; round++) {
    await page.rerender(<Page numbers={upTo(20, round * 20)} />);
    if (round % 5 === 0) await until(async () => expect((await server.stats()).subscriptions).toBeGreaterThan(5));
  }
  expect(mounts).toBe(1_000); // StrictMode mounts twice.
  await page.rerender(<Page numbers={[]} />);
  await until(async () => expect((await server.stats()).subscriptions).toBe(0));
  await page.unmount();
  await until(async () => expect(await server.stats()).toMatchObject({ connections: 0, subscriptions: 0 }));
  await until(() => expect({ listeners: listeners.size, timers: timers.size }).toEqual({ listeners: 0, timers: 0 }));
});
