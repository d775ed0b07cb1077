import { compact, type Envelope, earliest, later, setField, timeKey } from './fold-registers.ts';
import type { Attempt, Failure, Stage } from './run.ts';

/** The fold of the events of one stage (`run-fold.ts` explains the fold and its keys). */

export type StageEvent = Envelope & {
  /** No other type: each needs its rank and its effect on the status in {@link applyTo}. */
  type: keyof typeof stageRank;
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

const stageRank = { 'stage.started': 0, 'stage.progress': 1, 'stage.completed': 2, 'stage.failed': 3 };

/** A stage keeps this number of attempts besides the last one: those with the highest numbers. */
const MAX_ATTEMPTS = 20;
/** Length of the error of an earlier attempt. The whole text is in its event. */
const ERROR_LENGTH = 200;

export const blankStage = (stageId: string): Stage => ({
  stageId,
  name: stageId,
  status: 'pending',
  attempt: 1,
  progress: 0,
  order: {},
});

/** Returns the stage after an event. */
export function mergeStage(before: Stage, event: StageEvent): Stage {
  const attempt = event.attempt ?? 1;
  let stage = before;
  const named = timeKey(event);
  if (event.type === 'stage.started' && event.name !== undefined && later(named, stage.order.name)) {
    stage = { ...stage, name: event.name, order: { ...stage.order, name: named } };
  }
  if (attempt < stage.attempt) return withEarlier(stage, earlierAttempt(stage, attempt, event));
  if (attempt > stage.attempt) stage = nextAttempt(stage, attempt);

  const next: Stage = { ...stage, order: { ...stage.order } };
  const isRetried = event.type === 'stage.failed' && event.willRetry === true;
  if (applyTo(next, event)) {
    next.status = isRetried || !isEnd(event) ? 'running' : event.type === 'stage.failed' ? 'failed' : 'completed';
    if (isRetried) setField(next, 'endedAt', undefined);
    setField(next, 'failedAt', isRetried ? event.timestamp : undefined);
  }
  if (event.type === 'stage.progress') applyProgress(next, event, named);
  next.progress = next.status === 'completed' ? 100 : (next.order.progress?.[1] ?? 0);
  setField(next, 'startedAt', next.order.started ?? startFromDuration(next));
  return next;
}

const isEnd = ({ type }: StageEvent) => type === 'stage.completed' || type === 'stage.failed';

/** Applies an event to its attempt. Returns whether the event sets the status: the caller then sets it. */
function applyTo(attempt: Stage | Attempt, event: StageEvent): boolean {
  const { order } = attempt;
  if (!isEnd(event)) order.started = earliest(event.timestamp, order.started);
  // Events that leave the attempt running are equal: none of them sets a field that another sets otherwise.
  const key = isEnd(event) ? `1 ${event.timestamp} ${stageRank[event.type]} ${event.eventId}` : '0';
  if (!later(key, order.status)) return false;
  order.status = key;
  setField(attempt, 'endedAt', isEnd(event) ? event.timestamp : undefined);
  setField(attempt, 'durationMs', event.durationMs);
  setField(attempt, 'error', event.error);
  return true;
}

function applyProgress(stage: Stage, event: StageEvent, key: string): void {
  const { order } = stage;
  const value = event.progress ?? shareDone(event.done, event.total);
  if (value !== undefined && later(key, order.progress?.[0])) order.progress = [key, value];
  if (event.message !== undefined && later(key, order.message)) {
    order.message = key;
    stage.message = event.message;
  }
  if (event.done !== undefined && later(key, order.done)) {
    order.done = key;
    stage.done = event.done;
    setField(stage, 'total', event.total);
  }
}

/** Returns the stage in a further attempt. It keeps its name, its place in the plan, and what the attempts before were. */
function nextAttempt(stage: Stage, attempt: number): Stage {
  const { name, plan, status, started } = stage.order;
  const fresh: Stage = { ...blankStage(stage.stageId), name: stage.name, attempt, order: compact({ name, plan }) };
  if (stage.attempts) fresh.attempts = stage.attempts;
  if (status === undefined) return fresh; // The stage was planned, and no event has begun an attempt.
  const { startedAt, endedAt, durationMs, failedAt, error } = stage;
  return withEarlier(
    fresh,
    compact<Attempt>({
      attempt: stage.attempt,
      status:
        failedAt !== undefined || stage.status === 'failed'
          ? 'failed'
          : stage.status === 'completed'
            ? 'completed'
            : 'running',
      startedAt,
      endedAt: endedAt ?? failedAt,
      durationMs,
      error: error && shortened(error),
      order: compact({ status, started }),
    }),
  );
}

/** Returns an earlier attempt after an event. */
function earlierAttempt(stage: Stage, attempt: number, event: StageEvent): Attempt {
  const before = stage.attempts?.find((one) => one.attempt === attempt);
  const next: Attempt = before ? { ...before, order: { ...before.order } } : { attempt, status: 'running', order: {} };
  if (applyTo(next, event)) {
    next.status = !isEnd(event) ? 'running' : event.type === 'stage.failed' ? 'failed' : 'completed';
    setField(next, 'error', next.error && shortened(next.error));
  }
  setField(next, 'startedAt', next.order.started ?? startFromDuration(next));
  return next;
}

/**
 * Returns the stage with an earlier attempt put in. An attempt that is left out never comes back: the number of higher
 * attempts only grows.
 */
function withEarlier(stage: Stage, earlier: Attempt): Stage {
  const others = (stage.attempts ?? []).filter(({ attempt }) => attempt !== earlier.attempt);
  const attempts = [...others, earlier].sort((a, b) => a.attempt - b.attempt).slice(-MAX_ATTEMPTS);
  return { ...stage, attempts };
}

function shortened({ message, code }: Failure): Failure {
  // A pair of surrogates that the cut divides would not be storable.
  const cut = message.length > ERROR_LENGTH ? message.slice(0, ERROR_LENGTH).replace(/[\ud800-\udbff]$/, '') : message;
  return compact<Failure>({ message: cut, code });
}

function shareDone(done: number | undefined, total: number | undefined): number | undefined {
  if (done === undefined || total === undefined || total <= 0) return undefined;
  return Math.min(100, (100 * done) / total);
}

/** Returns the start of an attempt without a start event: its end minus its duration. */
function startFromDuration({ endedAt, durationMs }: Stage | Attempt): string | undefined {
  if (endedAt === undefined || durationMs === undefined) return undefined;
  const at = Date.parse(endedAt) - durationMs;
  return at >= 0 ? new Date(at).toISOString() : undefined;
}
