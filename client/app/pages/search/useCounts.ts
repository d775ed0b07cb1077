import { useInfiniteQuery } from '@tanstack/react-query';
import { useEffect, useMemo } from 'react';
import { type UseSearchOptions, useRunwire } from '../../../hooks/index.ts';

/** Counting ends here: larger numbers are shown as `10,000+`. */
export const MAX_COUNTED = 10_000;
/** An answer counts a bounded part of the log. So many answers are requested at most. */
const MAX_PAGES = 20;
const STALE_MS = 5_000;

export type Counts = {
  total: number;
  types: ReadonlyMap<string, number>;
  projects: ReadonlyMap<string, number>;
  actors: ReadonlyMap<string, number>;
  /** By the Unix ms at which an hour begins. */
  hours: ReadonlyMap<number, number>;
  /** False while there are further events to count. */
  isComplete: boolean;
};

/** Counts the events that a search finds, up to 10,000. `isStopped` requests no further answers. */
export function useCounts(options: UseSearchOptions, enabled: boolean, isStopped: boolean): Counts | undefined {
  const { client, queryKey, has } = useRunwire();
  const { limit: _, enabled: __, ...filter } = options;
  const input = {
    ...filter,
    types: filter.types && [...filter.types],
    projectId: filter.projectId === undefined ? undefined : [filter.projectId].flat(),
    actor: filter.actor === undefined ? undefined : [filter.actor].flat(),
  };
  const { data, hasNextPage, isFetching, error, fetchNextPage } = useInfiniteQuery({
    queryKey: queryKey('facets', input),
    queryFn: ({ pageParam, signal }) => client.event.facets.query({ ...input, cursor: pageParam }, { signal }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
    enabled,
    staleTime: STALE_MS,
    placeholderData: (previous, query) => (query && has(query) ? previous : undefined), // Not another user's.
  });
  const counts = useMemo(() => {
    if (!data) return undefined;
    const sum = { types: new Map(), projects: new Map(), actors: new Map(), hours: new Map<number, number>() };
    let total = 0;
    for (const page of data.pages) {
      total += page.total;
      for (const name of ['types', 'projects', 'actors'] as const) {
        for (const { value, count } of page[name]) sum[name].set(value, (sum[name].get(value) ?? 0) + count);
      }
      for (const { at, count } of page.hours)
        sum.hours.set(Date.parse(at), (sum.hours.get(Date.parse(at)) ?? 0) + count);
    }
    return { ...sum, total };
  }, [data]);
  const isShort = hasNextPage && (counts?.total ?? 0) < MAX_COUNTED && (data?.pages.length ?? 0) < MAX_PAGES;
  useEffect(() => {
    if (enabled && isShort && !isStopped && !isFetching && !error) void fetchNextPage({ cancelRefetch: false });
  }, [enabled, isShort, isStopped, isFetching, error, fetchNextPage]);
  return useMemo(() => counts && { ...counts, isComplete: !hasNextPage }, [counts, hasNextPage]);
}
