import { useQuery } from '@tanstack/react-query';
import { useEffect, useMemo, useSyncExternalStore } from 'react';
import { RunwireError } from '../../shared/errors.ts';
import type { RunView } from '../../shared/run.ts';
import { fetchRun } from '../connection/fetch-run.ts';
import type { Snapshot } from '../feeds/folded-run.ts';
import { keyOf } from '../feeds/query.ts';
import type { RunFeedState } from '../feeds/run-feed.ts';
import { blankState, RunFeedObserver } from '../feeds/run-feed-observer.ts';
import { useRunwire } from './context.ts';

export type UseRunOptions = {
  runId: string;
  /** Project of the run. Required only if the user may read several projects that have a run with this id. */
  projectId?: string | undefined;
  /** `false` stops the query and the subscription; default true. */
  enabled?: boolean | undefined;
};

export type UseRunReturn = Pick<RunFeedState, 'phase' | 'connectionState' | 'retryAtMs' | 'seq' | 'gap'> & {
  /** The run after its last event. Parts that did not change are the same objects as before. */
  run: RunView | undefined;
  /** `pending`: the run is loading. `success`: `run` is set. `error`: there is no run; `error` states why. */
  status: 'pending' | 'success' | 'error';
  /**
   * Why there is no run, or why the run is not updated at the moment; null otherwise. `RUN_NOT_FOUND` disappears when the
   * run is created.
   */
  error: RunwireError | null;
  isConnected: boolean;
  /** Resumes after an error. Reconnects at once if the connection is down. */
  reconnect(): void;
};

/**
 * Returns a run and keeps it up to date. The hook loads the current state of the run (`run.get`) and applies the events
 * after it. It renders at most once per frame of the display. Hooks with the same run share one subscription.
 *
 * The run is kept in React Query's cache. It is fetched again only after a gap (events that the server could not deliver).
 */
export function useRun({ runId, projectId, enabled = true }: UseRunOptions): UseRunReturn {
  const { client, feeds, queries, queryKey: keyFor } = useRunwire();
  const observer = useMemo(() => new RunFeedObserver(feeds, { startsAtSnapshot: true }), [feeds]);
  const key = keyOf({ runId, projectId });
  const queryKey = useMemo(() => keyFor('run', { runId, projectId }), [keyFor, runId, projectId]);

  // This query only keeps the cache entry while the hook is mounted. Changes of the entry cause no render here: the
  // observer causes one render per frame.
  const held = useQuery<Snapshot>(
    {
      queryKey,
      queryFn: ({ signal }) => fetchRun(client, { runId, projectId }, signal),
      enabled: false,
      staleTime: Number.POSITIVE_INFINITY,
      structuralSharing: false, // Structural sharing would compare all stages at each update.
      notifyOnChangeProps: [],
    },
    queries,
  );
  const state = useSyncExternalStore(observer.subscribe, observer.getState, observer.getState);
  useEffect(() => {
    observer.onSnapshot = ({ run, cursor }) => {
      const before = queries.getQueryData<Snapshot>(queryKey);
      if (before?.run !== run || before.cursor !== cursor) queries.setQueryData<Snapshot>(queryKey, { run, cursor });
    };
  }, [observer, queries, queryKey]);
  useEffect(() => {
    if (!enabled) return;
    observer.snapshot = queries.getQueryData<Snapshot>(queryKey);
    return observer.follow({ runId, projectId });
  }, [observer, queries, queryKey, enabled, runId, projectId]);

  const current = state.key === key ? state : blankState(key, enabled ? 'connecting' : 'idle');
  // Before the server's first message, the hook returns the run from the cache.
  const run = current.run ?? (current.seq === null ? held.data?.run : undefined);
  const { phase, connectionState, retryAtMs, seq, gap } = current;
  const isMissing = run === undefined && phase === 'live';
  const error = useMemo(
    () =>
      current.error ??
      (isMissing ? new RunwireError('RUN_NOT_FOUND', 'the run does not exist, or the user may not read it') : null),
    [current.error, isMissing],
  );
  const status = run ? 'success' : isMissing || connectionState === 'failed' ? 'error' : 'pending';
  return useMemo(() => {
    const { reconnect } = observer;
    const isConnected = connectionState === 'connected';
    return { run, status, error, phase, connectionState, isConnected, retryAtMs, seq, gap, reconnect };
  }, [observer, run, status, error, phase, connectionState, retryAtMs, seq, gap]);
}
