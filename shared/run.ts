/**
 * The folded state of a run: `RunView` for clients, and `RunRows`, the rows that a store keeps. `run-fold.ts` computes
 * both from the run's events.
 */

export const runStatuses = ['created', 'running', 'waiting', 'completed', 'failed'] as const;
export type RunStatus = (typeof runStatuses)[number];
export const stageStatuses = ['pending', 'running', 'completed', 'failed'] as const;
export type StageStatus = (typeof stageStatuses)[number];
export const approvalStatuses = ['pending', 'granted', 'denied', 'expired'] as const;
export type ApprovalStatus = (typeof approvalStatuses)[number];
export type Failure = { message: string; code?: string | undefined; stageId?: string | undefined };

/** A run without its lists. Instants are ISO 8601 UTC; `progress` is 0–100. */
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
  /** The stage's name; its id while no name is known. */
  currentStageName?: string;
  error?: Failure;
  summary?: string;
  /** Position of the last folded event, in the log and in the run. */
  lastSeq: number;
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

export type Stage = {
  stageId: string;
  name: string;
  status: StageStatus;
  attempt: number;
  progress: number;
  message?: string;
  startedAt?: string;
  endedAt?: string;
  durationMs?: number;
  error?: Failure;
  order: StageOrder;
};

export type Artifact = {
  artifactId: string;
  name: string;
  stageId?: string | undefined;
  kind?: string | undefined;
  uri?: string | undefined;
  sizeBytes?: number | undefined;
  sha256?: string | undefined;
  createdAt: string;
  order: { key: string };
};

export type Decision = {
  decidedBy: string;
  decision: 'granted' | 'denied';
  at: string;
  comment?: string | undefined;
  reason?: string | undefined;
};

export type Approval = {
  approvalId: string;
  title: string;
  status: ApprovalStatus;
  decisions: Decision[];
  reason?: string | undefined;
  stageId?: string | undefined;
  requestedBy?: string | undefined;
  /** The `actor` of the request event. */
  requestActor: string;
  requestedAt: string;
  decidedAt?: string;
  approvers?: string[] | undefined;
  requiredApprovals: number;
  requiredRole: string;
  expiresAt?: string | undefined;
  evidence?: string[] | undefined;
  authority: 'runwire' | 'producer';
  /** `seq` of the request. */
  order: { seq: number };
};

/** The folded state of a run. Stages are ordered by plan, then by start; artifacts by time; approvals by request. */
export type RunView = RunHeader & { stages: Stage[]; artifacts: Artifact[]; approvals: Approval[] };

// The keys of the registers (see `run-fold.ts`): strings in the order of the fold's rules. Opaque to users of a view.
type HeaderOrder = {
  /** Timestamps of the earliest event, run.created, run.started and stage event. */
  first: string;
  created?: string;
  started?: string;
  active?: string;
  /** Keys of the run.created that names the run, and of the event that ended it. */
  named?: string;
  end?: string;
  ended?: 'completed' | 'failed';
  /** Start key of `currentStageId`. */
  current?: string;
  /** Sum of the stages' progress in thousandths. Sums of integers do not depend on the order. */
  progressSum: number;
};

type StageOrder = {
  /** Key of the event that set the status. */
  status?: string;
  started?: string;
  progress?: [key: string, value: number];
  message?: string;
  name?: string;
  plan?: [key: string, index: number];
};

/**
 * The rows of one run in any storage. Rows are immutable: a put replaces a row. The only exception is the header during the
 * fold of an event.
 */
export interface RunRows {
  header(): RunHeader | undefined;
  /** Copies the header and its `order`, puts the copy, and returns it. The fold may change it in place. */
  ownHeader(): RunHeader | undefined;
  stage(stageId: string): Stage | undefined;
  artifact(artifactId: string): Artifact | undefined;
  approval(approvalId: string): Approval | undefined;
  putHeader(header: RunHeader): void;
  putStage(stage: Stage): void;
  putArtifact(artifact: Artifact): void;
  putApproval(approval: Approval): void;
  /** The running stage that started last, by `startKey`. */
  lastStarted(): Stage | undefined;
}
