/**
 * The package entry `runwire/tanstack`: the hooks of `runwire/hooks`, and tRPC's integration with TanStack Query typed by
 * the server's router.
 */

export type * from '../hooks/index.ts';
// Next.js allows no `export *` of values in a client module.
export {
  createRunwireHooks,
  EventPositionsBuilder,
  errorTable,
  eventMatcher,
  RunwireError,
  runStatuses,
  runwireErrorOf,
  useApproval,
  useApprovals,
  useConnection,
  usePublish,
  useRun,
  useRunAt,
  useRunCounts,
  useRunEvents,
  useRuns,
  useRunwire,
  useSearch,
  useSuspenseRun,
  useSuspenseRuns,
} from '../hooks/index.ts';
export { createRunwireTanstack, RunwireProvider, type RunwireTanstack, useTRPC, useTRPCClient } from './trpc.tsx';
