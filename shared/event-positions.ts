/** One end of a stretch of progress: its time in Unix ms, and its progress of 0–100 if the event states one. */
export type ProgressEnd = { at: number; percent?: number | undefined };

/** Events `stage.progress` of one stage that follow each other in a list, beginning at an index of the list. */
export type ProgressStretch = { index: number; count: number; stageId: string; first: ProgressEnd; last: ProgressEnd };

/**
 * Positions of events in their run, in order: what a list of events needs to place its rows without the events.
 *
 * - `runSeqs`: the positions.
 * - `times`: the index and the `timestamp` (Unix ms) of the first event and of each event that is in another quarter of an
 *   hour than the event before it. Local days begin at such quarters, in every time zone.
 * - `progress`: stretches of at least two events, and those at the ends, which the stretch of another list may continue.
 */
export type PositionList = { runSeqs: number[]; times: [index: number, at: number][]; progress: ProgressStretch[] };

/**
 * The answer of `run.positions`. Every event with `fromRunSeq <= runSeq <= through` was looked at. `oldest` is the first of
 * them that the log has: events before it were removed by retention.
 */
export type EventPositions = PositionList & { through: number; oldest: number };

/**
 * The answer of `run.counts`: numbers of events from `fromRunSeq` to `through`. `isComplete`: the run has no later events.
 * Otherwise the next answer starts at `through + 1`.
 */
export type EventCounts = {
  types: { [type: string]: number };
  stages: { [stageId: string]: number };
  actors: { [actor: string]: number };
  through: number;
  isComplete: boolean;
};

type Progress = { progress?: number | undefined; done?: number | undefined; total?: number | undefined };
type Listed = { type: string; runSeq: number; timestamp: string; stageId?: unknown } & Progress;

const QUARTER_MS = 15 * 60_000;

/**
 * Builds lists of positions, event by event and from other lists. It keeps stretches of at least `minStretch` events, and the
 * shorter ones at the ends, which another list may continue.
 */
export class EventPositionsBuilder {
  runSeqs: number[] = [];
  times: [index: number, at: number][] = [];
  progress: ProgressStretch[] = [];
  readonly #minStretch: number;
  #lastAt = Number.NaN;

  constructor(minStretch = 2) {
    this.#minStretch = minStretch;
  }

  /** Adds an event at the end. */
  add(event: object): void {
    const { type, runSeq, timestamp, stageId, ...rest } = event as Listed;
    const index = this.runSeqs.push(runSeq) - 1;
    const at = Date.parse(timestamp);
    this.#addTime(index, at);
    if (type !== 'stage.progress' || typeof stageId !== 'string') return;
    const end: ProgressEnd = { at, percent: percentOf(rest) };
    this.#addStretch({ index, count: 1, stageId, first: end, last: end });
  }

  /** Adds a list at the end. */
  append({ runSeqs, times, progress }: PositionList): void {
    const offset = this.runSeqs.length;
    for (const runSeq of runSeqs) this.runSeqs.push(runSeq);
    for (const [index, at] of times) this.#addTime(offset + index, at);
    for (const stretch of progress) this.#addStretch({ ...stretch, index: offset + stretch.index });
  }

  list(): PositionList {
    const end = this.runSeqs.length;
    const isAtEnd = ({ index, count }: ProgressStretch) => index === 0 || index + count === end;
    const progress = this.progress.filter((stretch) => stretch.count >= this.#minStretch || isAtEnd(stretch));
    return { runSeqs: this.runSeqs, times: this.times, progress };
  }

  #addTime(index: number, at: number): void {
    if (Math.floor(at / QUARTER_MS) !== Math.floor(this.#lastAt / QUARTER_MS)) this.times.push([index, at]);
    this.#lastAt = at;
  }

  #addStretch(stretch: ProgressStretch): void {
    const before = this.progress.at(-1);
    const isNext = before?.stageId === stretch.stageId && before.index + before.count === stretch.index;
    if (!before || !isNext) {
      // No later event continues the stretch before.
      if (before && before.index > 0 && before.count < this.#minStretch) this.progress.pop();
      this.progress.push(stretch);
    } else {
      const count = before.count + stretch.count;
      this.progress[this.progress.length - 1] = { ...before, count, last: stretch.last };
    }
  }
}

function percentOf({ progress, done, total }: Progress): number | undefined {
  if (progress !== undefined) return progress;
  return done === undefined || !total ? undefined : Math.min(100, (100 * done) / total);
}
