import type { Approval, Artifact, Decision, Failure, RunHeader, RunRows, Stage, StageStatus } from './run.ts';
import { startKey } from './run-order.ts';

/**
 * The fold that makes a run of its events, by entity: header, stage, artifact, approval.
 *
 * It works on rows, so that the server can keep them in tables (an event costs the same in a run of ten events
 * and of a million) and a browser in maps. It comes out the same for any order of arrival: each field is a register
 * that the event with the highest key wins, and counters are sums of whole numbers. The keys travel in `order`, so that
 * folding on from a snapshot equals folding from the start. Only approvals go by `seq`.
 */

type Envelope = {
  type: string;
  projectId: string;
  runId: string;
  timestamp: string;
  eventId: string;
  actor: string;
  seq: number;
  runSeq: number;
  erased?: true | undefined;
};

/** Also of an event and itself: folded again once it is erased, it takes its text out of the rows. */
const later = (candidate: string, current: string | undefined) => current === undefined || candidate >= current;
const earliest = (a: string, b: string | undefined) => (b === undefined || a < b ? a : b);
const timeKey = (event: Envelope) => `${event.timestamp} ${event.eventId}`;
/** A copy without the keys that are undefined: absent means absent, in JSON and in memory alike. */
function compact<T extends object>(value: { [K in keyof T]: T[K] | undefined }): T {
  const copy: Partial<T> = {};
  for (const key of Object.keys(value) as (keyof T)[])
    if (value[key] !== undefined) copy[key] = value[key] as T[keyof T];
  return copy as T;
}

/** Sets a field, or takes it away: as {@link compact}, for one field of a row that is still being made. */
function setField<T extends object, K extends keyof T>(row: T, key: K, value: T[K] | undefined): void {
  if (value !== undefined) row[key] = value;
  else if (key in row) delete row[key];
}

/**
 * Makes the header of a run at its first event, and moves `lastSeq` on. What folds the rest of the event, up to
 * {@link finishFold}, changes the header in place: copies for each step would be most of what an event costs.
 */
export function beginFold(rows: RunRows, event: Envelope): void {
  const header = rows.ownHeader();
  if (!header) {
    rows.putHeader({
      runId: event.runId,
      projectId: event.projectId,
      name: event.runId,
      status: 'created',
      createdAt: event.timestamp,
      labels: {},
      progress: 0,
      lastSeq: event.seq,
      lastRunSeq: event.runSeq,
      counts: { stages: 0, stagesCompleted: 0, stagesFailed: 0, artifacts: 0, approvalsPending: 0 },
      order: { first: event.timestamp, progressSum: 0 },
    });
    return;
  }
  header.lastSeq = Math.max(header.lastSeq, event.seq);
  header.lastRunSeq = Math.max(header.lastRunSeq, event.runSeq);
  header.order.first = earliest(event.timestamp, header.order.first);
}

/** Works out what follows from the rest of the header. */
export function finishFold(rows: RunRows): void {
  const header = required(rows.header());
  const { order, counts } = header;
  const startedAt = order.started ?? order.active;
  header.status =
    order.ended ?? (counts.approvalsPending > 0 ? 'waiting' : startedAt !== undefined ? 'running' : 'created');
  header.createdAt = order.created ?? order.first;
  if (startedAt !== undefined) header.startedAt = startedAt;
  header.progress =
    order.ended === 'completed' ? 100 : counts.stages === 0 ? 0 : Math.round(order.progressSum / counts.stages) / 1000;
}

const required = (header: RunHeader | undefined): RunHeader => {
  if (!header) throw new Error('touchRun comes first');
  return header;
};

type CreatedEvent = Envelope & {
  name: string;
  stages?: { stageId: string; name: string }[] | undefined;
  createdBy?: string | undefined;
  labels?: Record<string, string> | undefined;
  parentRunId?: string | undefined;
};

/** run.created: the latest one names the run; plans add up. */
export function foldCreated(rows: RunRows, event: CreatedEvent): void {
  const header = required(rows.header());
  const { order } = header;
  const key = timeKey(event);
  order.created = earliest(event.timestamp, order.created);
  if (later(key, order.named)) {
    order.named = key;
    header.name = event.name;
    header.labels = event.labels ?? {};
    setField(header, 'createdBy', event.createdBy);
    setField(header, 'parentRunId', event.parentRunId);
  }
  event.stages?.forEach(({ stageId, name }, index) => {
    const stage = rows.stage(stageId);
    const [plannedBy, place] = stage?.order.plan ?? [];
    // Of a stage that a plan names twice, the first place stands.
    if (!later(key, plannedBy) || (key === plannedBy && index !== place)) return;
    const planned: Stage = stage ?? blankStage(stageId);
    replaceStage(rows, stage, {
      ...planned,
      name: planned.order.name === undefined ? name : planned.name,
      order: { ...planned.order, plan: [key, index] },
    });
  });
}

/** run.started */
export function foldStarted(rows: RunRows, event: Envelope): void {
  const { order } = required(rows.header());
  order.started = earliest(event.timestamp, order.started);
}

type EndEvent = Envelope & {
  durationMs?: number | undefined;
  summary?: string | undefined;
  error?: Failure | undefined;
  stageId?: string | undefined;
};

/** run.completed and run.failed: the later end wins, and an ended run is not reopened. */
export function foldEnd(rows: RunRows, event: EndEvent): void {
  const header = required(rows.header());
  const failed = event.type === 'run.failed';
  const key = `${event.timestamp} ${failed ? 1 : 0} ${event.eventId}`;
  const { order } = header;
  if (!later(key, order.end)) return;
  order.end = key;
  order.ended = failed ? 'failed' : 'completed';
  setField(order, 'current', undefined);
  header.endedAt = event.timestamp;
  setField(header, 'currentStageId', undefined);
  setField(header, 'currentStageName', undefined);
  setField(header, 'durationMs', event.durationMs);
  setField(header, 'summary', event.summary);
  setField(header, 'error', event.error && compact({ ...event.error, stageId: event.stageId }));
}

type StageEvent = Envelope & {
  stageId: string;
  attempt?: number | undefined;
  name?: string | undefined;
  progress?: number | undefined;
  message?: string | undefined;
  done?: number | undefined;
  total?: number | undefined;
  durationMs?: number | undefined;
  error?: Failure | undefined;
  willRetry?: boolean | undefined;
};

const stageRank: Record<string, number> = {
  'stage.started': 0,
  'stage.progress': 1,
  'stage.completed': 2,
  'stage.failed': 3,
};

const blankStage = (stageId: string): Stage => ({
  stageId,
  name: stageId,
  status: 'pending',
  attempt: 1,
  progress: 0,
  order: {},
});

/** The four stage events. A stage is its highest attempt; its name alone outlives an attempt. */
export function foldStage(rows: RunRows, event: StageEvent): void {
  const before = rows.stage(event.stageId);
  replaceStage(rows, before, mergeStage(before ?? blankStage(event.stageId), event));
  const { order } = required(rows.header());
  order.active = earliest(event.timestamp, order.active);
}

function mergeStage(before: Stage, event: StageEvent): Stage {
  const attempt = event.attempt ?? 1;
  let stage = before;
  const named = timeKey(event);
  if (event.type === 'stage.started' && event.name !== undefined && later(named, stage.order.name)) {
    stage = { ...stage, name: event.name, order: { ...stage.order, name: named } };
  }
  if (attempt < stage.attempt) return stage;
  if (attempt > stage.attempt) {
    const { name, plan } = stage.order;
    stage = { ...blankStage(stage.stageId), name: stage.name, attempt, order: compact({ name, plan }) };
  }

  const isEnd = event.type === 'stage.completed' || event.type === 'stage.failed';
  const key = `${isEnd ? 1 : 0} ${event.timestamp} ${stageRank[event.type]} ${event.eventId}`;
  const order = { ...stage.order };
  const next: Stage = { ...stage, order };
  if (!isEnd) order.started = earliest(event.timestamp, order.started);
  if (event.type === 'stage.progress') {
    const value = event.progress ?? shareDone(event.done, event.total);
    if (value !== undefined && later(named, order.progress?.[0])) order.progress = [named, value];
    if (event.message !== undefined && later(named, order.message)) {
      order.message = named;
      next.message = event.message;
    }
  }
  if (later(key, order.status)) {
    order.status = key;
    const retried = event.type === 'stage.failed' && event.willRetry === true;
    next.status = !isEnd || retried ? 'running' : event.type === 'stage.failed' ? 'failed' : 'completed';
    setField(next, 'endedAt', isEnd && !retried ? event.timestamp : undefined);
    setField(next, 'durationMs', event.durationMs);
    setField(next, 'error', event.error);
  }
  next.progress = next.status === 'completed' ? 100 : (order.progress?.[1] ?? 0);
  setField(next, 'startedAt', order.started ?? startFromDuration(next));
  return next;
}

function shareDone(done: number | undefined, total: number | undefined): number | undefined {
  if (done === undefined || total === undefined || total <= 0) return undefined;
  return Math.min(100, (100 * done) / total);
}

/** A stage whose start was never reported began its duration before its end. */
function startFromDuration(stage: Stage): string | undefined {
  if (stage.endedAt === undefined || stage.durationMs === undefined) return undefined;
  const at = Date.parse(stage.endedAt) - stage.durationMs;
  return at >= 0 ? new Date(at).toISOString() : undefined;
}

const thousandths = (stage: Stage) => Math.round(stage.progress * 1000);

/** Puts a stage, and moves the header's counters by the difference that it makes. */
function replaceStage(rows: RunRows, before: Stage | undefined, after: Stage): void {
  rows.putStage(after);
  const header = required(rows.header());
  const { order } = header;
  if (after.status !== before?.status) {
    const difference = (status: StageStatus) => Number(after.status === status) - Number(before?.status === status);
    addToCounts(header, {
      stages: before ? 0 : 1,
      stagesCompleted: difference('completed'),
      stagesFailed: difference('failed'),
    });
  }
  order.progressSum += thousandths(after) - (before ? thousandths(before) : 0);
  if (order.ended === undefined) setCurrent(rows, header, after);
}

function setCurrent(rows: RunRows, header: RunHeader, changed: Stage): void {
  const { order } = header;
  const isRunning = changed.status === 'running';
  const isCurrent = header.currentStageId === changed.stageId;
  if (!isRunning && !isCurrent) return;
  const key = startKey(changed);
  if (isRunning && (later(key, order.current) || (isCurrent && key === order.current))) {
    putCurrent(header, changed, key);
  } else if (isCurrent) {
    const current = rows.lastStarted();
    putCurrent(header, current, current && startKey(current));
  }
}

function putCurrent(header: RunHeader, stage: Stage | undefined, key: string | undefined): void {
  setField(header, 'currentStageId', stage?.stageId);
  setField(header, 'currentStageName', stage?.name);
  setField(header.order, 'current', key);
}

type ArtifactEvent = Envelope & Omit<Artifact, 'createdAt' | 'order'>;

/** artifact.created: published again, the later one stands. */
export function foldArtifact(rows: RunRows, event: ArtifactEvent): void {
  const before = rows.artifact(event.artifactId);
  const key = timeKey(event);
  if (before && !later(key, before.order.key)) return;
  const { artifactId, name, stageId, kind, uri, sizeBytes, sha256, timestamp: createdAt } = event;
  rows.putArtifact(compact({ artifactId, name, stageId, kind, uri, sizeBytes, sha256, createdAt, order: { key } }));
  if (!before) addToCounts(required(rows.header()), { artifacts: 1 });
}

function addToCounts(header: RunHeader, more: Partial<RunHeader['counts']>): void {
  const counts = { ...header.counts };
  for (const [name, difference] of Object.entries(more)) counts[name as keyof typeof counts] += difference;
  header.counts = counts;
}

type RequestEvent = Envelope &
  Pick<
    Approval,
    'approvalId' | 'title' | 'reason' | 'stageId' | 'requestedBy' | 'approvers' | 'expiresAt' | 'evidence'
  > & {
    requiredApprovals?: number | undefined;
    requiredRole?: string | undefined;
    authority?: 'runwire' | 'producer' | undefined;
  };

/** governance.required: the first of an id stands. */
export function foldRequest(rows: RunRows, event: RequestEvent): void {
  const before = rows.approval(event.approvalId);
  if (before && before.order.seq !== event.seq) return;
  const { approvalId, title, reason, stageId, requestedBy, approvers, expiresAt, evidence } = event;
  const { status = 'pending', decisions = [], decidedAt } = before ?? {};
  rows.putApproval(
    compact({
      approvalId,
      title,
      status,
      decisions,
      reason,
      stageId,
      requestedBy,
      requestActor: event.actor,
      requestedAt: event.timestamp,
      ...(decidedAt === undefined ? {} : { decidedAt }),
      approvers,
      requiredApprovals: event.requiredApprovals ?? 1,
      requiredRole: event.requiredRole ?? 'approver',
      expiresAt,
      evidence,
      authority: event.authority ?? 'runwire',
      order: { seq: event.seq },
    }),
  );
  if (!before) addToCounts(required(rows.header()), { approvalsPending: 1 });
}

type DecisionEvent = Envelope & DecisionFields & { approvalId: string };
type DecisionFields = {
  type: string;
  timestamp: string;
  decidedBy: string;
  comment?: string | undefined;
  reason?: string | undefined;
  expired?: boolean | undefined;
};

/**
 * approval.granted and approval.denied: enough grants decide, one deny decides, and what is decided stays so. What was
 * logged before the request is about nothing, also when it is folded again after it.
 */
export function foldDecision(rows: RunRows, event: DecisionEvent): void {
  const approval = rows.approval(event.approvalId);
  if (!approval || event.seq < approval.order.seq) return;
  const decision = decisionOf(event);
  const isSame = (known: Decision) =>
    known.decidedBy === decision.decidedBy && known.decision === decision.decision && known.at === decision.at;
  if (event.erased && approval.decisions.some(isSame)) {
    const decisions = approval.decisions.map((known) => (isSame(known) ? decision : known));
    rows.putApproval({ ...approval, decisions });
    return;
  }
  if (approval.status !== 'pending') return;
  const after = afterDecision(approval, event);
  if (after === approval) return;
  rows.putApproval(after);
  if (after.status !== 'pending') addToCounts(required(rows.header()), { approvalsPending: -1 });
}

function decisionOf({ type, decidedBy, comment, reason, timestamp: at }: DecisionFields): Decision {
  return compact({ decidedBy, decision: type === 'approval.granted' ? 'granted' : 'denied', at, comment, reason });
}

/** A pending approval with a decision; itself where the decision counts for nothing, since one user counts once. */
export function afterDecision(approval: Approval, event: DecisionFields): Approval {
  const isGrant = event.type === 'approval.granted';
  if (isGrant && approval.decisions.some((decision) => decision.decidedBy === event.decidedBy)) return approval;
  const decisions = [...approval.decisions, decisionOf(event)];
  if (isGrant && decisions.length < approval.requiredApprovals) return { ...approval, decisions };
  const status = isGrant ? 'granted' : event.expired ? 'expired' : 'denied';
  return { ...approval, decisions, status, decidedAt: event.timestamp };
}
