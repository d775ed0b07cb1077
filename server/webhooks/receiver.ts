import type { WebhookFailure } from '../../shared/webhooks.ts';
import { backoffMs, FAILING_AFTER, isRefusal, type RetryOptions } from './retries.ts';
import type { Answer } from './sender.ts';

export type Failure = { reason: WebhookFailure; status?: number };

/** What the tries of a webhook say about its receiver: whether it fails, and when the next try may be. Times are Unix ms. */
export class ReceiverState {
  lastFailure: Failure | undefined;
  readonly #retries: RetryOptions;
  #failuresInRow = 0;
  /** Nothing is sent before this time: the receiver has asked for it. */
  #quietUntilMs = 0;
  /** While every try fails: the next one, and the end of the last one. */
  #nextProbeMs = 0;
  #lastProbeMs = 0;

  constructor(retries: RetryOptions) {
    this.#retries = retries;
  }

  /** The last tries of all deliveries have failed: one delivery at a time is tried. */
  get isFailing(): boolean {
    return this.#failuresInRow >= FAILING_AFTER;
  }

  /** Forgets what the former receiver has answered. */
  reset(): void {
    this.#failuresInRow = 0;
    this.#quietUntilMs = 0;
  }

  succeeded(): void {
    this.#failuresInRow = 0;
  }

  /** Returns which deliveries may be tried now. `probe`: the one that was tried least recently, `new`: only one without a try. */
  allowsAt(nowMs: number): 'due' | 'probe' | 'new' | undefined {
    if (nowMs < this.#quietUntilMs) return undefined;
    if (!this.isFailing) return 'due';
    if (nowMs >= this.#nextProbeMs) return 'probe';
    return nowMs >= this.#lastProbeMs + this.#retries.newProbeMs ? 'new' : undefined;
  }

  /** Returns when to look again, if the next delivery is due at `dueMs`. */
  nextMs(nowMs: number, dueMs: number | undefined): number | undefined {
    const { newProbeMs } = this.#retries;
    const probeMs = Math.min(this.#nextProbeMs, Math.max(nowMs, this.#lastProbeMs) + newProbeMs);
    const nextMs = this.isFailing ? probeMs : dueMs;
    return nextMs === undefined ? undefined : Math.max(nextMs, this.#quietUntilMs);
  }

  /** Returns when a failed delivery is tried again, if it is due at `dueMs`. */
  retryMs(dueMs: number): number {
    return Math.max(this.isFailing ? this.#nextProbeMs : dueMs, this.#quietUntilMs);
  }

  /** Returns the shortest wait before the same delivery is tried again. */
  failed(failure: Failure, answer: Answer, nowMs: number): number {
    const { maxRetryAfterMs, maxProbeMs } = this.#retries;
    this.lastFailure = failure;
    const waitMs = Math.min(answer.retryAfterMs ?? 0, maxRetryAfterMs);
    if (isRefusal(answer)) {
      this.#failuresInRow = 0;
      return waitMs;
    }
    this.#failuresInRow++;
    this.#lastProbeMs = nowMs;
    const probes = Math.max(1, this.#failuresInRow - FAILING_AFTER + 1);
    this.#nextProbeMs = nowMs + backoffMs(probes, this.#retries, maxProbeMs);
    if (waitMs > 0) this.#quietUntilMs = nowMs + waitMs;
    return waitMs;
  }
}
