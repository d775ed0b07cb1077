import type { ReactNode } from 'react';
import { checkTable, type TableOf } from '../../shared/event-table.ts';
import type { DraftOf, Registry } from '../../shared/registry.ts';
import type { Runwire, RunwireClient } from '../connection/runwire.ts';
import { type RunwireScope, useRunwire } from './context.ts';
import { type RunwireProviderProps, ScopeProvider } from './provider.tsx';
import { useApproval } from './useApproval.ts';
import { useApprovals } from './useApprovals.ts';
import { useConnection } from './useConnection.ts';
import { type UsePublishReturn, usePublish } from './usePublish.ts';
import { useRun } from './useRun.ts';
import { useRunAt } from './useRunAt.ts';
import { useRunCounts } from './useRunCounts.ts';
import { type UseRunEvents, useRunEvents } from './useRunEvents.ts';
import { useRuns } from './useRuns.ts';
import { type UseSearch, useSearch } from './useSearch.ts';
import { useSuspenseRun } from './useSuspenseRun.ts';
import { useSuspenseRuns } from './useSuspenseRuns.ts';

export type ProviderPropsOf<R extends Registry> = Omit<RunwireProviderProps, 'client'> & {
  /** See {@link RunwireProviderProps}. */
  client?: Runwire<R> | undefined;
};

/** The provider and the hooks of `runwire/hooks`, typed by a registry. */
export type RunwireHooks<R extends Registry> = {
  RunwireProvider(props: ProviderPropsOf<R>): ReactNode;
  useRunwire(): Omit<RunwireScope, 'client'> & { client: RunwireClient<R> };
  useRunEvents: UseRunEvents<R>;
  useRun: typeof useRun;
  useRunAt: typeof useRunAt;
  useRunCounts: typeof useRunCounts;
  useRuns: typeof useRuns;
  useSuspenseRun: typeof useSuspenseRun;
  useSuspenseRuns: typeof useSuspenseRuns;
  useApproval: typeof useApproval;
  useApprovals: typeof useApprovals;
  useSearch: UseSearch<R>;
  usePublish(): UsePublishReturn<DraftOf<R>>;
  useConnection: typeof useConnection;
};

/**
 * Returns the provider and the hooks for an application's registry of event types. Only the provider differs at run time: it
 * brings the categories and the folds of the types. Call it once, outside of components.
 *
 * `events` is the registry, or a table of categories and folds (`runwireTable` and one entry for each own type), with the
 * type of the registry as type argument: such an app needs no zod.
 *
 * Throws a `RunwireError` with the code `INVALID_INPUT` for a registry that a server would refuse.
 */
export function createRunwireHooks<R extends Registry>(events: R | TableOf<R>): RunwireHooks<R> {
  checkTable(events);
  const RunwireProvider = (props: RunwireProviderProps) => <ScopeProvider {...props} events={events} />;
  const hooks = {
    RunwireProvider,
    useRunwire,
    useRunEvents,
    useRun,
    useRunAt,
    useRunCounts,
    useRuns,
    useSuspenseRun,
    useSuspenseRuns,
    useApproval,
    useApprovals,
    useSearch,
    usePublish,
    useConnection,
  };
  return hooks as unknown as RunwireHooks<R>;
}
