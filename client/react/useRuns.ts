import { hashKey, useQueryClient } from '@tanstack/react-query';
import { getQueryKey } from '@trpc/react-query';
import { useCallback, useEffect, useMemo, useSyncExternalStore } from 'react';
import type { RunHeader } from '../../shared/run.ts';
import type { RunFilter } from '../../shared/run-filter.ts';
import { RunsFeed, type RunsFeedState } from '../feeds/runs-feed.ts';
import { trpc, useRunwire } from './context.ts';

export type UseRunsOptions = Omit<RunFilter, 'since' | 'until'> & {
  /** Runs a page, at most 500; default 50. */
  limit?: number | undefined;
  /** False holds the query and the subscription back; default true. */
  enabled?: boolean | undefined;
};

export type UseRunsReturn = Omit<RunsFeedState, 'overlay'> & {
  /** Newest first. A run that did not change is the same object as before. */
  runs: readonly RunHeader[];
  /** `pending`: no list yet; `success`: there is one; `error`: there is none, for the reason in `error`. */
  status: 'pending' | 'success' | 'error';
  isConnected: boolean;
  /** Runs that belong into the list and wait, so that nothing moves under a reader's hands. */
  newCount: number;
  /** Puts them into the list. */
  showNew(): void;
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  /** Does nothing while a page is being fetched, or there are no more. */
  fetchNextPage(): Promise<void>;
  /** Follows on after an error; where the connection itself is down, tries that now. */
  reconnect(): void;
};

const nothing: readonly never[] = [];

/**
 * Runs, newest first and page by page, that change in place as they run. What matches the filter no more leaves; what is
 * new waits for `showNew()`. React Query's pages of `trpc.run.list` are patched along, and fetched again only after a gap.
 * Each hook has a subscription of its own, for headers of changed runs.
 */
export function useRuns({ enabled = true, ...input }: UseRunsOptions = {}): UseRunsReturn {
  const { feeds } = useRunwire();
  const queries = useQueryClient();
  const { projectId, status, labels, text, limit } = input;
  const listInput = {
    projectId,
    status: status && [...status],
    labels,
    text: text || undefined,
    ...(limit === undefined ? {} : { limit }),
  };
  const queryKey = getQueryKey(trpc.run.list, listInput, 'infinite');
  const key = hashKey(queryKey);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key stands for the options.
  const feed = useMemo(
    () => new RunsFeed(feeds, queries, queryKey, { projectId, status, labels, text }),
    [feeds, queries, key],
  );

  // Patches render nothing here: that is done once a frame, by the feed.
  const query = trpc.run.list.useInfiniteQuery(listInput, {
    enabled,
    getNextPageParam: (page) => page.nextCursor,
    staleTime: Number.POSITIVE_INFINITY,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
    structuralSharing: false,
    notifyOnChangeProps: ['status', 'error', 'fetchStatus', 'hasNextPage', 'isFetchingNextPage'],
  });
  const state = useSyncExternalStore(feed.subscribe, feed.getState, feed.getState);
  const { data, fetchStatus, hasNextPage, isFetchingNextPage } = query;
  const hasList = data !== undefined;
  useEffect(() => (enabled && hasList ? feed.follow() : undefined), [feed, enabled, hasList]);
  // What was kept beside the pages while one was fetched goes into them.
  // biome-ignore lint/correctness/useExhaustiveDependencies: what is looked at is the end of a fetch.
  useEffect(() => feed.changed(), [feed, fetchStatus]);

  const pages = data?.pages ?? nothing;
  const { runs, newCount } = useMemo(() => feed.listOf(pages, state.overlay), [feed, pages, state.overlay]);
  const { fetchNextPage: fetchNext, refetch } = query;
  const fetchNextPage = useCallback(async () => {
    // Asked for again while it is under way, it would begin anew.
    if (hasNextPage) await fetchNext({ cancelRefetch: false });
  }, [fetchNext, hasNextPage]);
  const reconnect = useCallback(() => {
    feed.reconnect();
    if (enabled && !hasList) void refetch({ cancelRefetch: false });
  }, [feed, refetch, enabled, hasList]);
  const { overlay: _overlay, ...rest } = state;
  return {
    ...rest,
    runs,
    newCount,
    // A further page that could not be fetched leaves those that are there.
    status: hasList ? 'success' : query.status,
    error: (query.error as Error | null) ?? state.error,
    connectionState: enabled && state.connectionState === 'idle' ? 'connecting' : state.connectionState,
    isConnected: state.connectionState === 'connected',
    showNew: feed.showNew,
    hasNextPage,
    isFetchingNextPage,
    fetchNextPage,
    reconnect,
  };
}
