/**
 * The package entry `runwire/events`: schemas and types of events, the fold (computes a run from its events), builders
 * for the fields of a user's own event types, errors, and the signals of a subscription.
 */
export { errorTable } from './error-table.ts';
export {
  type DecidedOutcome,
  type DraftIssue,
  type ErrorCode,
  type EvidenceChange,
  type EvidenceState,
  RunwireError,
} from './errors.ts';
export { type EventTable, foldOf, runwireTable, type TableOf } from './event-table.ts';
export {
  AnyWebSocketEventSchema,
  type ApprovalDeniedEvent,
  ApprovalDeniedEventSchema,
  type ApprovalGrantedEvent,
  ApprovalGrantedEventSchema,
  type ArtifactCreatedEvent,
  ArtifactCreatedEventSchema,
  EventCategories,
  type EventCategory,
  foldEvent,
  type GovernanceRequiredEvent,
  GovernanceRequiredEventSchema,
  isValidWebSocketEvent,
  type RunCompletedEvent,
  RunCompletedEventSchema,
  type RunCreatedEvent,
  RunCreatedEventSchema,
  type RunEvent,
  type RunEventDraft,
  RunEventDraftSchema,
  type RunEventType,
  type RunFailedEvent,
  RunFailedEventSchema,
  type RunStartedEvent,
  RunStartedEventSchema,
  type RunwireEvents,
  runwireEvents,
  type StageCompletedEvent,
  StageCompletedEventSchema,
  type StageFailedEvent,
  StageFailedEventSchema,
  type StageProgressEvent,
  StageProgressEventSchema,
  type StageStartedEvent,
  StageStartedEventSchema,
} from './events.ts';
export * as field from './fields.ts';
export { closeCodes, type GapReason, isSignal, type StreamSignal } from './protocol.ts';
export {
  type CategoryOf,
  type CheckedDraftOf,
  categoriesOf,
  type DraftOf,
  defineEvent,
  draftSchemaOf,
  type EventOf,
  eventSchemaOf,
  type LoggedEnvelope,
  type Registry,
  type TypeIn,
  type TypeOf,
} from './registry.ts';
export type {
  Approval,
  ApprovalStatus,
  Artifact,
  Attempt,
  Decision,
  Failure,
  RunHeader,
  RunRows,
  RunStatus,
  RunView,
  Stage,
  StageStatus,
} from './run.ts';
export { RunMemory } from './run-memory.ts';
