import type { RunEvent } from '../../shared/events.ts';

/** An event and its cursor: a subscription resumes after the event from there. */
export type RecentEvent = { cursor: string; event: RunEvent };

/** Number of events that a trim keeps. Up to twice as many are held. */
const MIN_KEPT = 1_000;

/** The latest events of a feed, oldest first, for observers that join late or resume. */
export class RecentEvents {
  /** Every event after this position is kept; null while the position is unknown. */
  after: number | null;
  #list: RecentEvent[] = [];

  constructor(after: number | null) {
    this.after = after;
  }

  get isFull(): boolean {
    return this.#list.length >= 2 * MIN_KEPT;
  }

  add(cursor: string, event: RunEvent): void {
    this.after ??= event.seq - 1;
    this.#list.push({ cursor, event });
  }

  /** Drops the oldest events. */
  trim(): void {
    this.after = this.#list[this.#list.length - MIN_KEPT - 1]?.event.seq ?? this.after;
    this.#list = this.#list.slice(-MIN_KEPT);
  }

  /** Drops all events: those up to `after` are not kept. */
  reset(after: number): void {
    this.#list = [];
    this.after = after;
  }

  /** Returns the first kept event after a position. */
  next(seq: number): RecentEvent | undefined {
    // Nearly always the last event is the next one, or there is none.
    const last = this.#list.at(-1);
    if (!last || last.event.seq <= seq) return undefined;
    let low = 0;
    let high = this.#list.length - 1;
    if ((this.#list[high - 1]?.event.seq ?? 0) <= seq) return last;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#list[middle] as RecentEvent).event.seq > seq) high = middle;
      else low = middle + 1;
    }
    return this.#list[low];
  }
}
