import type { Approval, ApprovalStatus } from '../../../shared/run.ts';

/** An approval, and the run that it belongs to. */
export type StoredApproval = {
  projectId: string;
  runId: string;
  /** Whether the run has completed or failed. */
  isRunOver: boolean;
  approval: Approval;
};

export type ApprovalQuery = {
  /** Only projects for which this holds. */
  canRead: (projectId: string) => boolean;
  status?: readonly ApprovalStatus[] | undefined;
  /** `next` of the page before: requests with a lower `seq`. */
  after?: number | undefined;
  limit: number;
  /** Stops the search between two slices. */
  signal?: AbortSignal | undefined;
};

/** `next` is there when there is more. */
export type ApprovalPage = { approvals: StoredApproval[]; next?: number };
