import type { Approval, RunHeader, RunStatus } from '../../../shared/run.ts';

export type RunQuery = {
  /** Only projects for which this holds. */
  canRead: (projectId: string) => boolean;
  projectId?: string | undefined;
  status?: readonly RunStatus[] | undefined;
  labels?: Readonly<Record<string, string>> | undefined;
  /** Case-insensitive part of the name or the run id. */
  text?: string | undefined;
  /** Instants, ISO 8601 UTC, on `createdAt`: `since` inclusive, `until` exclusive. */
  since?: string | undefined;
  until?: string | undefined;
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
