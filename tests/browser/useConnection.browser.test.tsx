import { expect, onTestFinished, test, vi } from 'vitest';
import { renderHook } from 'vitest-browser-react';
import { RunwireProvider, useConnection, useRunEvents, useSearch } from '../../client/hooks/index.ts';
import { mount, until } from './mount.tsx';
import { draft, openServer } from './servers.ts';

test('[H1] useConnection opens no connection and returns the status of the one that other hooks use', async () => {
  const server = await openServer();
  const hook = await mount(server, {
    props: { enabled: false },
    use: (options) => {
      useRunEvents({ runId: 'r1', ...options });
      return useConnection();
    },
  });
  expect(hook.result.current).toMatchObject({ state: 'idle', error: null, attempts: 0, retryAt: null });
  expect(await server.stats()).toMatchObject({ connections: 0 });

  await hook.rerender({ enabled: true });
  await until(() => expect(hook.result.current).toMatchObject({ state: 'connected', isConnected: true, error: null }));
  const { reconnect } = hook.result.current;
  const [before] = (await server.stats()).clients;
  reconnect();
  await until(async () => {
    const [after] = (await server.stats()).clients;
    expect(after?.id).toBeGreaterThan(before?.id ?? 0);
  });
  await until(() => expect(hook.result.current).toMatchObject({ state: 'connected', reconnect }));
  await hook.rerender({ enabled: false });
  await until(() => expect(hook.result.current).toMatchObject({ state: 'idle', isConnected: false }));
});

test('[H1] a lost connection reports the error, the attempts and the next attempt; a failed one reports the cause', async () => {
  const server = await openServer();
  const token = vi.fn(() => Promise.resolve(server.token));
  const hook = await renderHook(
    () => {
      useRunEvents({ runId: 'r1' });
      return useConnection();
    },
    {
      wrapper: ({ children }) => (
        <RunwireProvider url={server.url} token={token} reconnectDelayMs={50} maxReconnectAttempts={3}>
          {children}
        </RunwireProvider>
      ),
    },
  );
  onTestFinished(() => hook.unmount());
  await until(() => expect(hook.result.current.state).toBe('connected'));

  // Nothing listens at the address any more.
  await server.away();
  const before = Date.now();
  await until(() => expect(hook.result.current).toMatchObject({ state: 'reconnecting', isConnected: false }));
  await until(() => expect(hook.result.current.retryAt).toBeGreaterThan(before));
  expect(hook.result.current.error).toMatchObject({ code: 'UNAVAILABLE' });
  expect(hook.result.current.attempts).toBeGreaterThan(0);
  await until(() => expect(hook.result.current.state).toBe('failed'));
  expect(hook.result.current).toMatchObject({ attempts: 4, error: { code: 'UNAVAILABLE' } });
  await until(() => expect(hook.result.current.retryAt).toBeGreaterThan(Date.now()));

  await server.back();
  hook.result.current.reconnect();
  await until(() => expect(hook.result.current).toMatchObject({ state: 'connected', error: null, attempts: 0 }));
});

test('[H34] serverTimeOffsetMs is learned from an answer over HTTP, and follows a change of the clock', async () => {
  const server = await openServer();
  await server.publish(draft('run.created', 'r1', { name: 'Nightly' }));
  const hook = await mount(server, {
    props: {},
    use: () => {
      const { refetch } = useSearch({ runId: 'r1' });
      return { refetch, ...useConnection() };
    },
  });
  const day = 86_400_000;
  const realNow = Date.now;
  onTestFinished(() => void vi.restoreAllMocks());
  const isBehindBy = async (days: number) => {
    vi.spyOn(Date, 'now').mockImplementation(() => realNow() + days * day);
    await hook.result.current.refetch();
    await until(() => expect(hook.result.current.serverTimeOffsetMs / day).toBeCloseTo(-days, 1));
  };
  expect(Math.abs(hook.result.current.serverTimeOffsetMs)).toBeLessThan(day / 2);
  for (const days of [0, 3, -400, 0]) await isBehindBy(days);
});
