import { hashKey, useInfiniteQuery } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useSyncExternalStore } from 'react';
import type { RunHeader } from '../../shared/run.ts';
import type { RunFilter } from '../../shared/run-filter.ts';
import { runwireErrorOf } from '../errors.ts';
import type { RunsPage } from '../feeds/merge-runs.ts';
import { RunsFeed, type RunsFeedState } from '../feeds/runs-feed.ts';
import { useRunwire } from './context.ts';
import { retryOf } from './retry.ts';

export type UseRunsOptions = Omit<RunFilter, 'since' | 'until'> & {
  /** Runs per page, at most 500; default 50. */
  limit?: number | undefined;
  /** `false` stops the query and the subscription; default true. */
  enabled?: boolean | undefined;
};

export type UseRunsReturn = Omit<RunsFeedState, 'overlay'> & {
  /** The runs, newest first. An unchanged run is the same object as before. */
  runs: readonly RunHeader[];
  /** `pending`: the list is loading. `success`: `runs` is loaded. `error`: there is no list; `error` states why. */
  status: 'pending' | 'success' | 'error';
  isConnected: boolean;
  /** Number of new runs that wait for `showNew()`. They wait so that rows do not move while the user reads the list. */
  newCount: number;
  /** Adds the waiting runs to the list. */
  showNew(): void;
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  /** Loads the next page. Does nothing without a next page. If a fetch is under way, waits for that fetch instead. */
  fetchNextPage(): Promise<void>;
  /** Resumes after an error. Reconnects at once if the connection is down. */
  reconnect(): void;
};

/** Runs per page that the server returns without a `limit`. */
const DEFAULT_LIMIT = 50;
const nothing: readonly never[] = [];

/**
 * Returns runs, newest first and in pages, and updates them in place. A run that no longer matches the filter is removed
 * from the list. A new run waits for `showNew()`.
 *
 * The pages are kept in React Query's cache. They are fetched again only after a gap (changes that the server could not
 * deliver). Each hook has its own subscription to `onRunSummary`.
 */
export function useRuns({ enabled = true, ...input }: UseRunsOptions = {}): UseRunsReturn {
  const { client, feeds, queries, queryKey: keyFor } = useRunwire();
  const { projectId, status, labels, text, limit } = input;
  const listInput = {
    projectId,
    status: status && [...status],
    labels,
    text: text || undefined,
    ...(limit === undefined ? {} : { limit }),
  };
  const queryKey = keyFor('runs', listInput);
  const key = hashKey(queryKey);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key represents the options.
  const feed = useMemo(
    () => new RunsFeed(feeds, queries, queryKey, { projectId, status, labels, text }),
    [feeds, queries, key],
  );

  // Changes of the cached pages cause no render here: the feed causes one render per frame.
  const query = useInfiniteQuery(
    {
      queryKey,
      queryFn: ({ pageParam, signal }) =>
        client.run.list.query({ ...listInput, ...(pageParam === null ? {} : { cursor: pageParam }) }, { signal }),
      initialPageParam: null as string | null,
      getNextPageParam: (page: RunsPage) => page.nextCursor,
      enabled,
      retry: retryOf(queries),
      staleTime: Number.POSITIVE_INFINITY,
      refetchOnWindowFocus: false,
      refetchOnReconnect: false,
      structuralSharing: false,
      notifyOnChangeProps: ['status', 'error', 'fetchStatus', 'hasNextPage', 'isFetchingNextPage'],
    },
    queries,
  );
  const state = useSyncExternalStore(feed.subscribe, feed.getState, feed.getState);
  const { data, fetchStatus, hasNextPage, isFetchingNextPage } = query;
  const hasList = data !== undefined;
  useEffect(() => (enabled && hasList ? feed.follow() : undefined), [feed, enabled, hasList]);
  // During a fetch, the feed keeps the runs that changed beside the pages. Afterwards it writes them into the pages.
  // biome-ignore lint/correctness/useExhaustiveDependencies: `fetchStatus` changes when a fetch ends.
  useEffect(() => feed.changed(), [feed, fetchStatus]);

  const pages = data?.pages ?? nothing;
  const { runs, newCount } = useMemo(() => feed.listOf(pages, state.overlay), [feed, pages, state.overlay]);
  const { fetchNextPage: fetchNext, refetch } = query;
  // The server looks at a bounded number of runs for a page: a page may be short or empty although there are further runs.
  const last: RunsPage | undefined = pages.at(-1);
  const isShort = hasNextPage && last?.oldest === undefined && (last?.runs.length ?? 0) < (limit ?? DEFAULT_LIMIT);
  const isIncomplete = enabled && isShort && !query.error;
  useEffect(() => {
    if (isIncomplete && !isFetchingNextPage) void fetchNext({ cancelRefetch: false });
  }, [isIncomplete, isFetchingNextPage, fetchNext]);
  const fetchNextPage = useCallback(async () => {
    // cancelRefetch would restart a fetch that is under way.
    if (hasNextPage) await fetchNext({ cancelRefetch: false });
  }, [fetchNext, hasNextPage]);
  const reconnect = useCallback(() => {
    feed.reconnect();
    if (enabled && !hasList) void refetch({ cancelRefetch: false });
  }, [feed, refetch, enabled, hasList]);
  const listError = useMemo(() => (query.error ? runwireErrorOf(query.error) : null), [query.error]);
  const { overlay: _overlay, ...rest } = state;
  return {
    ...rest,
    runs,
    newCount,
    // If the fetch of a further page fails, the loaded pages stay.
    status: !hasList ? query.status : runs.length === 0 && isIncomplete ? 'pending' : 'success',
    error: listError ?? state.error,
    connectionState: enabled && state.connectionState === 'idle' ? 'connecting' : state.connectionState,
    isConnected: state.connectionState === 'connected',
    showNew: feed.showNew,
    hasNextPage,
    isFetchingNextPage,
    fetchNextPage,
    reconnect,
  };
}
