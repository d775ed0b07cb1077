import { dehydrate, HydrationBoundary, QueryClient } from '@tanstack/react-query';
import { createRunwireClient, prefetchRun, prefetchRuns } from 'runwire/client';
import { Followed } from './followed';

export const dynamic = 'force-dynamic';

/** A server component. Between the fetches and the render it waits for the test. */
export default async function Page({ searchParams }: { searchParams: Promise<{ runId: string }> }) {
  const { runId } = await searchParams;
  const { RUNWIRE_URL: url = '', RUNWIRE_TOKEN: token = '', GATE_URL: gate = '' } = process.env;
  const queryClient = new QueryClient();
  const runwire = createRunwireClient({ url, token });
  await prefetchRun(queryClient, runwire, { runId });
  await prefetchRuns(queryClient, runwire);
  await runwire.connection.close();
  await fetch(gate);
  return (
    <HydrationBoundary state={dehydrate(queryClient)}>
      <Followed runId={runId} />
    </HydrationBoundary>
  );
}
