import { dehydrate, HydrationBoundary, QueryClient } from '@tanstack/react-query';
import { Suspense } from 'react';
import { createRunwireClient, prefetchRun, prefetchRuns } from 'runwire/client';
import { Followed, Late } from '../followed';

export const dynamic = 'force-dynamic';
type Props = { searchParams: Promise<{ runId: string }> };

async function stateOf(runId: string) {
  const { RUNWIRE_URL: url = '', RUNWIRE_TOKEN: token = '' } = process.env;
  const queryClient = new QueryClient();
  const runwire = createRunwireClient({ url, token });
  await prefetchRun(queryClient, runwire, { runId });
  await prefetchRuns(queryClient, runwire);
  await runwire.connection.close();
  return dehydrate(queryClient);
}

/** A server component. The second part arrives later, when the first is hydrated. */
export default async function Page({ searchParams }: Props) {
  const { runId } = await searchParams;
  return (
    <>
      <HydrationBoundary state={await stateOf(runId)}>
        <Followed runId={runId} />
      </HydrationBoundary>
      <Suspense fallback={<p>loading</p>}>
        <Second runId={runId} />
      </Suspense>
    </>
  );
}

async function Second({ runId }: { runId: string }) {
  const { GATE_URL: gate = '' } = process.env;
  await fetch(`${gate}/fetch`);
  const state = await stateOf(runId);
  await fetch(`${gate}/render`);
  return (
    <HydrationBoundary state={state}>
      <Late runId={runId} />
    </HydrationBoundary>
  );
}
