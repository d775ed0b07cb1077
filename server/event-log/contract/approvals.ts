import type { Approval, ApprovalStatus, Artifact } from '../../../shared/run.ts';
import type { Caller } from '../../slices.ts';
import type { Decider } from './decider.ts';
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

/** An approval with the artifacts that its `evidence` names, in that order, of the same moment. */
export type ApprovalWithEvidence = StoredApproval & {
  artifacts: Artifact[];
  /** Name of the run; its id if retention has removed the run. */
  runName: string;
};

/**
 * Which approvals are listed, and in which order:
 *
 * - `requested`: all, the newest request first.
 * - `{ askedBy }`: those with this user as `requestedBy` or `requestActor`, the newest request first.
 * - `due`: the pending ones, the earliest `expiresAt` first, then those without one; of equal ones the oldest request first.
 * - `decided`: the granted and the denied ones. `expired`. The newest `decidedAt` first.
 */
export type ApprovalOrder = 'requested' | { askedBy: string } | 'due' | 'decided' | 'expired';

export type ApprovalQuery = Caller & {
  /** Only approvals of these projects. */
  projects: Projects;
  /** Only approvals of the runs of this id. */
  runId?: string | undefined;
  /** Default `requested`. */
  order?: ApprovalOrder | undefined;
  status?: readonly ApprovalStatus[] | undefined;
  /** Only approvals that this user can decide: `cannotDecide` of `decidable.ts` returns no reason. */
  decider?: Decider | undefined;
  /** `next` of the previous page. It is the `seq` (position in the log) of a request, whatever the order. */
  after?: number | undefined;
  limit: number;
};

/** `next` is absent at the end of the list. A page may be short or empty and still have `next`. */
export type ApprovalPage = { approvals: ApprovalWithEvidence[]; next?: number };

/**
 * The approvals of all runs, computed from the events. An event changes its approval in the transaction that logs the
 * event.
 */
export interface ApprovalStore {
  get(projectId: string, runId: string, approvalId: string, caller?: Caller): Promise<ApprovalWithEvidence | undefined>;

  /**
   * Lists approvals. An approval that is requested between two pages MUST NOT make the next page
   * repeat or skip another approval. After a bounded amount of work, the store MUST return what it has found.
   */
  list(query: ApprovalQuery): Promise<ApprovalPage>;

  /**
   * Counts what {@link list} would list on all pages, up to `limit`. After a bounded amount of work, the store MUST return
   * what it has counted.
   */
  count(query: Omit<ApprovalQuery, 'after'>): Promise<number>;

  /**
   * Returns at most `limit` pending approvals: of `endedRuns` those of the named runs that have ended; or with `expiring`
   * those of all runs that have an `expiresAt`, the earliest `expiresAt` first. The cost MUST NOT grow with the number of
   * decided approvals, nor with the pending ones of other runs.
   */
  pending(of: { endedRuns: readonly RunKey[] } | 'expiring', limit: number): Promise<StoredApproval[]>;
}
