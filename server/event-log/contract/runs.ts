import type { Approval, RunHeader, RunView } from '../../../shared/run.ts';
import type { RunFilter } from '../../../shared/run-filter.ts';

export type RunQuery = RunFilter & {
  /** Only runs of projects for which this returns true. */
  canRead: (projectId: string) => boolean;
  /** Only runs with a pending approval for which this returns true. */
  hasPending?: ((approval: Approval) => boolean) | undefined;
  limit: number;
  /** On abort, the call returns what it has found so far. */
  signal?: AbortSignal | undefined;
  /** `next` of the previous page. */
  after?: RunKey | undefined;
};

/** Position of a run in the list. `rowId` orders runs with the same `createdAt`. */
export type RunKey = { createdAt: string; rowId: number };
export type RunPage = {
  runs: RunHeader[];
  /** Absent at the end of the list. */
  next?: RunKey;
  /** Head of the log before the page was read: changes after this position may be missing from the page. */
  position: number;
};

export type ChangeQuery = {
  /** Position in the log: only runs with a greater `lastSeq` (the position of their last event). */
  after: number;
  projectId?: string | undefined;
  limit: number;
};
/**
 * All runs with `after < lastSeq <= scannedTo`. The next call continues after `scannedTo`, which is the head of the log
 * when the call has reached the end.
 */
export type ChangePage = {
  runs: RunHeader[];
  /** Of the row at `lastSeq` of each run, as `Log.hashPrefixesAt` returns it. */
  hashPrefixes: (string | undefined)[];
  scannedTo: number;
};

/**
 * The state of every run, computed from its events.
 *
 * - A run's header, stages, artifacts and approvals MUST change in the transaction that logs the event. The cost MUST NOT
 *   grow with the size of the run.
 * - A run MUST stay when its events are trimmed. Only `remove` removes it.
 */
export interface RunStore {
  /**
   * Returns the state of a run and a position in the log, read at the same moment: the state includes every event up to
   * this position. Undefined for an unknown run.
   */
  get(projectId: string, runId: string): Promise<{ run: RunView; position: number } | undefined>;

  /**
   * Lists headers (runs without their stages, artifacts and approvals), newest `createdAt` first. A run that is created
   * between two pages MUST NOT make the next page repeat or skip another run.
   */
  list(query: RunQuery): Promise<RunPage>;

  /** Returns the headers of the runs that changed after a position, in the order of their last event. */
  changedSince(query: ChangeQuery): Promise<ChangePage>;

  /**
   * Returns the projects that have a run with this id. With `among`, only projects of this list, in its order. Then the
   * store MUST NOT read runs of other projects: otherwise the response time would reveal that such a run exists.
   */
  projectsOf(runId: string, among?: readonly string[]): Promise<string[]>;

  /**
   * Removes the runs that ended before an instant (ISO 8601 UTC) and have no event left, with their stages and artifacts,
   * and the erasures of trimmed events from before that instant. A run with a pending approval MUST stay. The approvals
   * of a removed run MUST stay in `ApprovalStore.list`. A later event of a removed run begins a new run.
   */
  remove(endedBefore: string): Promise<{ removed: number }>;
}
