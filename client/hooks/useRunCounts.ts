import { type SkipToken, skipToken } from '@tanstack/react-query';
import { useEffect, useMemo, useSyncExternalStore } from 'react';
import type { RunwireError } from '../../shared/errors.ts';
import { RunCounter, type RunCounts } from '../feeds/run-counts.ts';
import { useRunwire } from './context.ts';
import { useRunEvents } from './useRunEvents.ts';

/** Options of `useRunCounts`. */
export type UseRunCountsOptions = {
  runId: string;
  /** Project of the run. Required only if the user may read several projects that have a run with this id. */
  projectId?: string | undefined;
};

/** Result of `useRunCounts`: numbers of events by type, stage and publisher. */
export type UseRunCountsReturn = {
  /** Numbers of the run's events by type, stage and publisher. Undefined until the server has counted them. */
  counts: RunCounts | undefined;
  /** Why the counts are missing or not up to date; null otherwise. A failure of the connection is tried again. */
  error: RunwireError | null;
};

/**
 * Counts all events of a run, and goes on counting while events arrive. The server counts what the log has, in parts. With
 * `skipToken` in place of the options, the hook is idle.
 */
export function useRunCounts(options: UseRunCountsOptions | SkipToken): UseRunCountsReturn {
  const isSkipped = options === skipToken;
  const { runId, projectId } = isSkipped ? { runId: '', projectId: undefined } : options;
  const { client } = useRunwire();
  const counter = useMemo(
    () => new RunCounter((fromRunSeq, signal) => client.run.counts.query({ runId, projectId, fromRunSeq }, { signal })),
    [client, runId, projectId],
  );
  const live = useRunEvents(
    isSkipped ? skipToken : { runId, projectId, limit: 1, onEvent: counter.add, onGap: counter.start },
  );
  const isLive = live.phase === 'live';
  useEffect(() => counter.resume(), [counter]);
  // Counts begin once the subscription is live: no event between the two is missed.
  useEffect(() => {
    if (!isSkipped && isLive) counter.start();
  }, [counter, isSkipped, isLive]);
  return useSyncExternalStore(counter.subscribe, counter.getState, counter.getState);
}
