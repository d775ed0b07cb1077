import type { RunStatus } from './run.ts';

/** Numbers of runs by status. A cancelled run is counted as `cancelled`, and not as `failed`. */
export type StatusCounts = { [Status in RunStatus | 'cancelled']?: number };

/** How many runs were created in each part of a period, and how many runs have not ended. */
export type RunActivity = {
  /** Counts of the runs that were created in each of the equal parts of the period, oldest first, by their present status. */
  buckets: StatusCounts[];
  /** Counts of all runs that have not ended, whenever they were created. A number stops at 10,000. */
  open: StatusCounts;
  /** False if there are older runs in the period that are not counted: the server counts the newest 20,000. */
  isComplete: boolean;
};
