import type { Approval, RunView, Stage } from '../../../../hooks/index.ts';
import { timesOf, waitOf } from './times.ts';

/** The time axis: from the start of the run to its end, or to now, with long idle stretches folded. */

/** A stretch in which no stage ran. `isApproval`: an approval was pending in it. */
export type Idle = { fromMs: number; toMs: number; isApproval: boolean };
export type Span = { startMs: number; endMs: number };

/** Width of a folded stretch. */
export const FOLD_PX = 28;
/** A shorter stretch is not folded. */
const MIN_IDLE_MS = 60_000;
/** A smaller part of what is left of the span is not folded. */
const MIN_IDLE_SHARE = 0.1;
const MIN_SPAN_MS = 10;
const MIN_LIVE_SPAN_MS = 2_000;

/** Returns the first and the last instant to show. Before the run has ended, the axis reaches to `nowMs`. */
export function spanOf(run: RunView, nowMs: number): Span {
  let startMs = Date.parse(run.startedAt ?? run.createdAt);
  const isLive = run.endedAt === undefined;
  let endMs = isLive ? Math.max(nowMs, startMs) : Date.parse(run.endedAt as string);
  for (const stage of run.stages) {
    const { fromMs, attempts } = timesOf(stage);
    if (fromMs < startMs) startMs = fromMs;
    const toMs = attempts.at(-1)?.toMs;
    if (toMs !== undefined && toMs > endMs) endMs = toMs;
  }
  for (const approval of run.approvals) {
    const { fromMs, toMs } = waitOf(approval);
    if (fromMs < startMs) startMs = fromMs;
    if (toMs !== undefined && toMs > endMs) endMs = toMs;
  }
  return { startMs, endMs: Math.max(endMs, startMs + (isLive ? MIN_LIVE_SPAN_MS : MIN_SPAN_MS)) };
}

/**
 * Returns the stretches to fold, in order. A stage does not run while an approval of it is pending. `endMs`: now, or the end of
 * the run; open attempts reach to it.
 */
export function idleOf(stages: readonly Stage[], approvals: readonly Approval[], { startMs, endMs }: Span): Idle[] {
  const busy = new Stretches();
  const waits = approvals.map(waitOf);
  const ofStage = groupWaits(waits);
  for (const stage of stages) {
    const own = ofStage.get(stage.stageId);
    for (const { fromMs, toMs = endMs } of timesOf(stage).attempts) {
      if (own) addWithout(busy, fromMs, toMs, own, endMs);
      else busy.add(fromMs, toMs);
    }
  }
  const idle: Idle[] = [];
  let untilMs = startMs;
  const add = (toMs: number) => {
    if (toMs - untilMs <= MIN_IDLE_MS) return;
    const isApproval = waits.some((wait) => wait.fromMs < toMs && (wait.toMs ?? endMs) > untilMs);
    idle.push({ fromMs: untilMs, toMs, isApproval });
  };
  busy.visit((fromMs, toMs) => {
    if (fromMs > untilMs) add(fromMs);
    if (toMs > untilMs) untilMs = toMs;
  });
  if (busy.count > 0) add(endMs);
  return longOf(idle, endMs - startMs);
}

/** Stretches of time, in order of their starts. Most are added in this order: then nothing is sorted. */
class Stretches {
  readonly #from: number[] = [];
  readonly #to: number[] = [];
  #isSorted = true;

  get count(): number {
    return this.#from.length;
  }

  add(fromMs: number, toMs: number): void {
    this.#isSorted &&= fromMs >= (this.#from.at(-1) ?? Number.NEGATIVE_INFINITY);
    this.#from.push(fromMs);
    this.#to.push(toMs);
  }

  visit(each: (fromMs: number, toMs: number) => void): void {
    const order = this.#isSorted ? undefined : Uint32Array.from(this.#from.keys());
    order?.sort((a, b) => (this.#from[a] ?? 0) - (this.#from[b] ?? 0));
    for (let at = 0; at < this.count; at++) {
      const index = order?.[at] ?? at;
      each(this.#from[index] ?? 0, this.#to[index] ?? 0);
    }
  }
}

/** The stretches that are long beside what is not folded: the longest one first, since its fold shortens the span. */
function longOf(idle: readonly Idle[], spanMs: number): Idle[] {
  let leftMs = spanMs;
  const long = new Set<Idle>();
  for (const one of [...idle].sort((a, b) => b.toMs - b.fromMs - (a.toMs - a.fromMs))) {
    if (one.toMs - one.fromMs <= leftMs * MIN_IDLE_SHARE) break;
    leftMs -= one.toMs - one.fromMs;
    long.add(one);
  }
  return idle.filter((one) => long.has(one));
}

type Wait = ReturnType<typeof waitOf>;

function groupWaits(waits: readonly Wait[]): Map<string | undefined, Wait[]> {
  const groups = new Map<string | undefined, Wait[]>();
  for (const wait of waits) groups.set(wait.approval.stageId, [...(groups.get(wait.approval.stageId) ?? []), wait]);
  return groups;
}

/** Adds the parts of a stretch in which none of the approvals was pending. */
function addWithout(busy: Stretches, fromMs: number, toMs: number, waits: readonly Wait[], endMs: number): void {
  let at = fromMs;
  for (const wait of [...waits].sort((a, b) => a.fromMs - b.fromMs)) {
    if (wait.fromMs > at) busy.add(at, Math.min(wait.fromMs, toMs));
    at = Math.max(at, wait.toMs ?? endMs);
    if (at >= toMs) return;
  }
  busy.add(at, toMs);
}

/** Maps instants to px. It is linear between the folds, which must be in order. */
export class Scale {
  readonly startMs: number;
  readonly endMs: number;
  readonly pxPerMs: number;
  readonly folds: readonly Idle[];

  constructor({ startMs, endMs }: Span, folds: readonly Idle[], pxPerMs: number) {
    this.startMs = startMs;
    this.endMs = endMs;
    this.folds = folds;
    this.pxPerMs = pxPerMs;
  }

  /** The scale with which the whole span has a width. */
  static fitting(span: Span, folds: readonly Idle[], widthPx: number): Scale {
    const foldedMs = folds.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0);
    const linearMs = Math.max(1, span.endMs - span.startMs - foldedMs);
    return new Scale(span, folds, Math.max(1, widthPx - folds.length * FOLD_PX) / linearMs);
  }

  get widthPx(): number {
    return this.xOf(this.endMs);
  }

  xOf(ms: number): number {
    let foldedMs = 0;
    let px = 0;
    for (const { fromMs, toMs } of this.folds) {
      if (ms <= fromMs) break;
      if (ms < toMs)
        return px + (fromMs - this.startMs - foldedMs) * this.pxPerMs + FOLD_PX * ((ms - fromMs) / (toMs - fromMs));
      foldedMs += toMs - fromMs;
      px += FOLD_PX;
    }
    return px + (ms - this.startMs - foldedMs) * this.pxPerMs;
  }

  msOf(x: number): number {
    for (const [index, { fromMs, toMs }] of this.folds.entries()) {
      const left = this.xOf(fromMs);
      if (x < left) return this.#before(index, x);
      if (x < left + FOLD_PX) return fromMs + ((x - left) / FOLD_PX) * (toMs - fromMs);
    }
    return this.#before(this.folds.length, x);
  }

  /** The instant at `x`, which is right of the first `count` folds. */
  #before(count: number, x: number): number {
    const foldedMs = this.folds.slice(0, count).reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0);
    return this.startMs + foldedMs + (x - count * FOLD_PX) / this.pxPerMs;
  }
}

export type Tick = { ms: number; x: number; text: string };

/** Widest letter of the text of a tick, and its padding. */
const LETTER_PX = 7.6;
const PADDING_PX = 14;
/** The text of a fold reaches this far into the axis on both sides. */
const FOLD_TEXT_PX = 44;

/**
 * Returns the visible ticks. A tick has no text if the text would reach into a fold or beyond `endPx`. Texts are times since the
 * start.
 */
export function ticksOf(scale: Scale, fromPx: number, toPx: number, endPx: number): Tick[] {
  const longest = tickText(scale.endMs - scale.startMs, 1_000).length;
  const stepMs = stepFor(scale.pxPerMs, Math.max(64, longest * LETTER_PX + PADDING_PX));
  const ticks: Tick[] = [];
  const bounds = [...scale.folds, undefined];
  let segmentMs = scale.startMs;
  for (const [count, fold] of bounds.entries()) {
    const untilPx = fold ? scale.xOf(fold.fromMs) : endPx;
    const textPx = {
      from: count === 0 ? 0 : scale.xOf(segmentMs) + FOLD_TEXT_PX,
      to: untilPx - (fold ? FOLD_TEXT_PX : 0),
    };
    const firstMs = Math.max(segmentMs, scale.msOf(Math.max(0, fromPx)));
    let index = Math.ceil((firstMs - scale.startMs) / stepMs - 1e-9);
    for (; ; index++) {
      const ms = scale.startMs + index * stepMs;
      const x = scale.xOf(ms);
      if (x > Math.min(untilPx, toPx) + 0.5 || (fold && ms > fold.fromMs)) break;
      const text = tickText(index * stepMs, stepMs);
      const isCut = x < textPx.from || x + text.length * LETTER_PX + PADDING_PX > textPx.to;
      ticks.push({ ms, x, text: isCut ? '' : text });
    }
    if (!fold || untilPx > toPx) break;
    segmentMs = fold.toMs;
  }
  return ticks;
}

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
const stepFor = (pxPerMs: number, leastPx: number) =>
  steps.find((step) => step * pxPerMs >= leastPx) ?? (steps.at(-1) as number);

/** Formats a tick: `0`, `30 s`, `1:30 min`, `2:05 h`, `3 d`. */
export function tickText(ms: number, stepMs: number): string {
  const two = (value: number) => String(value).padStart(2, '0');
  if (ms === 0) return '0';
  if (stepMs < SECOND) {
    if (ms < MINUTE) return `${Number((ms / SECOND).toFixed(3))} s`;
    return `${tickText(Math.floor(ms / SECOND) * SECOND, SECOND)} +${Math.round(ms % SECOND)} ms`;
  }
  if (stepMs >= DAY) return `${Math.round(ms / DAY)} d`;
  if (ms < MINUTE) return `${Math.round(ms / SECOND)} s`;
  if (ms < HOUR) {
    const seconds = Math.round((ms % MINUTE) / SECOND);
    return seconds === 0 ? `${Math.floor(ms / MINUTE)} min` : `${Math.floor(ms / MINUTE)}:${two(seconds)} min`;
  }
  const minutes = Math.floor((ms % HOUR) / MINUTE);
  const hours = minutes === 0 ? `${Math.floor(ms / HOUR)} h` : `${Math.floor(ms / HOUR)}:${two(minutes)} h`;
  const seconds = Math.round((ms % MINUTE) / SECOND);
  return seconds === 0 ? hours : `${hours} ${two(seconds)} s`;
}
