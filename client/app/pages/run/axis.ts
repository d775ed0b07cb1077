import type { Approval, RunView, Stage } from '../../../hooks/index.ts';
import type { Shown } from '../../components/Status.tsx';

/** Calculations for the timeline, without components: the time span, its ticks, and the statuses to show. */

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const steps = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 3, 6, 12].map((hours) => hours * HOUR),
  ...[1, 2, 7, 14, 30, 90, 180, 365, 1_000, 5_000, 10_000].map((days) => days * DAY),
];

/** Minimum time span of the axis, so that the first second of a run does not fill the whole width. */
const MIN_SPAN_MS = 5 * SECOND;
const TICK_PX = 96;

/** Returns the first and the last instant to show, in Unix ms. Before the run has ended, the axis reaches to `nowMs`. */
export function spanOf(run: RunView, nowMs: number): { startMs: number; endMs: number } {
  let start = run.startedAt ?? run.createdAt;
  let end = run.endedAt ?? start;
  // All instants have one format and compare as text. Parsing 10,000 dates 60 times a second would be slow.
  for (const { startedAt, endedAt } of run.stages) {
    if (startedAt !== undefined && startedAt < start) start = startedAt;
    if (endedAt !== undefined && endedAt > end) end = endedAt;
  }
  for (const { requestedAt, decidedAt } of run.approvals) {
    if (requestedAt < start) start = requestedAt;
    if (decidedAt !== undefined && decidedAt > end) end = decidedAt;
  }
  const startMs = Date.parse(start);
  const lastMs = run.endedAt === undefined ? Math.max(nowMs, Date.parse(end)) : Date.parse(end);
  return { startMs, endMs: Math.max(lastMs, startMs + MIN_SPAN_MS) };
}

/** Returns the visible ticks, in ms from the start of the axis. */
export function ticksOf(pxPerMs: number, fromPx: number, toPx: number): { stepMs: number; ticks: number[] } {
  const stepMs = steps.find((step) => step * pxPerMs >= TICK_PX) ?? (steps.at(-1) as number);
  const first = Math.max(0, Math.floor(fromPx / pxPerMs / stepMs));
  const last = Math.ceil(toPx / pxPerMs / stepMs);
  return { stepMs, ticks: Array.from({ length: last - first }, (_, index) => (first + index) * stepMs) };
}

/** Formats a tick: `0`, `30 s`, `1:30 min`, `2:05 h`, `3 d`. */
export function tickText(ms: number, stepMs: number): string {
  const two = (value: number) => String(value).padStart(2, '0');
  if (ms === 0) return '0';
  if (stepMs < SECOND) return `${Number((ms / SECOND).toFixed(3))} s`;
  if (stepMs >= DAY) return `${Math.round(ms / DAY)} d`;
  if (ms < MINUTE) return `${ms / SECOND} s`;
  if (ms < HOUR) {
    const seconds = (ms % MINUTE) / SECOND;
    return seconds === 0 ? `${ms / MINUTE} min` : `${Math.floor(ms / MINUTE)}:${two(seconds)} min`;
  }
  const minutes = Math.floor((ms % HOUR) / MINUTE);
  const hours = minutes === 0 ? `${Math.floor(ms / HOUR)} h` : `${Math.floor(ms / HOUR)}:${two(minutes)} h`;
  const seconds = (ms % MINUTE) / SECOND;
  return seconds === 0 ? hours : `${hours} ${two(seconds)} s`;
}

/** Returns the status to show. In an ended run, a running stage is unfinished and a pending stage was not run. */
export function shownStatus(stage: Stage, hasEnded: boolean): Shown {
  if (!hasEnded || stage.status === 'completed' || stage.status === 'failed') return stage.status;
  return stage.status === 'running' ? 'unfinished' : 'not run';
}

const outcomes = { pending: 'waiting', granted: 'approved', denied: 'denied', expired: 'expired' } as const;

/** Returns the status of an approval to show. */
export const shownOutcome = (status: Approval['status']): Shown => outcomes[status];

/** True for a stage that has failed, even if it will be retried. */
export const hasFailed = (stage: Stage): boolean => stage.status === 'failed' || stage.error !== undefined;

/** Groups approvals by stage. A stage without approvals has no entry. */
export function approvalsByStage(approvals: readonly Approval[]): ReadonlyMap<string, readonly Approval[]> {
  const byStage = new Map<string, Approval[]>();
  for (const approval of approvals) {
    if (approval.stageId === undefined) continue;
    const known = byStage.get(approval.stageId);
    if (known) known.push(approval);
    else byStage.set(approval.stageId, [approval]);
  }
  return byStage;
}
