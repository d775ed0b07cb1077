import { useSuspenseQuery } from '@tanstack/react-query';
import { RunwireError } from '../../shared/errors.ts';
import type { RunView } from '../../shared/run.ts';
import { fetchRun } from '../connection/fetch-run.ts';
import { runwireErrorOf } from '../errors.ts';
import { useRunwire } from './context.ts';
import { suspenseOptions } from './suspense-options.ts';
import { type UseRunOptions, type UseRunReturn, useRun } from './useRun.ts';

/**
 * As `useRun`, but the component suspends until the run is loaded, and throws a `RunwireError` to the error boundary if there
 * is none. Above the provider must be a `QueryClientProvider`: the component may be discarded with a Suspense boundary
 * above the provider, and the cache must outlive it.
 */
export function useSuspenseRun({
  runId,
  projectId,
}: Pick<UseRunOptions, 'runId' | 'projectId'>): Omit<UseRunReturn, 'run'> & { run: RunView } {
  const { client, queries, queryKey } = useRunwire();
  useSuspenseQuery(
    {
      queryKey: queryKey('run', { runId, projectId }),
      queryFn: ({ signal }) =>
        fetchRun(client, { runId, projectId }, signal).catch((error) => Promise.reject(runwireErrorOf(error))),
      ...suspenseOptions,
    },
    queries,
  );
  const result = useRun({ runId, projectId });
  if (result.run === undefined) throw result.error ?? new RunwireError('RUN_NOT_FOUND', 'the run does not exist');
  return result as Omit<UseRunReturn, 'run'> & { run: RunView };
}
