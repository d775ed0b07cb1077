import type { Writable } from 'node:stream';
import { dehydrate, QueryClient } from '@tanstack/react-query';
import { renderToPipeableStream } from 'react-dom/server';
import { createRunwireClient, prefetchRun, prefetchRuns } from 'runwire/client';
import { App, type PageData } from './app';

/** Fetches what the page shows. */
export async function load(url: string, token: string, runId: string): Promise<PageData> {
  const queryClient = new QueryClient();
  const runwire = createRunwireClient({ url, token: async () => token, identity: 'ada' });
  await prefetchRun(queryClient, runwire, { runId });
  await prefetchRuns(queryClient, runwire);
  await runwire.connection.close();
  return { url, token, runId, state: dehydrate(queryClient) };
}

/** Streams the page's elements. */
export function render(data: PageData, output: Writable): Promise<void> {
  return new Promise((resolve, reject) => {
    const { pipe } = renderToPipeableStream(<App {...data} />, {
      onShellReady: () => {
        output.on('finish', resolve);
        pipe(output);
      },
      onError: reject,
    });
  });
}
