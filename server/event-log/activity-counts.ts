import type { RunStatus } from '../../shared/run.ts';
import type { RunActivity, StatusCounts } from '../../shared/run-activity.ts';
import type { ActivityQuery } from './contract/runs.ts';

/** Counts runs by status: those of a period in equal parts of it, and the open ones. */
export class ActivityCounts {
  readonly #buckets: StatusCounts[];
  readonly #open: StatusCounts = {};
  readonly #sinceMs: number;
  readonly #untilMs: number;

  constructor({ since, until, buckets }: Pick<ActivityQuery, 'since' | 'until' | 'buckets'>) {
    this.#sinceMs = Date.parse(since);
    this.#untilMs = Date.parse(until);
    this.#buckets = Array.from({ length: buckets }, () => ({}));
  }

  /** Whether no instant is in the period. */
  get isEmpty(): boolean {
    return this.#untilMs <= this.#sinceMs;
  }

  addCreated(createdAt: string, status: keyof StatusCounts): void {
    const { length } = this.#buckets;
    const at = Math.floor(((Date.parse(createdAt) - this.#sinceMs) * length) / (this.#untilMs - this.#sinceMs));
    add(this.#buckets[Math.min(length - 1, Math.max(0, at))] as StatusCounts, status, 1);
  }

  addOpen(status: RunStatus, count = 1): void {
    add(this.#open, status, count);
  }

  result(isComplete: boolean): RunActivity {
    return { buckets: this.#buckets, open: this.#open, isComplete };
  }
}

function add(counts: StatusCounts, status: keyof StatusCounts, count: number): void {
  counts[status] = (counts[status] ?? 0) + count;
}
