import { dehydrate, HydrationBoundary, QueryClient } from '@tanstack/react-query';
import { createRunwireClient, prefetchRun } from 'runwire/client';
import { RunwireProvider } from 'runwire/react';
import { Live } from '../live';

export const dynamic = 'force-dynamic';

/** A server component that loads the run for each request, so that the page arrives with it. */
export default async function Page() {
  const { RUNWIRE_URL: url = '', RUNWIRE_TOKEN: token = '' } = process.env;
  const queryClient = new QueryClient();
  const runwire = createRunwireClient({ url, token });
  await prefetchRun(queryClient, runwire, { runId: 'run-1' });
  await runwire.connection.close();
  return (
    <RunwireProvider url={url} token={token}>
      <HydrationBoundary state={dehydrate(queryClient)}>
        <Live runId="run-1" />
      </HydrationBoundary>
    </RunwireProvider>
  );
}
