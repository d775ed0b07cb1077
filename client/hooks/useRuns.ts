import { hashKey, type SkipToken, skipToken } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo } from 'react';
import type { RunwireError } from '../../shared/errors.ts';
import type { RunHeader } from '../../shared/run.ts';
import type { RunsPages } from '../feeds/merge-runs.ts';
import { RunsFeed, type RunsFeedState } from '../feeds/runs-feed.ts';
import { type RunsQuery, runsInputOf } from '../feeds/runs-query.ts';
import { useRunwire } from './context.ts';
import { listStateOf } from './list-state.ts';
import { useTracked } from './useTracked.ts';

/** Options of `useRuns`: the filter (all given fields must match) and the size of a page (default 50). */
export type UseRunsOptions = RunsQuery & {
  /** `false` stops the query and the subscription; default true. */
  enabled?: boolean | undefined;
};

/** Result of `useRuns`: the list, the number of new runs that it does not show yet, and the pages. */
export type UseRunsReturn = Omit<RunsFeedState, 'runs' | 'error' | 'status' | 'newCount'> & {
  /** The runs, newest first. An unchanged run is the same object as before. */
  runs: readonly RunHeader[];
  /**
   * `pending`: the list is loading. `success`: `runs` is loaded. `error`: there is no list; `error` states why. A request
   * that the server did not answer is tried again with growing delays, also in the status `error`.
   */
  status: 'pending' | 'success' | 'error';
  /** Why there is no list, or why it is not updated at the moment; null otherwise. */
  error: RunwireError | null;
  isConnected: boolean;
  /** Number of new runs that wait for `showNew()`. They wait so that rows do not move while the user reads the list. */
  newCount: number;
  /** Adds the waiting runs to the list. */
  showNew(): void;
  /** Loads the next page. Does nothing without a next page. If a fetch is under way, waits for that fetch instead. */
  fetchNextPage(): Promise<void>;
  /** Resumes after an error. Reconnects at once if the connection is down. */
  reconnect(): void;
};

const noRuns = { runs: [], newCount: 0, status: 'pending', hasNextPage: false } as const;

const listOf = ({ pages }: RunsPages) => ({
  runs: pages.flatMap((page) => page.runs),
  status: 'success' as const,
  hasNextPage: pages.at(-1)?.nextCursor !== undefined,
});

/**
 * Returns runs, newest first and in pages, and updates them in place. A run that no longer matches the filter is removed
 * from the list. A new run waits for `showNew()`. With `skipToken` in place of the options, the hook is idle.
 *
 * The pages are in React Query's cache. They are fetched again only after a gap (changes that the server could not
 * deliver). Each hook has its own subscription to `onRunSummary`. The component renders only after a change of a field that
 * it reads.
 */
export function useRuns(options: UseRunsOptions | SkipToken = {}): UseRunsReturn {
  const isSkipped = options === skipToken;
  const { enabled = !isSkipped, ...query } = isSkipped ? ({} as UseRunsOptions) : options;
  const { feeds, queries, queryKey: keyFor, renderedData } = useRunwire();
  const queryKey = keyFor('runs', runsInputOf(query));
  const key = hashKey(queryKey);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key represents the options.
  const feed = useMemo(() => new RunsFeed(feeds, queries, queryKey, query), [feeds, queries, key]);

  const resultOf = useCallback(
    (state: RunsFeedState): UseRunsReturn => {
      const { showNew, fetchNextPage, reconnect } = feed;
      const shown = isSkipped ? { ...state, ...noRuns } : state;
      return { ...listStateOf(shown, enabled), showNew, fetchNextPage, reconnect };
    },
    [feed, enabled, isSkipped],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key represents the query key.
  const renderedResult = useCallback(() => {
    const rendered = renderedData(queryKey) as RunsPages | undefined;
    if (rendered === queries.getQueryData(queryKey)) return undefined;
    return resultOf({ ...feed.getState(), ...(rendered ? listOf(rendered) : noRuns) });
  }, [feed, queries, key, renderedData, resultOf]);
  const result = useTracked(feed, resultOf, undefined, renderedResult);
  // This effect comes after the subscription of the state, so that at unmount React removes the listener first.
  useEffect(() => (enabled ? feed.follow() : undefined), [feed, enabled]);
  return result;
}
