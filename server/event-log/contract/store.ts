import type { AccessLog } from './access.ts';
import type { ApprovalStore } from './approvals.ts';
import type { Integrity } from './integrity.ts';
import type { Log } from './log.ts';
import type { Nodes } from './nodes.ts';
import type { Outbox } from './outbox.ts';
import type { ProducerState } from './producer-state.ts';
import type { Revocations } from './revocations.ts';
import type { RunStore } from './runs.ts';
import type { EventSearch } from './search.ts';
import type { SessionStore } from './sessions.ts';
import type { WebhookStore } from './webhooks.ts';

/**
 * A store: the event log, the data computed from it (runs, approvals, search index), and the data beside it (access log,
 * revocations, sessions), and the nodes that share it. Each contract is one file of this folder; its tests are in the file of the same name in `conformance/`. Why
 * members and not one flat interface: docs/decisions/010.
 *
 * - No method may hold the event loop for long: a store splits its work into slices of at most 5 ms.
 * - If the storage fails, a method MUST reject with `UNAVAILABLE`.
 * - If a function of the caller (fold, check, tombstone) throws, the method MUST reject with the error if it is a
 *   `RunwireError`, otherwise with `INTERNAL`: a retry would fail the same way.
 */
export interface EventLog extends Log {
  readonly runs: RunStore;
  readonly approvals: ApprovalStore;
  readonly search: EventSearch;
  readonly access: AccessLog;
  readonly revocations: Revocations;
  readonly sessions: SessionStore;
  readonly integrity: Integrity;
  readonly producerState: ProducerState;
  readonly webhooks: WebhookStore;
  readonly nodes: Nodes;
  /** Absent where programs have no transactions of their own in the store. */
  readonly outbox?: Outbox | undefined;

  /**
   * Commits all batches that `append` was called with, then releases every resource, and every lease of this node. Later
   * calls MUST reject with `UNAVAILABLE`.
   */
  close(): Promise<void>;
}
