import { dehydrate, HydrationBoundary, QueryClient } from '@tanstack/react-query';
import { notFound } from 'next/navigation';
import { createRunwireClient, prefetchRun, runwireErrorOf } from 'runwire/client';
import { createToken, url } from '../../../lib/session.ts';
import { Notes } from './notes.tsx';
import { Run } from './run.tsx';

/** The page arrives with the run in it. The browser subscribes where this state ends. */
export default async function Page({ params }: PageProps<'/runs/[runId]'>) {
  const { runId } = await params;
  const queryClient = new QueryClient();
  const runwire = createRunwireClient({ url: url(), token: await createToken('viewer') });
  try {
    await prefetchRun(queryClient, runwire, { runId });
  } catch (error) {
    if (runwireErrorOf(error).code === 'RUN_NOT_FOUND') notFound();
    throw error;
  } finally {
    await runwire.connection.close();
  }
  return (
    <main>
      <HydrationBoundary state={dehydrate(queryClient)}>
        <Run runId={runId} />
      </HydrationBoundary>
      <Notes runId={runId} />
    </main>
  );
}
