import type { Approval, RunHeader } from '../../../shared/run.ts';
import type { RunFilter } from '../../../shared/run-filter.ts';

export type RunQuery = RunFilter & {
  /** Only projects for which this holds. */
  canRead: (projectId: string) => boolean;
  /** Only runs with a pending approval for which this holds. */
  hasPending?: ((approval: Approval) => boolean) | undefined;
  limit: number;
  /** Stops the search between two slices. */
  signal?: AbortSignal | undefined;
  /** Key of the last run of the page before. */
  after?: RunKey | undefined;
};

export type RunKey = { createdAt: string; rowId: number };
export type ChangeQuery = { after: number; projectId?: string | undefined; limit: number };
export type RunPage = {
  runs: RunHeader[];
  next?: RunKey;
  /** Where the log was when the page began: what changed after it may be missing from the page. */
  position: number;
};
