'use client';

/** The package entry `runwire/hooks`: the provider and the hooks for runs and events. */

export { errorTable } from '../../shared/error-table.ts';
export {
  type ErrorCode,
  type EvidenceChange,
  type EvidenceState,
  RunwireError,
} from '../../shared/errors.ts';
export { type EventFilter, eventMatcher } from '../../shared/event-filter.ts';
export { type EventPositions, EventPositionsBuilder, type ProgressStretch } from '../../shared/event-positions.ts';
export type { EventCategory, RunEvent, RunEventDraft, RunEventType } from '../../shared/events.ts';
export type { AppRouter } from '../../shared/router.ts';
export {
  type Approval,
  type ApprovalBox,
  type ApprovalCounts,
  type Artifact,
  type Attempt,
  type CannotDecide,
  type RunHeader,
  type RunStatus,
  type RunView,
  runStatuses,
  type Stage,
  type StageStatus,
} from '../../shared/run.ts';
export type { ConnectionState } from '../connection/reconnect-policy.ts';
export type { TokenSource } from '../connection/token-cache.ts';
export { runwireErrorOf } from '../errors.ts';
export type { ApprovalKey, DecisionInput, InboxApproval } from '../feeds/decisions.ts';
export type { EventOfCategory, EventOfType } from '../feeds/handlers.ts';
export type { RunFeedScope } from '../feeds/query.ts';
export type { RunCounts } from '../feeds/run-counts.ts';
export type { Gap, RunFeedPhase } from '../feeds/subscription.ts';
export { type RunwireScope, useRunwire } from './context.ts';
export { createRunwireHooks, type RunwireHooks } from './create-hooks.tsx';
export { RunwireProvider, type RunwireProviderProps } from './provider.tsx';
export { type UseApprovalReturn, useApproval } from './useApproval.ts';
export { type UseApprovalsOptions, type UseApprovalsReturn, useApprovals } from './useApprovals.ts';
export { type UseConnectionOptions, type UseConnectionReturn, useConnection } from './useConnection.ts';
export { type UsePublishReturn, usePublish } from './usePublish.ts';
export { type UseRunOptions, type UseRunReturn, useRun } from './useRun.ts';
export { type UseRunAtOptions, type UseRunAtReturn, useRunAt } from './useRunAt.ts';
export { type UseRunCountsOptions, type UseRunCountsReturn, useRunCounts } from './useRunCounts.ts';
export { type UseRunEventsOptions, type UseRunEventsReturn, useRunEvents } from './useRunEvents.ts';
export { type UseRunsOptions, type UseRunsReturn, useRuns } from './useRuns.ts';
export { type UseSearchOptions, type UseSearchReturn, useSearch } from './useSearch.ts';
export { useSuspenseRun } from './useSuspenseRun.ts';
export { useSuspenseRuns } from './useSuspenseRuns.ts';
