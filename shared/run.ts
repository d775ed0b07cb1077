/**
 * The state of a run, which the fold (`run-fold.ts`) computes from the run's events. `RunView` is the whole state as
 * one object, for clients. `RunRows` is the same state as rows, for the store of the server and the memory of a client.
 */

export const runStatuses = ['created', 'running', 'waiting', 'completed', 'failed'] as const;
/** The status of a run. */
export type RunStatus = (typeof runStatuses)[number];
export const stageStatuses = ['pending', 'running', 'completed', 'failed'] as const;
/** The status of a stage. */
export type StageStatus = (typeof stageStatuses)[number];
export const approvalStatuses = ['pending', 'granted', 'denied', 'expired'] as const;
/** The status of an approval. */
export type ApprovalStatus = (typeof approvalStatuses)[number];
/** An error that a producer reported. */
export type Failure = { message: string; code?: string | undefined; stageId?: string | undefined };

/** A run without its stages, artifacts and approvals. Instants are ISO 8601 UTC; `progress` is 0–100. */
export type RunHeader = {
  runId: string;
  projectId: string;
  name: string;
  status: RunStatus;
  createdAt: string;
  startedAt?: string;
  endedAt?: string;
  durationMs?: number;
  createdBy?: string;
  labels: Record<string, string>;
  parentRunId?: string;
  progress: number;
  currentStageId?: string;
  /** The name of the current stage. It equals `currentStageId` until an event sets the name. */
  currentStageName?: string;
  /** The error of `run.failed`: the words of the run. */
  error?: Failure;
  /**
   * Of a failed run: the error of the stage that `error` names; else, of the last stage that failed for good. Absent if no
   * stage failed.
   */
  stageError?: Failure;
  summary?: string;
  /** Greatest `seq` of the folded events: a position in the log. */
  lastSeq: number;
  /** Greatest `runSeq` of the folded events: a position in the run, counted from 1. */
  lastRunSeq: number;
  counts: {
    stages: number;
    stagesCompleted: number;
    stagesFailed: number;
    artifacts: number;
    approvalsPending: number;
  };
  order: HeaderOrder;
};

/** An item of `onRunSummary`. */
export type RunSummary = RunHeader & {
  /** Whether an approval of the run waits for the caller's decision. Set if the subscription asks for it. */
  needsMyDecision?: boolean;
};

/** A stage of a run: the state of its highest attempt. */
export type Stage = {
  stageId: string;
  name: string;
  status: StageStatus;
  attempt: number;
  progress: number;
  message?: string;
  /** The last reported amounts of `stage.progress`. */
  done?: number;
  total?: number;
  startedAt?: string;
  endedAt?: string;
  durationMs?: number;
  error?: Failure;
  /** When this attempt failed, if a further attempt will follow: the stage is still running. */
  failedAt?: string;
  /** The attempts before this one, by number: at most 20, those with the highest numbers. */
  attempts?: Attempt[];
  order: StageOrder;
};

/** An earlier attempt of a stage. `running`: it has no end, and another attempt began. */
export type Attempt = {
  attempt: number;
  status: 'running' | 'completed' | 'failed';
  startedAt?: string;
  endedAt?: string;
  durationMs?: number;
  /** The first 200 characters of the message. */
  error?: Failure;
  order: Pick<StageOrder, 'status' | 'started'>;
};

/** An artifact of a run. */
export type Artifact = {
  artifactId: string;
  name: string;
  stageId?: string | undefined;
  kind?: string | undefined;
  uri?: string | undefined;
  sizeBytes?: number | undefined;
  sha256?: string | undefined;
  createdAt: string;
  /** `seq`: position in the log of the event that set the row. */
  order: { key: string; seq: number };
};

/** A decision about an approval. */
export type Decision = {
  decidedBy: string;
  /** The `actor` of the decision's event, where it is not `decidedBy`: the producer that reported the decision. */
  actor?: string | undefined;
  decision: 'granted' | 'denied';
  at: string;
  comment?: string | undefined;
  reason?: string | undefined;
  /** Position in the log up to which the decider's view was complete; undefined if the decider stated none. */
  seenSeq?: number | undefined;
  /** Number of the last event of the run at or before `seenSeq`. */
  seenRunSeq?: number | undefined;
};

/** An approval of a run, as `run.get` and the lists have it. */
export type Approval = {
  approvalId: string;
  title: string;
  status: ApprovalStatus;
  decisions: Decision[];
  reason?: string | undefined;
  stageId?: string | undefined;
  requestedBy?: string | undefined;
  /** The `actor` of the event that requested the approval. */
  requestActor: string;
  requestedAt: string;
  decidedAt?: string;
  approvers?: string[] | undefined;
  requiredApprovals: number;
  requiredRole: string;
  expiresAt?: string | undefined;
  evidence?: string[] | undefined;
  authority: 'runwire' | 'producer';
  /** `seq` (position in the log) of the event that requested the approval. */
  order: { seq: number };
};

/**
 * The whole state of a run. Stages are ordered by their place in the plan, then by start; artifacts by creation time;
 * approvals by the `seq` of their request.
 */
export type RunView = RunHeader & { stages: Stage[]; artifacts: Artifact[]; approvals: Approval[] };

// The `order` of a row holds what the fold needs to decide between events, such as the key of the event that set a value
// (`run-fold.ts` explains keys). Users of a view must not read `order`.
type HeaderOrder = {
  /** Timestamp of the run's earliest event. */
  first: string;
  /** Timestamp of the earliest run.created event. */
  created?: string;
  /** Timestamp of the earliest run.started event. */
  started?: string;
  /** Timestamp of the earliest stage event. */
  active?: string;
  /** Key of the run.created event that set the run's name. */
  named?: string;
  /** Key of the event that ended the run. */
  end?: string;
  ended?: 'completed' | 'failed';
  /** Key of the last `stage.failed` that is not retried, and its stage. */
  failed?: [key: string, stageId: string];
  /** The `startKey` (`run-order.ts`) of the current stage. */
  current?: string;
  /** Sum of the progress of all stages, in 1/1000 %. An integer, because a sum of fractions depends on the order. */
  progressSum: number;
};

type StageOrder = {
  /** Key of the event that set the stage's status. */
  status?: string;
  started?: string;
  progress?: [key: string, value: number];
  message?: string;
  done?: string;
  name?: string;
  plan?: [key: string, index: number];
};

/**
 * The rows of one run, in a database or in memory. A row is immutable: a `put` method stores a new row in its place.
 * The only exception is the header, which the fold changes in place during an event.
 */
export interface RunRows {
  header(): RunHeader | undefined;
  /** Stores a copy of the header and its `order`, and returns the copy. The fold may change the copy in place. */
  ownHeader(): RunHeader | undefined;
  stage(stageId: string): Stage | undefined;
  artifact(artifactId: string): Artifact | undefined;
  approval(approvalId: string): Approval | undefined;
  putHeader(header: RunHeader): void;
  putStage(stage: Stage): void;
  putArtifact(artifact: Artifact): void;
  putApproval(approval: Approval): void;
  /** Returns the running stage that started last, by `startKey` (`run-order.ts`). */
  lastStarted(): Stage | undefined;
}
/** An approval after a grant or a denial. Its status is `pending` while further grants are required. */
export type Standing = { status: ApprovalStatus; decisions: Decision[] };
/** The boxes of `approval.list`: what waits for the caller, what the caller asked for, what is decided, what has expired. */
export const approvalBoxes = ['mine', 'asked', 'decided', 'expired'] as const;
/** A list of approvals from the view of a user. */
export type ApprovalBox = (typeof approvalBoxes)[number];
/** The number of approvals in each box of a user. */
export type ApprovalCounts = Record<ApprovalBox, number>;

/**
 * Why a decision of the caller would not be accepted and counted now:
 *
 * - `decided`, `expired`, `run_over`: the approval is not open any more. `run_over`: the run ended first.
 * - `producer`: the producer decides it, not Runwire.
 * - `asked_by_you`: the caller is `requestedBy`, or published the request.
 * - `not_named`: the request names approvers, and the caller is none of them.
 * - `role`: the caller lacks `requiredRole`.
 * - `already_approved`: the caller has granted it, and further grants are required. A denial would still count.
 */
export type CannotDecide =
  | 'decided'
  | 'expired'
  | 'run_over'
  | 'producer'
  | 'asked_by_you'
  | 'not_named'
  | 'role'
  | 'already_approved';

/** An approval as `approval.list` and `approval.get` return it. */
export type ListedApproval = Approval & {
  projectId: string;
  runId: string;
  /** Name of the run; its id if retention has removed the run. */
  runName: string;
  /** Whether a decision of the caller would be accepted and counted now. */
  canDecide: boolean;
  /** Present exactly if `canDecide` is false. */
  cannotDecide?: CannotDecide;
  /** The artifacts that `evidence` names, in its order. An artifact that the run does not have is left out. */
  artifacts: Artifact[];
  /** Position of the last event that changed the request or an artifact: a decision must have a `seenSeq` of at least this. */
  seq: number;
};
