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
  /** Its name as far as it is known, which is at least its id. */
  currentStageName?: string;
  error?: Failure;
  summary?: string;
  /** Position in the log and in the run of the last event folded in. */
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
  /** The `actor` of the request. */
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

/**
 * The folded state of a run. Stages are in the order of the plan, then of their start; artifacts by time; approvals by
 * request.
 */
export type RunView = RunHeader & { stages: Stage[]; artifacts: Artifact[]; approvals: Approval[] };

// Register keys: strings that sort as the rules say. Opaque to readers of a view.
type HeaderOrder = {
  /** Earliest event; earliest run.created; earliest run.started; earliest stage event. */
  first: string;
  created?: string;
  started?: string;
  active?: string;
  /** Key of the run.created that names the run, and of the event that ended it. */
  named?: string;
  end?: string;
  ended?: 'completed' | 'failed';
  /** Start of `currentStageId`. */
  current?: string;
  /** Sum over stages of progress in thousandths: whole numbers add up the same in any order. */
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
 * The rows of one run, wherever they are kept. Rows are values: a put replaces, nothing is changed in place. The one
 * exception is the header, while an event is being folded.
 */
export interface RunRows {
  header(): RunHeader | undefined;
  /** The header as an object that is nobody else's, and has an `order` of its own: to be changed in place. */
  ownHeader(): RunHeader | undefined;
  stage(stageId: string): Stage | undefined;
  artifact(artifactId: string): Artifact | undefined;
  approval(approvalId: string): Approval | undefined;
  putHeader(header: RunHeader): void;
  putStage(stage: Stage): void;
  putArtifact(artifact: Artifact): void;
  putApproval(approval: Approval): void;
  /** The running stage with the greatest `startKey`. */
  lastStarted(): Stage | undefined;
}
