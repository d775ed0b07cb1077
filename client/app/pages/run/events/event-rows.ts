import {
  type EventFilter,
  type EventPositions,
  EventPositionsBuilder,
  eventMatcher,
  type ProgressStretch,
  type RunEvent,
  runwireErrorOf,
} from '../../../../hooks/index.ts';
import { isRetryable } from '../../../lib/errors.ts';

/**
 * The rows of a list of events: events that match a filter, days between them, and folded stretches of progress. The rows
 * follow from the positions of the events, which the server finds in parts, the latest first. Later events come from the
 * subscription.
 */

export type Row =
  | { kind: 'event'; runSeq: number }
  /** A stretch of progress events. While it is folded, the row stands for them. */
  | { kind: 'progress'; runSeq: number; lastRunSeq: number; stretch: ProgressStretch; isOpen: boolean }
  | { kind: 'day'; at: number; runSeq: number };

/** Positions that one part covers. */
const PART_EVENTS = 10_000;
/** Shorter stretches of progress are not folded. */
const MIN_FOLDED = 5;
const RETRY_MS = 3_000;

export type FetchPositions = (fromRunSeq: number, toRunSeq: number) => Promise<EventPositions>;
export type EventRowsOptions = {
  filter: EventFilter;
  /** Whether stretches of progress are folded. */
  isFolding: boolean;
  /** Number of a day of the user's calendar. */
  dayOf: (at: number) => number;
};

/** Kinds of rows, in the order of the rows that begin at the same event. */
const [DAY, PROGRESS, EVENT] = [0, 1, 2];
const KINDS = 4;

export class EventRows {
  readonly #fetch: FetchPositions;
  readonly #options: EventRowsOptions;
  readonly #matches: (event: RunEvent) => boolean;
  readonly #listeners = new Set<() => void>();
  #found = new EventPositionsBuilder(MIN_FOLDED);
  /** Every event from `#low` to `#high` was looked at. */
  #low = 1;
  #high = 0;
  #hasBegun = false;
  #total = 0;
  #wantsAll = false;
  #oldest = 1;
  #live: readonly RunEvent[] = [];
  /** A stretch with one of these positions is open. */
  readonly #opened = new Set<number>();
  /** Rows, in order: `KINDS` × the index of the row's first event + the kind. */
  #rows: number[] = [];
  #isFetching = false;
  #error: unknown;
  #version = 0;
  #generation = 0;

  constructor(fetch: FetchPositions, options: EventRowsOptions) {
    this.#fetch = fetch;
    this.#options = options;
    this.#matches = eventMatcher(options.filter);
  }

  readonly getVersion = (): number => this.#version;
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Every event up to this one was looked at, from {@link low} on. */
  get looked(): number {
    return this.#high;
  }
  /** Changes when rows above others have changed: the position of a row is then another. */
  get generation(): number {
    return this.#generation;
  }
  get count(): number {
    return this.#rows.length;
  }
  /** Number of events that match, of those that were looked at. */
  get found(): number {
    return this.#found.runSeqs.length;
  }
  /** True once every event of the run was looked at. */
  get isComplete(): boolean {
    return this.#hasBegun && this.#low <= this.#oldest && this.#high >= this.#total;
  }
  /** First event that was looked at; events before it are still to come. */
  get low(): number {
    return this.#low;
  }
  /** Retention has removed the events before this one. */
  get oldest(): number {
    return this.#oldest;
  }
  /** Why positions could not be fetched; the next attempt follows after a failure of the connection alone. */
  get problem(): string | undefined {
    return this.#error === undefined || isRetryable(this.#error) ? undefined : runwireErrorOf(this.#error).message;
  }

  /** Number of rows with events up to a position. */
  countUpTo(runSeq: number): number {
    const end = lowerBound(this.#found.runSeqs, runSeq + 1);
    return lowerBound(this.#rows, end * KINDS);
  }

  /** Number of matching events up to a position. */
  foundUpTo(runSeq: number): number {
    return lowerBound(this.#found.runSeqs, runSeq + 1);
  }

  at(row: number): Row | undefined {
    const packed = this.#rows[row];
    if (packed === undefined) return undefined;
    const { runSeqs, times, progress } = this.#found;
    const index = Math.floor(packed / KINDS);
    const runSeq = runSeqs[index] as number;
    const kind = packed % KINDS;
    if (kind === EVENT) return { kind: 'event', runSeq };
    if (kind === DAY) return { kind: 'day', at: (times[lastAtMost(times, index, ([at]) => at)] ?? [0, 0])[1], runSeq };
    const stretch = progress[lastAtMost(progress, index, (one) => one.index)] as ProgressStretch;
    const lastRunSeq = runSeqs[stretch.index + stretch.count - 1] as number;
    return { kind: 'progress', runSeq, lastRunSeq, stretch, isOpen: this.#isOpen(stretch) };
  }

  /** Index of the event in the list of found events: neighbours have neighbouring indexes. */
  indexOf(runSeq: number): number {
    const index = lowerBound(this.#found.runSeqs, runSeq);
    return this.#found.runSeqs[index] === runSeq ? index : -1;
  }

  /** Row of an event, or of the folded stretch that it is in; −1 if it does not match, or is not known yet. */
  rowOf(runSeq: number): number {
    const index = this.indexOf(runSeq);
    return index === -1 ? -1 : lowerBound(this.#rows, (index + 1) * KINDS) - 1;
  }

  /** Opens or folds the stretch with an event. */
  toggle(runSeq: number): void {
    const stretch = this.#stretchOf(runSeq);
    if (!stretch) return;
    if (this.#isOpen(stretch)) for (const one of this.#positionsOf(stretch)) this.#opened.delete(one);
    else this.#opened.add(runSeq);
    this.#build(0);
    this.#changed();
  }

  /** Opens the folded stretch with an event, so that the event has a row. */
  reveal(runSeq: number): void {
    const row = this.at(this.rowOf(runSeq));
    if (row?.kind === 'progress' && !row.isOpen) this.toggle(runSeq);
  }

  /** Looks at the events before those of the first part too. */
  readonly wantAll = (): void => {
    if (this.#wantsAll) return;
    this.#wantsAll = true;
    if (!this.#isFetching) void this.#fill();
  };

  /** The run has `total` events, of which `live` are the latest. */
  update(total: number, live: readonly RunEvent[]): void {
    this.#total = Math.max(this.#total, total);
    this.#live = live;
    if (this.#extend()) this.#changed();
    if (!this.#isFetching) void this.#fill();
  }

  readonly retry = (): void => {
    this.#error = undefined;
    if (!this.#isFetching && this.#listeners.size > 0) void this.#fill();
  };

  async #fill(): Promise<void> {
    if (this.#error !== undefined && !isRetryable(this.#error)) return;
    this.#isFetching = true;
    try {
      for (let range = this.#missing(); range; range = this.#missing()) {
        const [from, to] = range;
        const part = new EventPositionsBuilder(MIN_FOLDED);
        let oldest = from;
        for (let next = from; next <= to; ) {
          const page = await this.#fetch(next, to);
          if (next === from) oldest = page.oldest;
          part.append(page);
          if (page.through < next) break; // The log ends before this position.
          next = page.through + 1;
        }
        this.#add(part, from, to, oldest);
      }
      this.#error = undefined;
    } catch (error) {
      this.#error = error;
      if (isRetryable(error)) setTimeout(this.retry, RETRY_MS);
      else this.#changed();
    }
    this.#isFetching = false;
  }

  /** The next positions to look at: the latest, then later ones that the subscription does not have, then earlier ones. */
  #missing(): [from: number, to: number] | undefined {
    if (!this.#hasBegun)
      return this.#total === 0 ? undefined : [Math.max(1, this.#total - PART_EVENTS + 1), this.#total];
    if (this.#extend()) this.#changed();
    if (this.#high < this.#total) return [this.#high + 1, this.#total];
    if (!this.#wantsAll || this.#low <= this.#oldest) return undefined;
    return [Math.max(1, this.#low - PART_EVENTS), this.#low - 1];
  }

  #add(part: EventPositionsBuilder, from: number, to: number, oldest: number): void {
    this.#oldest = Math.max(this.#oldest, oldest > from ? oldest : 1);
    const isEarlier = this.#hasBegun && to < this.#low;
    const before = this.#found.runSeqs.length;
    if (isEarlier) {
      part.append(this.#found.list());
      this.#found = part;
    } else this.#found.append(part.list());
    if (!this.#hasBegun || isEarlier) this.#low = from;
    if (!isEarlier) this.#high = to;
    this.#hasBegun = true;
    this.#build(isEarlier ? 0 : before);
    this.#changed();
  }

  /** Adds live events that follow the last one. Returns whether there were any. */
  #extend(): boolean {
    const live = this.#live;
    let at = this.#high + 1 - (live[0]?.runSeq ?? 0);
    if (!this.#hasBegun || live[at]?.runSeq !== this.#high + 1) return false;
    const before = this.#found.runSeqs.length;
    for (let event = live[at]; event?.runSeq === this.#high + 1; event = live[++at]) {
      this.#high = event.runSeq;
      if (this.#matches(event)) this.#found.add(event);
    }
    this.#total = Math.max(this.#total, this.#high);
    this.#build(before);
    return true;
  }

  /** Builds the rows again from the event with an index on. */
  #build(from: number): void {
    const { runSeqs, times, progress } = this.#found;
    const { dayOf, isFolding } = this.#options;
    let nextStretch = lastAtMost(progress, from, ({ index }) => index);
    // The new events may continue the last stretch before them.
    const before = progress[nextStretch];
    const start = before && before.index + before.count > from ? before.index : from;
    if (!before || before.index < start) nextStretch++;
    if (from === 0) this.#generation++;
    this.#rows.length = lowerBound(this.#rows, start * KINDS);
    let nextTime = Math.max(
      0,
      lastAtMost(times, start, ([index]) => index),
    );
    for (let index = start; index < runSeqs.length; ) {
      while (nextTime < times.length && (times[nextTime] as [number, number])[0] < index) nextTime++;
      const time = times[nextTime];
      const earlier = times[nextTime - 1];
      if (time && earlier && time[0] === index && dayOf(time[1]) !== dayOf(earlier[1])) this.#push(DAY, index);
      while (nextStretch < progress.length && (progress[nextStretch] as ProgressStretch).index < index) nextStretch++;
      const stretch = progress[nextStretch];
      const isStretch = isFolding && stretch?.index === index && stretch.count >= MIN_FOLDED;
      if (isStretch) this.#push(PROGRESS, index);
      if (isStretch && !this.#isOpen(stretch)) index += stretch.count;
      else {
        const end = isStretch ? index + stretch.count : index + 1;
        for (; index < end; index++) this.#push(EVENT, index);
      }
    }
  }

  #push(kind: number, index: number): void {
    this.#rows.push(index * KINDS + kind);
  }

  #stretchOf(runSeq: number): ProgressStretch | undefined {
    const index = this.indexOf(runSeq);
    const stretch = this.#found.progress[lastAtMost(this.#found.progress, index, (one) => one.index)];
    return stretch && index < stretch.index + stretch.count ? stretch : undefined;
  }

  #isOpen(stretch: ProgressStretch): boolean {
    if (this.#opened.size === 0) return false;
    const { runSeqs } = this.#found;
    const [first, last] = [runSeqs[stretch.index] as number, runSeqs[stretch.index + stretch.count - 1] as number];
    return [...this.#opened].some((one) => one >= first && one <= last);
  }

  #positionsOf({ index, count }: ProgressStretch): number[] {
    return this.#found.runSeqs.slice(index, index + count);
  }

  #changed(): void {
    this.#version++;
    for (const listener of [...this.#listeners]) listener();
  }
}

/** Index of the first number that is at least `value`. */
function lowerBound(numbers: readonly number[], value: number): number {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((numbers[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the last item with a number of at most `value`; −1 if there is none. */
function lastAtMost<T>(items: readonly T[], value: number, numberOf: (item: T) => number): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numberOf(items[middle] as T) <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
