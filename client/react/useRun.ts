import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getQueryKey } from '@trpc/react-query';
import { useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import { RunwireError } from '../../shared/errors.ts';
import type { RunView } from '../../shared/run.ts';
import { keyOf } from '../feeds/query.ts';
import type { RunFeedState } from '../feeds/run-feed.ts';
import { blankState, RunFeedObserver } from '../feeds/run-feed-observer.ts';
import type { Snapshot } from '../feeds/run-snapshot.ts';
import { trpc, useRunwire } from './context.ts';

export type UseRunOptions = {
  runId: string;
  /** Without it, the only such run that the caller may read. */
  projectId?: string | undefined;
  /** False holds the query and the subscription back; default true. */
  enabled?: boolean | undefined;
};

export type UseRunReturn = Pick<RunFeedState, 'phase' | 'connectionState' | 'retryAtMs' | 'seq' | 'gap'> & {
  /** The run as of the last event. What an event did not change is the same object as before. */
  run: RunView | undefined;
  /** `pending`: no run yet; `success`: there is one; `error`: there is none, for the reason in `error`. */
  status: 'pending' | 'success' | 'error';
  /**
   * Why there is no run, or why it does not follow its events at the moment; null while all is well. `RUN_NOT_FOUND` heals
   * by itself when the run comes into being.
   */
  error: Error | null;
  isConnected: boolean;
  /** Follows on after an error; where the connection itself is down, tries that now. */
  reconnect(): void;
};

/**
 * A run that stays as the log has it: a snapshot, `run.get`, and the events after its cursor folded in, at most one render
 * a frame. React Query's entry of `trpc.run.get` is patched along, with the cursor that it is true at; it is fetched
 * again only after a gap. Hooks on the same run share one subscription.
 */
export function useRun({ runId, projectId, enabled = true }: UseRunOptions): UseRunReturn {
  const { client, feeds } = useRunwire();
  const queries = useQueryClient();
  const [follower] = useState(() => new RunFeedObserver(feeds, { wantsRun: true }));
  const key = keyOf({ runId, projectId });
  const queryKey = useMemo(() => getQueryKey(trpc.run.get, { runId, projectId }, 'query'), [runId, projectId]);

  // Keeps the entry for as long as this is mounted. It renders nothing: that is done once a frame, by the follower.
  const held = useQuery<Snapshot>({
    queryKey,
    queryFn: ({ signal }) => client.run.get.query({ runId, projectId }, { signal }),
    enabled: false,
    staleTime: Number.POSITIVE_INFINITY,
    structuralSharing: false, // It would walk all stages at each patch.
    notifyOnChangeProps: [],
  });
  const state = useSyncExternalStore(follower.subscribe, follower.getState, follower.getState);
  useEffect(() => {
    follower.onSnapshot = ({ run, cursor }) => {
      const before = queries.getQueryData<Snapshot>(queryKey);
      if (before?.run !== run || before.cursor !== cursor) queries.setQueryData<Snapshot>(queryKey, { run, cursor });
    };
  }, [follower, queries, queryKey]);
  useEffect(() => {
    if (!enabled) return;
    follower.snapshot = queries.getQueryData<Snapshot>(queryKey);
    return follower.follow({ runId, projectId });
  }, [follower, queries, queryKey, enabled, runId, projectId]);

  const current = state.key === key ? state : blankState(key, enabled ? 'connecting' : 'idle');
  // Before the first word of the server, what is known from before.
  const run = current.run ?? (current.seq === null ? held.data?.run : undefined);
  const { phase, connectionState, retryAtMs, seq, gap } = current;
  const isMissing = run === undefined && phase === 'live';
  const error = useMemo(
    () => current.error ?? (isMissing ? new RunwireError('RUN_NOT_FOUND', 'no such run') : null),
    [current.error, isMissing],
  );
  const status = run ? 'success' : isMissing || connectionState === 'failed' ? 'error' : 'pending';
  return useMemo(() => {
    const { reconnect } = follower;
    const isConnected = connectionState === 'connected';
    return { run, status, error, phase, connectionState, isConnected, retryAtMs, seq, gap, reconnect };
  }, [follower, run, status, error, phase, connectionState, retryAtMs, seq, gap]);
}
