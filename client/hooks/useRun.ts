import { type SkipToken, skipToken, useQuery } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useState } from 'react';
import { RunwireError } from '../../shared/errors.ts';
import type { RunView } from '../../shared/run.ts';
import { fetchRun } from '../connection/fetch-run.ts';
import type { Snapshot } from '../feeds/folded-run.ts';
import { keyOf } from '../feeds/query.ts';
import type { RunFeedState } from '../feeds/run-feed.ts';
import { blankState, RunFeedObserver, type RunFeedObserverState } from '../feeds/run-feed-observer.ts';
import { useRunwire } from './context.ts';
import { type FollowingOptions, useFollowing } from './useFollowing.ts';
import { once, useSelection } from './useSelection.ts';
import { useTracked } from './useTracked.ts';

/** Options of `useRun`. */
export type UseRunOptions<Selected = RunView> = FollowingOptions & {
  runId: string;
  /** Project of the run. Required only if the user may read several projects that have a run with this id. */
  projectId?: string | undefined;
  /**
   * Selects what the component uses of the run: `run` in the result is what `select` returns. The component renders when that
   * changes, compared field by field. Needs no memoisation.
   */
  select?: ((run: RunView) => Selected) | undefined;
};

/** Result of `useRun`: the run, or its selected part, and the state of the subscription. */
export type UseRunReturn<Selected = RunView> = Pick<
  RunFeedState,
  'phase' | 'connectionState' | 'retryAtMs' | 'seq' | 'gap'
> & {
  /** The run after its last event, or what `select` returns for it. Parts that did not change are the same objects as before. */
  run: Selected | undefined;
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
 * after it. It renders at most once per frame of the display, and only after a change of a field that the component reads.
 * Hooks with the same run share one subscription. With `skipToken` in place of the options, the hook is idle.
 *
 * The run is kept in React Query's cache. It is fetched again only after a gap (events that the server could not deliver).
 */
export function useRun<Selected = RunView>(options: UseRunOptions<Selected> | SkipToken): UseRunReturn<Selected> {
  const isSkipped = options === skipToken;
  const {
    runId = '',
    projectId,
    select,
    ...following
  } = isSkipped ? ({} as Partial<UseRunOptions<Selected>>) : options;
  const isEnabled = !isSkipped && (following.enabled ?? true);
  const { client, feeds, queries, queryKey: keyFor, renderedData } = useRunwire();
  const observer = useMemo(() => new RunFeedObserver(feeds, { startsAtSnapshot: true }), [feeds]);
  const [missing] = useState(
    () => new RunwireError('RUN_NOT_FOUND', 'the run does not exist, or the user may not read it'),
  );
  const query = useMemo(() => ({ runId, projectId }), [runId, projectId]);
  const queryKey = useMemo(() => keyFor('run', query), [keyFor, query]);
  const selectRun = useSelection(select);

  // This query only keeps the cache entry while the hook is mounted. Changes of the entry cause no render here: the
  // observer causes one render per frame.
  useQuery<Snapshot>(
    {
      queryKey,
      queryFn: ({ signal }) => fetchRun(client, query, signal),
      enabled: false,
      staleTime: Number.POSITIVE_INFINITY,
      structuralSharing: false, // Structural sharing would compare all stages at each update.
      notifyOnChangeProps: [],
    },
    queries,
  );
  const resultOf = useCallback(
    (state: RunFeedObserverState, snapshot?: Snapshot | null): UseRunReturn<Selected> => {
      const key = keyOf(query);
      const current = state.key === key && !isSkipped ? state : blankState(key, isEnabled ? 'connecting' : 'idle');
      const { phase, connectionState, retryAtMs, seq, gap } = current;
      // Before the server's first message, the hook returns the run from the cache.
      const isFromCache = seq === null && !isSkipped;
      const kept = isFromCache && snapshot === undefined ? queries.getQueryData<Snapshot>(queryKey) : snapshot;
      const cached = isFromCache ? kept?.run : undefined;
      const view = current.run ?? cached;
      const isMissing = view === undefined && phase === 'live';
      const run = once(() => selectRun(view));
      return {
        get run() {
          return run();
        },
        status: view ? 'success' : isMissing || connectionState === 'failed' ? 'error' : 'pending',
        error: current.error ?? (isMissing ? missing : null),
        phase,
        connectionState,
        isConnected: connectionState === 'connected',
        retryAtMs,
        seq,
        gap,
        reconnect: observer.reconnect,
      };
    },
    [observer, queries, query, queryKey, isEnabled, isSkipped, selectRun, missing],
  );
  const renderedResult = useCallback(() => {
    const rendered = renderedData(queryKey) as Snapshot | undefined;
    const isPresent = rendered === queries.getQueryData(queryKey);
    return isPresent ? undefined : resultOf(observer.getState(), rendered ?? null);
  }, [observer, queries, queryKey, renderedData, resultOf]);
  const result = useTracked(observer, resultOf, undefined, renderedResult);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a hook that is enabled again starts from the latest snapshot.
  useEffect(() => {
    observer.onSnapshot = ({ run, cursor }) => {
      const before = queries.getQueryData<Snapshot>(queryKey);
      if (before?.run !== run || before.cursor !== cursor) queries.setQueryData<Snapshot>(queryKey, { run, cursor });
    };
    observer.snapshot = queries.getQueryData<Snapshot>(queryKey);
  }, [observer, queries, queryKey, isEnabled]);
  useFollowing(observer, isEnabled ? query : undefined, following);
  return result;
}
