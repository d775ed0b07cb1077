import { compact, type Envelope, earliest, later, setField, timeKey } from './fold-registers.ts';
import type { Artifact, Failure, RunHeader, RunRows, Stage, StageStatus } from './run.ts';
import { startKey } from './run-order.ts';
import { blankStage, mergeStage, type StageEvent } from './stage-fold.ts';

/**
 * The fold: computes the state of a run from its events. The state consists of rows (`run.ts`): one header, and one row
 * for each stage, artifact and approval.
 *
 * - The fold reads and writes single rows, so an event costs the same in a run of ten events and in a run of a million.
 *   The server keeps the rows in tables, the browser keeps them in maps.
 * - The order in which events arrive does not change the result. Most fields are registers: an event sets the field
 *   only if its key is the greatest so far. A key is text made of the event's timestamp and id. Counters are sums of
 *   integers.
 * - Approvals (`approval-fold.ts`) are the exception: they depend on `seq`, the event's position in the log.
 * - Each row contains the keys of its registers (`order`). So the fold can continue from a stored or sent state.
 *
 * For each event, call {@link beginFold}, then the function of the event's type, then {@link finishFold}. When an event
 * is erased, its tombstone (`tombstone.ts`: the same event without its text) is folded as well.
 */

/** A function that applies an event of one type to the rows of its run. */
export type Fold = (rows: RunRows, event: never) => void;

/**
 * Begins the fold of an event. Creates the run's header at its first event; at later events, updates the header's last `seq`
 * and `runSeq` and its earliest timestamp. The function of the event's type then changes the same header object: copying
 * it for each change would cost more than the fold itself.
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

/** Computes the header fields that depend on other fields: status, times, progress and the error of the failed stage. */
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
  if (order.ended) setField(header, 'stageError', order.ended === 'failed' ? stageErrorOf(rows, header) : undefined);
}

/** Returns the error of the stage that the end of the run names; else, of the last stage that failed for good. */
function stageErrorOf(rows: RunRows, { error, order }: RunHeader): Failure | undefined {
  for (const stageId of [error?.stageId, order.failed?.[1]]) {
    const stage = stageId === undefined ? undefined : rows.stage(stageId);
    if (stage?.error && stage.status !== 'completed')
      return compact<Failure>({ ...stage.error, stageId: stage.stageId });
  }
  return undefined;
}

export const required = (header: RunHeader | undefined): RunHeader => {
  if (!header) throw new Error('beginFold must come first');
  return header;
};

type CreatedEvent = Envelope & {
  name: string;
  stages?: { stageId: string; name: string }[] | undefined;
  stagesFrom?: number | undefined;
  createdBy?: string | undefined;
  labels?: Record<string, string> | undefined;
  parentRunId?: string | undefined;
};

/** run.created: the latest event sets the run's name and labels. The stage plans of all events are merged. */
export function foldCreated(rows: RunRows, event: CreatedEvent): void {
  const header = required(rows.header());
  const { order } = header;
  const key = timeKey(event);
  order.created = earliest(event.timestamp, order.created);
  if (event.stagesFrom === undefined && later(key, order.named)) {
    order.named = key;
    header.name = event.name;
    header.labels = event.labels ?? {};
    setField(header, 'createdBy', event.createdBy);
    setField(header, 'parentRunId', event.parentRunId);
  }
  event.stages?.forEach(({ stageId, name }, indexInEvent) => {
    const index = indexInEvent + (event.stagesFrom ?? 0);
    const stage = rows.stage(stageId);
    const [plannedBy, place] = stage?.order.plan ?? [];
    // If a plan contains a stage twice, the stage keeps its first place.
    if (!later(key, plannedBy) || (key === plannedBy && index !== place)) return;
    const planned: Stage = stage ?? blankStage(stageId);
    replaceStage(rows, stage, {
      ...planned,
      name: planned.order.name === undefined ? name : planned.name,
      order: { ...planned.order, plan: [key, index] },
    });
  });
}

/** run.started: the earliest event sets the start. */
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

/** run.completed and run.failed: the latest event sets the end. No event reopens an ended run. */
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

/** The four stage events. A stage shows its highest attempt, and lists the attempts before. */
export function foldStage(rows: RunRows, event: StageEvent): void {
  const before = rows.stage(event.stageId);
  replaceStage(rows, before, mergeStage(before ?? blankStage(event.stageId), event));
  const { order } = required(rows.header());
  order.active = earliest(event.timestamp, order.active);
  if (event.type !== 'stage.failed' || event.willRetry) return;
  const key = timeKey(event);
  if (later(key, order.failed?.[0])) order.failed = [key, event.stageId];
}

const thousandths = (stage: Stage) => Math.round(stage.progress * 1000);

/** Replaces the row of a stage, and updates the header's counters and its current stage. */
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

/** artifact.created: of several events with the same artifact id, the latest wins. */
export function foldArtifact(rows: RunRows, event: ArtifactEvent): void {
  const before = rows.artifact(event.artifactId);
  const key = timeKey(event);
  if (before && !later(key, before.order.key)) return;
  const { artifactId, name, stageId, kind, uri, sizeBytes, sha256, timestamp: createdAt, seq } = event;
  rows.putArtifact(
    compact({ artifactId, name, stageId, kind, uri, sizeBytes, sha256, createdAt, order: { key, seq } }),
  );
  if (!before) addToCounts(required(rows.header()), { artifacts: 1 });
}

export function addToCounts(header: RunHeader, more: Partial<RunHeader['counts']>): void {
  const counts = { ...header.counts };
  for (const [name, difference] of Object.entries(more)) counts[name as keyof typeof counts] += difference;
  header.counts = counts;
}
