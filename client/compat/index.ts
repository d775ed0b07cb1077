'use client';

/** The package entry `runwire/compat/react`: the former WebSocket event system's hook and types (docs/migrating.md). */

export type {
  AnyWebSocketEvent,
  ApprovalDeniedEvent,
  ApprovalGrantedEvent,
  ArtifactCreatedEvent,
  GovernanceRequiredEvent,
  RunCompletedEvent,
  RunCreatedEvent,
  RunFailedEvent,
  RunStartedEvent,
  StageCompletedEvent,
  StageFailedEvent,
  StageProgressEvent,
  StageStartedEvent,
} from '../../shared/compat-events.ts';
export type { EventHandler } from './handlers.ts';
export { ConnectionState, type UseRunEventsOptions, type UseRunEventsReturn, useRunEvents } from './useRunEvents.ts';
