import type { Approval, ApprovalStatus } from '../../../shared/run.ts';
import type { Caller } from '../../slices.ts';
import type { Projects } from './search.ts';

export type RunKey = { projectId: string; runId: string };

/** An approval and its run. */
export type StoredApproval = {
  projectId: string;
  runId: string;
  /** True once the run has completed or failed. */
  isRunOver: boolean;
  approval: Approval;
};

export type ApprovalQuery = Caller & {
  /** Only approvals of these projects. */
  projects: Projects;
  status?: readonly ApprovalStatus[] | undefined;
  /** Only approvals for which this function returns true. */
  matches?: ((approval: StoredApproval) => boolean) | undefined;
  /** `next` of the previous page: only approvals that were requested at a lower `seq` (position in the log). */
  after?: number | undefined;
  limit: number;
};

/** `next` is absent at the end of the list. A page may be short or empty and still have `next`. */
export type ApprovalPage = { approvals: StoredApproval[]; next?: number };

/**
 * The approvals of all runs, computed from the events. An event changes its approval in the transaction that logs the
 * event.
 */
export interface ApprovalStore {
  get(projectId: string, runId: string, approvalId: string, caller?: Caller): Promise<StoredApproval | undefined>;

  /**
   * Lists approvals, the newest request first. An approval that is requested between two pages MUST NOT make the next page
   * repeat or skip another approval. After a bounded amount of work, the store MUST return what it has found.
   */
  list(query: ApprovalQuery): Promise<ApprovalPage>;

  /**
   * Returns at most `limit` pending approvals: of `endedRuns` those of the named runs that have ended; or with `expiring`
   * those of all runs that have an `expiresAt`, the earliest `expiresAt` first. The cost MUST NOT grow with the number of
   * decided approvals, nor with the pending ones of other runs.
   */
  pending(of: { endedRuns: readonly RunKey[] } | 'expiring', limit: number): Promise<StoredApproval[]>;
}
