import { type ReactNode, StrictMode } from 'react';
import { onTestFinished, vi } from 'vitest';
import { renderHook } from 'vitest-browser-react';
import { RunwireProvider } from '../../client/react.tsx';
import type { TestServer } from './servers.ts';

type HookOptions<Props, Result> = { props: Props; use: (props: Props) => Result; isStrict?: boolean };

/** Mounts hooks below a provider; they are unmounted, and what they leave behind is closed, at the end of the test. */
export async function mount<Props, Result>(
  server: TestServer,
  { props, use, isStrict = true }: HookOptions<Props, Result>,
) {
  const Strict = isStrict ? StrictMode : ({ children }: { children: ReactNode }) => children;
  const hook = await renderHook((given?: Props) => use(given as Props), {
    initialProps: props,
    wrapper: ({ children }) => (
      <Strict>
        <RunwireProvider url={server.url} token={server.token} reconnectDelayMs={1} maxReconnectAttempts={1_000}>
          {children}
        </RunwireProvider>
      </Strict>
    ),
  });
  onTestFinished(() => hook.unmount());
  return hook;
}

/** Waits until a check holds; its own timeout is there to tell what did not hold. */
export const until = <T,>(check: () => T | Promise<T>) => vi.waitFor(check, { timeout: 15_000 });
