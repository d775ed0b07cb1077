import { type DehydratedState, HydrationBoundary, QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { Suspense, useEffect, useState } from 'react';
import { RunwireProvider, useRunEvents, useRuns, useSuspenseRun } from 'runwire/hooks';

export type PageData = { url: string; token: string; runId: string; state: DehydratedState };

/** The app of a user, as the server and the browser render it. The token is fetched, so `identity` states the user. */
export function App({ url, token, runId, state }: PageData) {
  const [queryClient] = useState(() => new QueryClient());
  return (
    <QueryClientProvider client={queryClient}>
      <RunwireProvider url={url} token={async () => token} identity="ada" reconnectDelayMs={20}>
        <HydrationBoundary state={state}>
          <Suspense fallback={<p>loading</p>}>
            <Followed runId={runId} />
          </Suspense>
        </HydrationBoundary>
      </RunwireProvider>
    </QueryClientProvider>
  );
}

function Followed({ runId }: { runId: string }) {
  const { run, phase } = useSuspenseRun({ runId });
  const { runs } = useRuns();
  const [received, setReceived] = useState<number[]>([]);
  const [handled, setHandled] = useState<number[]>([]);
  const { subscribe } = useRunEvents({
    runId,
    from: 'start',
    onEvent: ({ seq }) => setReceived((all) => [...all, seq]),
  });
  const [isHydrated, setHydrated] = useState(false);
  useEffect(() => subscribe('stage.progress', ({ seq }) => setHandled((all) => [...all, seq])), [subscribe]);
  useEffect(() => setHydrated(true), []);
  return (
    <>
      <p id="run">{`${run.name} ${run.progress} ${run.lastSeq}`}</p>
      <p id="runs">{runs.map(({ name, progress, lastSeq }) => `${name} ${progress} ${lastSeq}`).join(', ')}</p>
      <p id="phase">{phase}</p>
      <p id="received">{received.join(' ')}</p>
      <p id="handled">{handled.join(' ')}</p>
      <p id="hydrated">{isHydrated ? 'yes' : 'no'}</p>
    </>
  );
}
