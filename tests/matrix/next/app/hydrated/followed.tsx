'use client';

import { useRouter } from 'next/navigation';
import { useEffect, useState, useTransition } from 'react';
import { trpc, useRun, useRunEvents, useRuns } from 'runwire/react';
import { appTrpc } from './providers';

/** A run, the list of runs, a listener for the events, and queries of both tRPC servers. */
export function Followed({ runId }: { runId: string }) {
  const router = useRouter();
  const { run, phase } = useRun({ runId });
  const { runs, newCount, showNew } = useRuns();
  const [refreshed, setRefreshed] = useState(0);
  const [, startTransition] = useTransition();
  const [received, setReceived] = useState<number[]>([]);
  const [handled, setHandled] = useState<number[]>([]);
  const { subscribe } = useRunEvents({
    runId,
    from: 'start',
    onEvent: ({ seq }) => setReceived((all) => [...all, seq]),
  });
  const [isHydrated, setHydrated] = useState(false);
  const own = appTrpc.run.get.useQuery();
  const me = trpc.auth.me.useQuery();
  useEffect(() => subscribe('stage.progress', ({ seq }) => setHandled((all) => [...all, seq])), [subscribe]);
  useEffect(() => setHydrated(true), []);
  return (
    <>
      <p id="run">{`${run?.name} ${run?.progress} ${run?.lastSeq}`}</p>
      <p id="runs">{runs.map(({ name, progress, lastSeq }) => `${name} ${progress} ${lastSeq}`).join(', ')}</p>
      <p id="phase">{phase}</p>
      <p id="received">{received.join(' ')}</p>
      <p id="handled">{handled.join(' ')}</p>
      <p id="own">{`${own.data?.name}, ${me.data?.sub}`}</p>
      <p id="hydrated">{isHydrated ? 'yes' : 'no'}</p>
      <p id="refreshed">{refreshed}</p>
      <button
        type="button"
        onClick={() =>
          startTransition(() => {
            router.refresh();
            setRefreshed((count) => count + 1); // Rendered together with the server's answer.
          })
        }
      >
        Refresh
      </button>
      <button type="button" onClick={showNew} disabled={newCount === 0}>
        Show new
      </button>
    </>
  );
}

/** A part of the page that is rendered and hydrated later. */
export function Late({ runId }: { runId: string }) {
  const { run } = useRun({ runId });
  const { runs } = useRuns();
  return (
    <p id="late">
      {`${run?.name} ${run?.progress} ${run?.lastSeq}, ${runs.map(({ name, progress, lastSeq }) => `${name} ${progress} ${lastSeq}`).join(', ')}`}
    </p>
  );
}
