import { RunwireError } from '../../shared/errors.ts';
import type { StoredEvent } from '../event-log/contract/log.ts';

type Waiter = { check(): void; fail(error: unknown): void };

/**
 * Keeps the callers that wait for the decision of an approval (waiters). Each waiter reads the approval at once, and
 * again after each commit with a request or a decision for its run id and approval id. Polling was rejected: nearly all
 * reads would find no change.
 */
export class DecisionWaiters {
  readonly #waiters = new Map<string, Set<Waiter>>();
  /** Position of the last record of {@link committed}. */
  #lastSeq = 0;
  #isClosed = false;

  /**
   * Calls `read` at once and after each request and decision. Resolves with the first result that is not undefined. Rejects with an
   * error of `read`, with the signal's reason, and with `UNAVAILABLE` once closed.
   */
  wait<T>(
    { runId, approvalId, signal }: { runId: string; approvalId: string; signal?: AbortSignal | undefined },
    read: () => Promise<T | undefined>,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(closedError());
      if (signal?.aborted) return reject(signal.reason);
      const key = keyOf(runId, approvalId);
      const settle = (answer: () => void) => {
        signal?.removeEventListener('abort', abort);
        const others = this.#waiters.get(key);
        others?.delete(waiter);
        if (others?.size === 0) this.#waiters.delete(key);
        answer();
      };
      const waiter: Waiter = {
        check: () => {
          read().then(
            (found) => found !== undefined && settle(() => resolve(found)),
            (error) => settle(() => reject(error)),
          );
        },
        fail: (error) => settle(() => reject(error)),
      };
      const abort = () => waiter.fail(signal?.reason);
      signal?.addEventListener('abort', abort);
      // Registered before the first read: a decision during that read then causes a second read.
      const waiters = this.#waiters.get(key) ?? new Set();
      this.#waiters.set(key, waiters.add(waiter));
      waiter.check();
    });
  }

  /**
   * Makes each waiter read again if these events contain a request or a decision for it. A node may skip rows that retention has
   * removed: then every waiter reads again.
   */
  committed(records: readonly StoredEvent[]): void {
    const isSkipping = (records[0]?.seq ?? 0) > this.#lastSeq + 1;
    this.#lastSeq = records.at(-1)?.seq ?? this.#lastSeq;
    if (this.#waiters.size === 0) return;
    if (isSkipping) for (const { check } of this.#all()) check();
    for (const record of records) {
      if (!TYPES.has(record.type)) continue;
      const { approvalId } = record.event as { approvalId: string };
      for (const { check } of this.#waiters.get(keyOf(record.runId, approvalId)) ?? []) check();
    }
  }

  /** Rejects every waiter with `UNAVAILABLE`. */
  close(): void {
    this.#isClosed = true;
    for (const { fail } of this.#all()) fail(closedError());
  }

  #all(): Waiter[] {
    return [...this.#waiters.values()].flatMap((waiters) => [...waiters]);
  }
}

const TYPES: ReadonlySet<string> = new Set(['governance.required', 'approval.granted', 'approval.denied']);

/** Unambiguous: a run id has no blanks. */
const keyOf = (runId: string, approvalId: string) => `${runId} ${approvalId}`;
const closedError = () => new RunwireError('UNAVAILABLE', 'the server is closing');
