import type { Approval, Stage } from '../../../../hooks/index.ts';

/**
 * Times of stages and approvals as numbers. They are computed once for a row: a row of a view is the same object until an event
 * changes it, so a frame of the display parses no date.
 */

/** One attempt of a stage, in Unix ms. Without `toMs` it has not ended. */
export type Attempt = {
  attempt: number;
  status: 'running' | 'completed' | 'failed';
  fromMs: number;
  toMs: number | undefined;
  message: string | undefined;
};

export type StageTimes = {
  attempts: readonly Attempt[];
  /** Start of the first attempt; NaN before it. */
  fromMs: number;
  /** End of the last attempt; undefined while it runs or a retry will follow. */
  toMs: number | undefined;
};

const known = new WeakMap<Stage, StageTimes>();

export function timesOf(stage: Stage): StageTimes {
  let times = known.get(stage);
  if (!times) {
    times = compute(stage);
    known.set(stage, times);
  }
  return times;
}

function compute(stage: Stage): StageTimes {
  const attempts: Attempt[] = [];
  for (const { attempt, status, startedAt, endedAt, error } of stage.attempts ?? []) {
    const start = startedAt ?? endedAt;
    if (start === undefined) continue;
    attempts.push({ attempt, status, ...between(start, endedAt), message: error?.message });
  }
  const { attempt, status, error, startedAt, endedAt, failedAt } = stage;
  const start = startedAt ?? endedAt ?? failedAt;
  if (start !== undefined && status !== 'pending') {
    const isRetried = failedAt !== undefined;
    attempts.push({
      attempt,
      status: isRetried ? 'failed' : status,
      ...between(start, endedAt ?? failedAt),
      message: error?.message,
    });
  }
  // An attempt that has no end of its own has ended when the next one began.
  for (const [index, one] of attempts.entries()) one.toMs ??= attempts[index + 1]?.fromMs;
  const isOver = status === 'completed' || status === 'failed';
  return {
    attempts,
    fromMs: attempts[0]?.fromMs ?? Number.NaN,
    toMs: isOver ? attempts.at(-1)?.toMs : undefined,
  };
}

function between(start: string, end: string | undefined): { fromMs: number; toMs: number | undefined } {
  const fromMs = Date.parse(start);
  return { fromMs, toMs: end === undefined ? undefined : Math.max(fromMs, Date.parse(end)) };
}

export type Wait = { approval: Approval; fromMs: number; toMs: number | undefined };
const waits = new WeakMap<Approval, Wait>();

export function waitOf(approval: Approval): Wait {
  let wait = waits.get(approval);
  if (!wait) {
    const { requestedAt, decidedAt } = approval;
    wait = { approval, ...between(requestedAt, decidedAt) };
    waits.set(approval, wait);
  }
  return wait;
}
