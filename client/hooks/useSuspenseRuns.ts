import { useSuspenseInfiniteQuery } from '@tanstack/react-query';
import { runwireErrorOf } from '../errors.ts';
import type { RunsPage } from '../feeds/merge-runs.ts';
import { type RunsQuery, runsInputOf } from '../feeds/runs-query.ts';
import { useRunwire } from './context.ts';
import { suspenseOptions } from './suspense-options.ts';
import { type UseRunsReturn, useRuns } from './useRuns.ts';

/**
 * As `useRuns`, but the component suspends until the first page is loaded, and throws a `RunwireError` to the error boundary
 * if it cannot be loaded. Needs a `QueryClientProvider` above the provider, as `useSuspenseRun` does.
 */
export function useSuspenseRuns(query: RunsQuery = {}): UseRunsReturn {
  const { client, queries, queryKey } = useRunwire();
  const input = runsInputOf(query);
  useSuspenseInfiniteQuery(
    {
      queryKey: queryKey('runs', input),
      queryFn: ({ pageParam, signal }): Promise<RunsPage> =>
        client.run.list
          .query({ ...input, cursor: pageParam }, { signal })
          .catch((error) => Promise.reject(runwireErrorOf(error))),
      initialPageParam: null as string | null,
      getNextPageParam: (page) => page.nextCursor,
      ...suspenseOptions,
    },
    queries,
  );
  return useRuns(query);
}
