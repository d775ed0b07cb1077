import { decodeCursor } from '../../server/event-log/cursor.ts';
import type { RunEvent } from '../../shared/events.ts';
import type { StreamSignal } from '../../shared/protocol.ts';
import type { ReaderPlan } from './plan.ts';

export type Item = RunEvent | StreamSignal;
export type Seen = { cursor: string; item: Item };

/** The items that a reader received, over all its connections. */
export class Transcript {
  readonly plan: ReaderPlan;
  readonly seen: Seen[] = [];
  /** The cursor of the first subscription, if any. */
  startCursor: string | undefined;
  /** A position that the log had reached before the reader joined; undefined after a change of the log. */
  floor: number | undefined;
  /** Trims finished before the reader joined. */
  trimsAtJoin: number | undefined;
  /** Trims begun before the first item arrived. */
  trimsBefore = 0;
  /** Whether the reader stayed until the end, and therefore must have received everything. */
  hasStayed = false;
  /** The error that ended its subscription; none is allowed. */
  failure: string | undefined;
  /** The final position, if the reader did not reach it. */
  missed: number | undefined;
  readonly #trimsBegun: () => number;
  #arrival: { epoch: string; seq: number; resolve: () => void } | undefined;

  constructor(plan: ReaderPlan, trimsBegun: () => number) {
    this.plan = plan;
    this.#trimsBegun = trimsBegun;
  }

  /** The cursor to resume with. */
  get cursor(): string | undefined {
    return this.seen.at(-1)?.cursor ?? this.startCursor;
  }

  add(cursor: string, item: Item): void {
    if (this.seen.length === 0) this.trimsBefore = this.#trimsBegun();
    this.seen.push({ cursor, item });
    this.#arrive();
  }

  /** Resolves once the reader has reached a position of a log. */
  arrives(epoch: string, seq: number): Promise<void> {
    return new Promise((resolve) => {
      this.#arrival = { epoch, seq, resolve };
      this.#arrive();
    });
  }

  /** A summary for the failure report. */
  toString(): string {
    const steps = this.seen.map(({ cursor, item }) => `${cursor}:${item.type}`);
    return `${JSON.stringify(this.plan)}\n${steps.join(' ')}`;
  }

  #arrive(): void {
    const last = this.seen.at(-1);
    if (!this.#arrival || !last) return;
    const { epoch, seq } = decodeCursor(last.cursor);
    if (epoch === this.#arrival.epoch && seq >= this.#arrival.seq) this.#arrival.resolve();
  }
}
