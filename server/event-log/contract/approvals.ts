import type { Approval, ApprovalStatus } from '../../../shared/run.ts';

/** An approval and its run. */
export type StoredApproval = {
  projectId: string;
  runId: string;
  /** True once the run has completed or failed. */
  isRunOver: boolean;
  approval: Approval;
};

export type ApprovalQuery = {
  /** Only projects for which this returns true. */
  canRead: (projectId: string) => boolean;
  status?: readonly ApprovalStatus[] | undefined;
  /** `next` of the page before: only requests with a lower `seq`. */
  after?: number | undefined;
  limit: number;
  /** Stops the search between two slices. */
  signal?: AbortSignal | undefined;
};

/** `next` is present if and only if there is a further match. */
export type ApprovalPage = { approvals: StoredApproval[]; next?: number };

/** The approvals of all runs, folded from their events in the transaction of the event. */
export interface ApprovalStore {
  get(projectId: string, runId: string, approvalId: string): Promise<Approval | undefined>;

  /** Newest request first. A request made between two pages MUST neither repeat nor hide another. */
  list(query: ApprovalQuery): Promise<ApprovalPage>;

  /**
   * At most `limit` pending approvals of one run, or of all that have an `expiresAt`, the earliest first. The cost MUST NOT
   * grow with the number of decided approvals.
   */
  pending(of: { projectId: string; runId: string } | 'expiring', limit: number): Promise<StoredApproval[]>;
}
