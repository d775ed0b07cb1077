import { type SkipToken, skipToken, useInfiniteQuery } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo } from 'react';
import type { RunwireError } from '../../shared/errors.ts';
import type { RunEvent, RunwireEvents } from '../../shared/events.ts';
import type { EventOf, Registry, TypeOf } from '../../shared/registry.ts';
import { runwireErrorOf } from '../errors.ts';
import { isRetryable, retryOptions } from '../feeds/subscription.ts';
import { useRunwire } from './context.ts';

/** Options of `useSearch`: the query of `event.search`, and the size of a page. */
export type UseSearchOptions<T extends string = TypeOf<RunwireEvents>> = {
  /** Words and quoted phrases. An event must contain all of them. The last word also matches longer words. */
  text?: string | undefined;
  /** A project, or several of which an event has one. */
  projectId?: string | readonly string[] | undefined;
  runId?: string | undefined;
  types?: readonly T[] | undefined;
  /** The publisher of the event, or several. */
  actor?: string | readonly string[] | undefined;
  /** Instants (ISO 8601) that `recordedAt` is compared with: from `since`, before `until`. */
  since?: string | undefined;
  until?: string | undefined;
  /** Events per page, at most 500; default 50. */
  limit?: number | undefined;
  /** `false` sends no query; default true. */
  enabled?: boolean | undefined;
};

/** Result of `useSearch`: the events found, and the pages. */
export type UseSearchReturn<E = RunEvent> = {
  /** The events found, newest first. While a new search is loading, these are the events of the previous one. */
  events: readonly E[];
  /** Returns the name of the run of an event found. */
  runNameOf(event: { projectId: string; runId: string }): string;
  /** `pending`: no result yet. `success`: `events` is a result. `error`: `error` states why there is none. */
  status: 'pending' | 'success' | 'error';
  error: RunwireError | null;
  isFetching: boolean;
  /** True while `events` belongs to the previous options. */
  isPrevious: boolean;
  hasNextPage: boolean;
  /** While there is a next page: the instant that the search has come to, in whole minutes. */
  searchedTo: string | null;
  isFetchingNextPage: boolean;
  /** Loads the next page. Does nothing without a next page. */
  fetchNextPage(): Promise<void>;
  /** Searches again. */
  refetch(): Promise<void>;
};

const DEFAULT_LIMIT = 50;
const MAX_RETRIES = 3;
/** A result is kept without a new request for this long. The index may lag the log by a second. */
const STALE_MS = 5_000;

/** `useSearch` for the event types of a registry. */
export type UseSearch<R extends Registry> = <const T extends TypeOf<R> = TypeOf<R>>(
  options: UseSearchOptions<T> | SkipToken,
) => UseSearchReturn<EventOf<R, T>>;

/**
 * Searches the text of events, newest first and in pages. The server scans a bounded part of the log for a page, so the
 * hook requests pages until it has `limit` events or the log ends.
 */
export const useSearch: UseSearch<RunwireEvents> = (options) => {
  const isSkipped = options === skipToken;
  const {
    enabled = true,
    types,
    projectId,
    actor,
    limit,
    ...filter
  } = (isSkipped ? { enabled: false } : options) as UseSearchOptions;
  const { client, queries, queryKey, has } = useRunwire();
  const input = { ...filter, types: types && [...types], projectId: copied(projectId), actor: copied(actor), limit };
  const query = useInfiniteQuery(
    {
      queryKey: queryKey('search', input),
      queryFn: ({ pageParam, signal }) => client.event.search.query({ ...input, cursor: pageParam }, { signal }),
      initialPageParam: null as string | null,
      getNextPageParam: (page) => page.nextCursor,
      enabled,
      staleTime: STALE_MS,
      placeholderData: (previous, query) => (query && has(query) ? previous : undefined), // Not another user's.
      ...retryOptions,
      retry: (count, error) => count < MAX_RETRIES && isRetryable(error),
    },
    queries,
  );
  const { data, hasNextPage, isFetching, isFetchingNextPage, isPlaceholderData, fetchNextPage: fetchNext } = query;
  const events = useMemo(() => data?.pages.flatMap((page) => page.events as RunEvent[]) ?? [], [data]);
  const names = useMemo(() => {
    const runs = data?.pages.flatMap((page) => page.runs ?? []) ?? [];
    return new Map(runs.map(({ projectId, runId, name }) => [`${projectId} ${runId}`, name]));
  }, [data]);
  const runNameOf = useCallback(
    ({ projectId, runId }: { projectId: string; runId: string }) => names.get(`${projectId} ${runId}`) ?? runId,
    [names],
  );
  const hasMore = enabled && hasNextPage && !isPlaceholderData && !query.error;
  const isShort = hasMore && events.length < (limit ?? DEFAULT_LIMIT);
  useEffect(() => {
    if (isShort && !isFetching) void fetchNext({ cancelRefetch: false });
  }, [isShort, isFetching, fetchNext]);
  const error = useMemo(() => (query.error ? runwireErrorOf(query.error) : null), [query.error]);
  const fetchNextPage = useCallback(async () => {
    if (hasNextPage) await fetchNext({ cancelRefetch: false });
  }, [fetchNext, hasNextPage]);
  const { refetch: again } = query;
  const refetch = useCallback(async () => void (await again()), [again]);
  return {
    events: events as never[],
    runNameOf,
    status: query.status === 'success' && isShort && events.length === 0 ? 'pending' : query.status,
    error,
    isFetching,
    isPrevious: isPlaceholderData,
    hasNextPage,
    searchedTo: data?.pages.at(-1)?.searchedTo ?? null,
    isFetchingNextPage,
    fetchNextPage,
    refetch,
  };
};

const copied = (values: string | readonly string[] | undefined) => (typeof values === 'object' ? [...values] : values);
