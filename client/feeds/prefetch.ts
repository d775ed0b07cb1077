import { objectOf } from '../../shared/errors.ts';
import { fetchRun } from '../connection/fetch-run.ts';
import { queryKeyOf } from '../connection/query-key.ts';
import type { Runwire } from '../connection/runwire.ts';
import type { RunsPages } from './merge-runs.ts';
import { type RunsQuery, runsInputOf } from './runs-query.ts';

/** The methods of React Query's `QueryClient` that fill its cache. */
type QueryCache = {
  getQueryData(queryKey: readonly unknown[]): unknown;
  setQueryData(queryKey: readonly unknown[], data: unknown, options: { updatedAt: number }): unknown;
};

/**
 * Fetches a run into React Query's cache, for a loader or a server component. `useRun` then shows it at its first render, and
 * subscribes after its cursor, so no event is missed. Data that is in the cache already stays: a hook may have it up to date.
 * Rejects with an error of tRPC, for example `RUN_NOT_FOUND`.
 *
 * The `url` and the user of `runwire` must be those of the `RunwireProvider`: a string token states its user, and otherwise
 * the option `identity` does.
 */
export async function prefetchRun(
  queryClient: QueryCache,
  runwire: Runwire,
  run: { runId: string; projectId?: string | undefined },
): Promise<void> {
  objectOf(queryClient, 'queryClient');
  const { client, connection } = objectOf(runwire, 'runwire');
  const { runId, projectId } = objectOf(run, 'run');
  const snapshot = await fetchRun(client, { runId, projectId });
  const { subject } = connection.getIdentity();
  fill(queryClient, queryKeyOf(connection.server, subject, 'run', { runId, projectId }), snapshot);
}

/** Fetches the first page of `useRuns(query)` into React Query's cache, as {@link prefetchRun} does for a run. */
export async function prefetchRuns(queryClient: QueryCache, runwire: Runwire, query: RunsQuery = {}): Promise<void> {
  objectOf(queryClient, 'queryClient');
  const { client, connection } = objectOf(runwire, 'runwire');
  const input = runsInputOf(objectOf(query, 'query'));
  const page = await client.run.list.query(input);
  const { subject } = connection.getIdentity();
  const pages: RunsPages = { pages: [page], pageParams: [null] };
  fill(queryClient, queryKeyOf(connection.server, subject, 'runs', input), pages);
}

/**
 * `HydrationBoundary` replaces data that is older by the clock. The clock of a server may be ahead, so with its own time,
 * a refresh of the page would replace what a hook has received since. With this time, it only fills empty entries.
 */
const OLDEST_MS = 1;

function fill(queries: QueryCache, queryKey: readonly unknown[], data: unknown): void {
  if (queries.getQueryData(queryKey) === undefined) queries.setQueryData(queryKey, data, { updatedAt: OLDEST_MS });
}
