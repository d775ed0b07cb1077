import type { QueryClient } from '@tanstack/react-query';
import { type ReactNode, StrictMode } from 'react';
import { onTestFinished, vi } from 'vitest';
import { renderHook } from 'vitest-browser-react';
import { RunwireProvider } from '../../client/hooks/index.ts';
import type { TestServer } from './servers.ts';

type HookOptions<Props, Result> = {
  props: Props;
  use: (props: Props) => Result;
  isStrict?: boolean;
  queryClient?: QueryClient;
  /** Default: the provider of `runwire/hooks`. */
  Provider?: typeof RunwireProvider;
};

/** Mounts hooks below a provider, and unmounts them at the end of the test. */
export async function mount<Props, Result>(
  server: TestServer,
  { props, use, isStrict = true, queryClient, Provider = RunwireProvider }: HookOptions<Props, Result>,
) {
  const Strict = isStrict ? StrictMode : ({ children }: { children: ReactNode }) => children;
  const hook = await renderHook((given?: Props) => use(given as Props), {
    initialProps: props,
    wrapper: ({ children }) => (
      <Strict>
        <Provider
          url={server.url}
          token={server.token}
          reconnectDelayMs={1}
          maxReconnectAttempts={1_000}
          queryClient={queryClient}
        >
          {children}
        </Provider>
      </Strict>
    ),
  });
  onTestFinished(() => hook.unmount());
  return hook;
}

/** Waits until `check` does not throw. The timeout is shorter than the test's, so that a failure names the check. */
export const until = <T,>(check: () => T | Promise<T>) => vi.waitFor(check, { timeout: 30_000 });

/** Counts the page's HTTP requests for a procedure. After `hold()` the page receives their answers at `release()`. */
export function watchRequests(path: string) {
  const realFetch = window.fetch;
  let held: Promise<void> | undefined;
  const watched = { count: 0, answered: 0, paths: [] as string[], hold: (): (() => void) => () => undefined };
  watched.hold = () => {
    let release = () => {};
    held = new Promise((resolve) => {
      release = resolve;
    });
    return () => {
      held = undefined;
      release();
    };
  };
  vi.stubGlobal('fetch', async (input: RequestInfo | URL, init?: RequestInit) => {
    if (!String(input instanceof Request ? input.url : input).includes(`/${path}`)) return realFetch(input, init);
    watched.count++;
    watched.paths.push(new URL(String(input instanceof Request ? input.url : input), location.href).pathname);
    const response = await realFetch(input, init);
    watched.answered++;
    await held;
    return response;
  });
  onTestFinished(() => void vi.unstubAllGlobals());
  return watched;
}

/** Records the path of every subscription that the page requests from now on. */
export function watchSubscriptions(): string[] {
  const asked: string[] = [];
  const { send } = WebSocket.prototype;
  vi.spyOn(WebSocket.prototype, 'send').mockImplementation(function (this: WebSocket, data) {
    const messages = typeof data === 'string' && /^[[{]/.test(data) ? [JSON.parse(data)].flat() : [];
    for (const { method, params } of messages) if (method === 'subscription') asked.push(params.path);
    send.call(this, data);
  });
  onTestFinished(() => void vi.restoreAllMocks());
  return asked;
}

/** Counts animation frames from now to the end of the test. */
export function watchFrames() {
  const watched = { count: 0 };
  const count = () => {
    watched.count++;
    frame = requestAnimationFrame(count);
  };
  let frame = requestAnimationFrame(count);
  onTestFinished(() => cancelAnimationFrame(frame));
  return watched;
}
