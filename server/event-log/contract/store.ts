import type { AccessLog } from './access.ts';
import type { ApprovalStore } from './approvals.ts';
import type { Integrity } from './integrity.ts';
import type { Log } from './log.ts';
import type { Revocations } from './revocations.ts';
import type { RunStore } from './runs.ts';
import type { EventSearch } from './search.ts';

/**
 * A store: the log, and everything that is derived from it or kept beside it. Each contract has a file of the same name
 * here, in `conformance/` and in each store's folder. Why members and not one flat interface: docs/decisions/010.
 *
 * - No method may hold the event loop for long: a store works in slices of at most 5 ms.
 * - A failure of the store MUST reject with `UNAVAILABLE`. An error of a fold, a check or a tombstone that is no
 *   `RunwireError` MUST reject with `INTERNAL`: a second try would fail the same way.
 */
export interface EventLog extends Log {
  readonly runs: RunStore;
  readonly approvals: ApprovalStore;
  readonly search: EventSearch;
  readonly access: AccessLog;
  readonly revocations: Revocations;
  readonly integrity: Integrity;

  /** Makes all accepted batches durable, then releases every resource. Later calls MUST reject with `UNAVAILABLE`. */
  close(): Promise<void>;
}
