import type { Approval, RunHeader, RunView } from '../../../shared/run.ts';
import type { RunFilter } from '../../../shared/run-filter.ts';

export type RunQuery = RunFilter & {
  /** Only projects for which this returns true. */
  canRead: (projectId: string) => boolean;
  /** Only runs with a pending approval for which this returns true. */
  hasPending?: ((approval: Approval) => boolean) | undefined;
  limit: number;
  /** Stops the search between two slices. */
  signal?: AbortSignal | undefined;
  /** `next` of the page before. */
  after?: RunKey | undefined;
};

/** Place of a run in the list. */
export type RunKey = { createdAt: string; rowId: number };
export type RunPage = {
  runs: RunHeader[];
  /** Absent at the end of the list. */
  next?: RunKey;
  /** Head of the log when the page began: later changes may be missing from the page. */
  position: number;
};

export type ChangeQuery = {
  /** Exclusive: only runs with a greater `lastSeq`. */
  after: number;
  projectId?: string | undefined;
  limit: number;
};
/** All changes up to `scannedTo` are in `runs`; `scannedTo` is the head at the end. */
export type ChangePage = { runs: RunHeader[]; scannedTo: number };

/**
 * The runs, folded from their events.
 *
 * - A run's header, stages, artifacts and approvals MUST change in the transaction of the event, at a cost that does not
 *   grow with the run.
 * - Runs MUST outlive the trimming of their events.
 */
export interface RunStore {
  /** The folded run and the position that the view is true at: both of one moment. Undefined for an unknown run. */
  get(projectId: string, runId: string): Promise<{ run: RunView; position: number } | undefined>;

  /** Headers, newest `createdAt` first. A run created between two pages MUST neither repeat nor hide another. */
  list(query: RunQuery): Promise<RunPage>;

  /** Headers of runs that changed after a position, in the order of their last event. */
  changedSince(query: ChangeQuery): Promise<ChangePage>;

  /**
   * Projects that have a run with this id. With `among`, only these projects, in this order: the store MUST NOT read runs
   * of other projects, or the response time would reveal that one exists.
   */
  projectsOf(runId: string, among?: readonly string[]): Promise<string[]>;
}
