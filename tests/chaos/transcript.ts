import { decodeCursor } from '../../server/event-log/cursor.ts';
import type { RunEvent } from '../../shared/events.ts';
import type { StreamSignal } from '../../shared/protocol.ts';
import type { ReaderPlan } from './plan.ts';

export type Item = RunEvent | StreamSignal;
export type Seen = { cursor: string; item: Item };

/** What a reader saw, from its first item to its last, over however many connections. */
export class Transcript {
  readonly plan: ReaderPlan;
  readonly seen: Seen[] = [];
  /** The cursor that it began with, if any. */
  startCursor: string | undefined;
  /** A position that the log had reached before it joined, while there is only one log. */
  floor: number | undefined;
  /** How many trims were over when it joined. */
  trimsAtJoin: number | undefined;
  /** How many trims had begun when its first item came. */
  trimsBefore = 0;
  /** Whether it stayed until the end, by when it must have seen everything. */
  hasStayed = false;
  /** What ended its subscription, which nothing may do. */
  failure: string | undefined;
  /** The position where it was to arrive in the end, unless it did. */
  missed: number | undefined;
  readonly #trimsBegun: () => number;
  #arrival: { epoch: string; seq: number; resolve: () => void } | undefined;

  constructor(plan: ReaderPlan, trimsBegun: () => number) {
    this.plan = plan;
    this.#trimsBegun = trimsBegun;
  }

  /** Where it goes on after an absence. */
  get cursor(): string | undefined {
    return this.seen.at(-1)?.cursor ?? this.startCursor;
  }

  add(cursor: string, item: Item): void {
    if (this.seen.length === 0) this.trimsBefore = this.#trimsBegun();
    this.seen.push({ cursor, item });
    this.#arrive();
  }

  /** Resolves once it has come to a position of a log. */
  arrives(epoch: string, seq: number): Promise<void> {
    return new Promise((resolve) => {
      this.#arrival = { epoch, seq, resolve };
      this.#arrive();
    });
  }

  /** Its words, so that a failure can be looked at. */
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
