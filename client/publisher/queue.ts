import { type DraftIssue, RunwireError } from '../../shared/errors.ts';
import type { Receipt } from './answer.ts';
import { countThatFit, lastOf, type Part, type PublisherDraft, partOf, partsOf } from './parts.ts';
import { durationOf, type EventSender } from './sender.ts';
import type { SpillFile } from './spill.ts';

export type QueueOptions = {
  /** The `projectId` for drafts without a `projectId`. */
  projectId?: string | undefined;
  /** A call of `publish` fails if the server has not stored the call's drafts after this time; default never. */
  retryForMs?: number | undefined;
  /**
   * Maximum number of drafts that wait for the server; default 100,000. A call with the end of a run or an event of an
   * approval has room up to twice this number.
   */
  queueLimit?: number | undefined;
  /** Maximum size of the waiting drafts as JSON; default 64 MiB, and likewise twice that. */
  queueLimitBytes?: number | undefined;
};

/** The answer of the server for the drafts of one call. */
export type PublishResult = {
  /** Number of drafts that this call has stored. */
  accepted: number;
  /** Number of drafts that were already stored, with the same `eventId`, before this call. */
  duplicates: number;
  /** Highest position of these events in the log. */
  seq: number;
};

/** One call of `publish`, or an entry that the spill file had at the start. */
type Call = {
  accepted: number;
  duplicates: number;
  seq: number;
  /** Time at which the call fails, on the clock of `performance.now()`. */
  deadlineMs: number;
  partsLeft: number;
  /** Whether the promise is settled. With a spill file, the drafts of a failed call still wait. */
  isSettled: boolean;
  /** Whether the drafts that are left of the call are dropped. */
  isDropped: boolean;
  isAwaited: boolean;
  promise?: Promise<PublishResult>;
  resolve?(result: PublishResult): void;
  reject?(error: RunwireError): void;
};

export type QueueContext = {
  sender: EventSender;
  spill: SpillFile | undefined;
  /**
   * Receives the error of each failed call, and of drafts that are refused after their call has failed. `willRetry` is true
   * if the drafts stay in the spill file.
   */
  onFailure: (error: RunwireError, willRetry: boolean) => void;
};

/** Maximum size of the requests that outlive their page. Browsers allow 64 KiB in all. */
const LAST_BYTES = 60 * 1024;

/**
 * Sends the drafts of all calls of `publish` in order, one request at a time. (A draft is an event before the server
 * stores it.) During a request further drafts wait. The next request contains as many of the waiting drafts as fit.
 *
 * The server stores a request as a whole or not at all. After a refusal the queue finds the calls that caused it, fails
 * these calls, and sends the others again.
 *
 * With a spill file, drafts leave the queue and the file only when the server has stored or refused them. A call that
 * fails for another reason leaves its drafts in both.
 */
export class PublishQueue {
  readonly #sender: EventSender;
  readonly #spill: SpillFile | undefined;
  readonly #onFailure: QueueContext['onFailure'];
  readonly #projectId: string | undefined;
  readonly #retryForMs: number;
  readonly #limit: number;
  readonly #limitBytes: number;
  #queue: Part<Call>[] = [];
  /** The parts of the current request. */
  #sending: Part<Call>[] = [];
  /** Drafts in the queue and in the current request. */
  #waiting = { drafts: 0, bytes: 0 };
  /** Sends the queue; undefined while the queue is empty. */
  #running: Promise<void> | undefined;
  /** Code that waits. While there is any, a delay keeps a process with a spill file running. */
  #holds = 0;
  /** Size of the current requests that outlive the page. */
  #lastBytes = 0;

  constructor({ sender, spill, onFailure }: QueueContext, options: QueueOptions) {
    this.#sender = sender;
    this.#spill = spill;
    this.#onFailure = onFailure;
    this.#projectId = options.projectId;
    this.#retryForMs = durationOf('retryForMs', options.retryForMs, Number.POSITIVE_INFINITY);
    this.#limit = options.queueLimit ?? 100_000;
    this.#limitBytes = options.queueLimitBytes ?? 64 * 1024 * 1024;
    if (!spill) return;
    sender.holdProcess(false);
    this.#enqueue(
      spill.recover((drafts) => {
        const call = newCall(Number.POSITIVE_INFINITY, 1);
        void this.#promiseOf(call);
        return partOf(call, drafts);
      }),
    );
  }

  /** Resolves once the drafts are durable. Rejects with a `RunwireError`. */
  add(drafts: readonly PublisherDraft[]): Promise<PublishResult> {
    const call = newCall(performance.now() + this.#retryForMs, 0);
    const promise = this.#promiseOf(call);
    try {
      if (drafts.length === 0) throw new RunwireError('INVALID_INPUT', 'no events to publish', { path: 'events' });
      const parts = partsOf(call, drafts, this.#projectId);
      call.partsLeft = parts.length;
      this.#requireRoom(drafts.length, parts);
      this.#spill?.append(parts);
      this.#enqueue(parts);
    } catch (error) {
      this.#reject(call, error as RunwireError, false);
    }
    return promise;
  }

  /** Returns a promise that is rejected with `error`, and reports the error. */
  refuse(error: RunwireError): Promise<PublishResult> {
    const call = newCall(0, 0);
    const promise = this.#promiseOf(call);
    this.#reject(call, error, false);
    return promise;
  }

  /** Resolves when every call so far is settled. */
  async settled(): Promise<void> {
    const promises = [...this.#sending, ...this.#queue].map((part) => part.call.promise);
    await Promise.allSettled(new Set(promises));
  }

  /** Resolves when the queue is empty, or the sender has given up. The process keeps running until then. */
  async ended(): Promise<void> {
    this.#hold();
    await this.#running;
    this.#spill?.close();
  }

  /**
   * Sends what waits in one request that outlives the page, as far as its size allows: the calls with the end of a run
   * first. All calls stay in the queue. If the page lives on, the server drops the second copy of their drafts by its ids.
   */
  sendLast(): void {
    const waiting = [...this.#sending, ...this.#queue].filter((part) => !part.isSentLast && !part.call.isDropped);
    const parts = lastOf(waiting, LAST_BYTES - this.#lastBytes);
    if (parts.length === 0) return;
    const bytes = bytesOf(parts);
    this.#lastBytes += bytes;
    for (const part of parts) part.isSentLast = true;
    void this.#sender.sendLast(bodyOf(parts), draftsIn(parts)).then(() => {
      this.#lastBytes -= bytes;
      for (const part of parts) part.isSentLast = false;
    });
  }

  #promiseOf(call: Call): Promise<PublishResult> {
    const executor: ConstructorParameters<typeof Promise<PublishResult>>[0] = (resolve, reject) => {
      call.resolve = resolve;
      call.reject = reject;
    };
    if (!this.#spill) {
      call.promise = new Promise(executor);
      return call.promise;
    }
    const promise = new AwaitedPromise(executor);
    promise.onAwaited = () => {
      if (call.isAwaited || call.isSettled) return;
      call.isAwaited = true;
      this.#hold();
    };
    call.promise = promise;
    return promise;
  }

  #requireRoom(count: number, parts: Part<Call>[]): void {
    const factor = parts.some((part) => part.isVital) ? 2 : 1;
    const { drafts, bytes } = this.#waiting;
    if (drafts + count <= factor * this.#limit && bytes + bytesOf(parts) <= factor * this.#limitBytes) return;
    const message = `the queue has no room for ${count} events: ${drafts} events wait for the server`;
    throw new RunwireError('RATE_LIMITED', message);
  }

  #enqueue(parts: Part<Call>[]): void {
    for (const part of parts) {
      this.#count(part, 1);
      this.#queue.push(part);
    }
    if (this.#queue.length > 0) this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // So that calls in the same turn of the event loop share a request.
    while (this.#queue.length > 0 && !(this.#spill && this.#sender.hasGivenUp)) {
      const count = countThatFit(this.#queue);
      this.#sending = this.#queue.slice(0, count);
      this.#queue = this.#queue.slice(count);
      const kept = await this.#deliver(this.#sending);
      if (kept.length > 0) this.#queue = [...kept, ...this.#queue];
      this.#sending = [];
    }
    this.#running = undefined;
    // The sender has given up. The spill file has the drafts.
    for (const { call } of this.#queue) {
      this.#reject(
        call,
        new RunwireError('UNAVAILABLE', 'the publisher is closed; the spill file has the events'),
        true,
      );
    }
  }

  /**
   * Sends parts in one request. After a refusal, fails the parts that caused it and sends the others again. Returns the
   * parts that must be sent later.
   */
  async #deliver(given: Part<Call>[]): Promise<Part<Call>[]> {
    // A call with several parts fails with its first refused part. Its other parts are then dropped.
    this.#release(given.filter((part) => part.call.isDropped));
    const parts = given.filter((part) => !part.call.isDropped);
    if (parts.length === 0) return [];
    const deadlineMs = Math.min(...parts.map((part) => part.call.deadlineMs));
    const outcome = await this.#sender.send(bodyOf(parts), draftsIn(parts), deadlineMs);
    if (outcome.kind === 'stored') {
      this.#succeed(parts, outcome.receipts);
      return [];
    }
    const { kind, error } = outcome;
    if (kind === 'refused') return this.#divide(parts, error);
    const nowMs = performance.now();
    const late = kind === 'failed' ? parts : parts.filter((part) => part.call.deadlineMs <= nowMs);
    for (const { call } of late) this.#reject(call, error, this.#spill !== undefined);
    if (!this.#spill) {
      for (const { call } of late) call.isDropped = true;
      return this.#deliver(parts); // Releases the late parts.
    }
    for (const { call } of late) call.deadlineMs = Number.POSITIVE_INFINITY;
    if (kind === 'late') return this.#deliver(parts);
    await this.#sender.rest();
    return parts;
  }

  /** Handles a refusal: drops the parts that caused it, and sends the others. */
  async #divide(parts: Part<Call>[], error: RunwireError): Promise<Part<Call>[]> {
    const failures = failuresOf(parts, error);
    for (const [{ call }, itsError] of failures) {
      if (call.isSettled) this.#onFailure(itsError, false);
      this.#reject(call, itsError, false);
      call.isDropped = true;
    }
    if (failures.size > 0) return this.#deliver(parts);
    // The error does not state which draft caused it. Each half is sent alone, until a single part is left.
    const [first, second] = [parts.slice(0, parts.length / 2), parts.slice(parts.length / 2)];
    const kept = await this.#deliver(first);
    return kept.length > 0 ? [...kept, ...second] : this.#deliver(second);
  }

  #succeed(parts: Part<Call>[], receipts: Receipt[]): void {
    this.#release(parts);
    let at = 0;
    for (const { call, count, ownIds } of parts) {
      for (let index = 0; index < count; index++) {
        const { seq, isDuplicate } = receipts[at++] as Receipt;
        call.seq = Math.max(call.seq, seq);
        if (isDuplicate && ownIds?.has(index)) call.duplicates++;
        else call.accepted++;
      }
      if (--call.partsLeft > 0 || call.isSettled) continue;
      this.#noteSettled(call);
      call.resolve?.({ accepted: call.accepted, duplicates: call.duplicates, seq: call.seq });
    }
  }

  #reject(call: Call, error: RunwireError, willRetry: boolean): void {
    if (call.isSettled) return;
    this.#noteSettled(call);
    call.promise?.catch(() => undefined); // Code may ignore the promise.
    call.reject?.(error);
    this.#onFailure(error, willRetry);
  }

  #noteSettled(call: Call): void {
    call.isSettled = true;
    if (call.isAwaited && --this.#holds === 0) this.#sender.holdProcess(false);
  }

  #hold(): void {
    if (this.#holds++ === 0) this.#sender.holdProcess(true);
  }

  #release(parts: Part<Call>[]): void {
    for (const part of parts) this.#count(part, -1);
    this.#spill?.settle(parts);
  }

  #count({ count, bytes }: Part<Call>, sign: 1 | -1): void {
    this.#waiting.drafts += sign * count;
    this.#waiting.bytes += sign * bytes;
  }
}

/** A promise that reports when code waits for its value. A handler of errors alone does not count. */
class AwaitedPromise<T> extends Promise<T> {
  onAwaited: (() => void) | undefined;

  /** Promises made by `then` are plain ones. */
  static override get [Symbol.species]() {
    return Promise;
  }

  // biome-ignore lint/suspicious/noThenProperty: `await` calls it.
  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    if (onFulfilled) this.onAwaited?.();
    return super.then(onFulfilled, onRejected);
  }
}

const newCall = (deadlineMs: number, partsLeft: number): Call => ({
  accepted: 0,
  duplicates: 0,
  seq: 0,
  deadlineMs,
  partsLeft,
  isSettled: false,
  isDropped: false,
  isAwaited: false,
});

const bodyOf = (parts: Part<unknown>[]) => `[${parts.map((part) => part.json).join(',')}]`;
const draftsIn = (parts: Part<unknown>[]) => parts.reduce((sum, part) => sum + part.count, 0);
const bytesOf = (parts: Part<unknown>[]) => parts.reduce((sum, part) => sum + part.bytes, 0);

/** Returns the refused parts of a request, each with its own error; none if the refusal does not state them. */
function failuresOf(parts: Part<Call>[], error: RunwireError): Map<Part<Call>, RunwireError> {
  const failures = new Map<Part<Call>, RunwireError>();
  let first = 0;
  for (const part of parts) {
    const end = first + part.count;
    const shift = part.offset - first;
    const issues = error.issues
      .filter(({ index }) => index >= first && index < end)
      .map((issue) => ({ ...issue, index: issue.index + shift }));
    if (issues.length > 0) failures.set(part, withIssues(error, issues));
    else if (parts.length === 1) failures.set(part, error);
    first = end;
  }
  return failures;
}

/**
 * A request can carry drafts of several `publish` calls. Returns the request's error for one of these calls. `issues` are the
 * issues of this call's drafts, with indices that count from the call's first draft.
 */
function withIssues(error: RunwireError, issues: DraftIssue[]): RunwireError {
  const [first] = issues;
  const path = first?.path ? `events.${first.index}.${first.path}` : `events.${first?.index}`;
  return new RunwireError(error.code, `${path}: ${first?.message}`, { path, issues });
}
