import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { createElement, Suspense } from 'react';
import { renderToString } from 'react-dom/server';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createRunwireClient } from '../index.ts';
import { RunwireProvider, trpc, useConnection, useRun, useRunEvents, useRuns } from '../react/index.ts';

function Page() {
  const { status } = useRuns();
  const { status: runStatus } = useRun({ runId: 'r1' });
  const { connectionState } = useRunEvents({ runId: 'r1' });
  const list = trpc.run.list.useQuery({});
  return createElement('p', null, `${status} ${runStatus} ${connectionState} ${list.status} ${useConnection().state}`);
}

test.each(['without a QueryClient', 'with a QueryClient'])(
  '[H33] on a server the hooks render their loading state, without url, WebSocket and location: %s',
  (kind) => {
    vi.stubGlobal('WebSocket', undefined);
    const logged = vi.spyOn(console, 'error');
    onTestFinished(() => {
      vi.unstubAllGlobals();
      vi.restoreAllMocks();
    });
    expect(typeof location).toBe('undefined');
    const provider = createElement(RunwireProvider, null, createElement(Page));
    const page =
      kind === 'with a QueryClient'
        ? createElement(QueryClientProvider, { client: new QueryClient() }, provider)
        : createElement(Suspense, null, provider);
    expect(renderToString(page)).toContain('<p>pending pending connecting pending idle</p>');
    expect(logged).not.toHaveBeenCalled();
  },
);

test('[H33] a client without url, WebSocket and location can be created on a server', async () => {
  vi.stubGlobal('WebSocket', undefined);
  onTestFinished(() => void vi.unstubAllGlobals());
  const { client, connection } = createRunwireClient({});
  // Its own host is unknown, so the first request is an error.
  await expect(client.auth.me.query()).rejects.toThrow('a relative URL works in a page only');
  await connection.close();
});
