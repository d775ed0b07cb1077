import { type DraftIssue, errorTable, RunwireError } from '../../shared/errors.ts';
import { countThatFit, type Part, type PublisherDraft, partsOf } from './parts.ts';
import type { EventSender, Receipt } from './sender.ts';

export type QueueOptions = {
  /** The `projectId` for drafts without a `projectId`. */
  projectId?: string | undefined;
  /** A call of `publish` fails if the server has not stored the call's drafts after this time; default never. */
  retryForMs?: number | undefined;
  /** Maximum number of drafts that wait for the server; default 100,000. */
  queueLimit?: number | undefined;
  /** Maximum size of the waiting drafts as JSON; default 64 MiB. */
  queueLimitBytes?: number | undefined;
};

export type PublishResult = {
  /** Number of drafts that this call has stored. */
  accepted: number;
  /** Number of drafts that were already stored, with the same `eventId`, before this call. */
  duplicates: number;
  /** Highest position of these events in the log. */
  seq: number;
};

/** One call of `publish`. */
type Call = {
  result: PublishResult;
  /** Time at which the call fails, on the clock of `performance.now()`. */
  deadlineMs: number;
  partsLeft: number;
  isSettled: boolean;
  resolve(result: PublishResult): void;
  reject(error: RunwireError): void;
};

/**
 * Sends the drafts of all calls of `publish` in order, one request at a time. (A draft is an event before the server
 * stores it.) During a request further drafts wait. The next request contains as many of the waiting drafts as fit.
 *
 * The server stores a request as a whole or not at all. After a refusal the queue finds the calls that caused it, fails
 * these calls, and sends the others again.
 */
export class PublishQueue {
  readonly #sender: EventSender;
  readonly #projectId: string | undefined;
  readonly #retryForMs: number;
  readonly #limit: number;
  readonly #limitBytes: number;
  #queue: Part<Call>[] = [];
  /** Drafts in the queue and in the current request. */
  #waiting = { drafts: 0, bytes: 0 };
  #isRunning = false;

  constructor(sender: EventSender, options: QueueOptions) {
    this.#sender = sender;
    this.#projectId = options.projectId;
    this.#retryForMs = options.retryForMs ?? Number.POSITIVE_INFINITY;
    this.#limit = options.queueLimit ?? 100_000;
    this.#limitBytes = options.queueLimitBytes ?? 64 * 1024 * 1024;
  }

  /** Resolves once the drafts are durable. Rejects with a `RunwireError`. */
  add(drafts: readonly PublisherDraft[]): Promise<PublishResult> {
    return new Promise((resolve, reject) => {
      if (drafts.length === 0) throw new RunwireError('INVALID_INPUT', 'no events to publish', { path: 'events' });
      const result = { accepted: 0, duplicates: 0, seq: 0 };
      const deadlineMs = performance.now() + this.#retryForMs;
      const call: Call = { result, deadlineMs, partsLeft: 0, isSettled: false, resolve, reject };
      const parts = partsOf(call, drafts, this.#projectId);
      call.partsLeft = parts.length;
      this.#reserve(
        drafts.length,
        parts.reduce((sum, part) => sum + part.bytes, 0),
      );
      for (const part of parts) this.#queue.push(part);
      if (!this.#isRunning) void this.#run();
    });
  }

  #reserve(count: number, bytes: number): void {
    const waiting = { drafts: this.#waiting.drafts + count, bytes: this.#waiting.bytes + bytes };
    if (waiting.drafts > this.#limit || waiting.bytes > this.#limitBytes) {
      const message = `the queue has no room for ${count} events: ${this.#waiting.drafts} events wait for the server`;
      throw new RunwireError('RATE_LIMITED', message);
    }
    this.#waiting = waiting;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    await Promise.resolve(); // So that calls in the same turn of the event loop share a request.
    while (this.#queue.length > 0) {
      const count = countThatFit(this.#queue);
      const parts = this.#queue.slice(0, count);
      this.#queue = this.#queue.slice(count);
      await this.#deliver(parts);
    }
    this.#isRunning = false;
  }

  /** Sends parts in one request. After a refusal, fails the parts that caused it and sends the others again. */
  async #deliver(given: Part<Call>[]): Promise<void> {
    // A call with several parts fails with its first failed part. Its other parts are then dropped.
    for (const part of given) if (part.call.isSettled) this.#release(part);
    const parts = given.filter((part) => !part.call.isSettled);
    if (parts.length === 0) return;
    const drafts = parts.flatMap((part) => part.drafts);
    const deadlineMs = Math.min(...parts.map((part) => part.call.deadlineMs));
    let receipts: Receipt[];
    try {
      receipts = await this.#sender.send(`[${drafts.join(',')}]`, drafts.length, deadlineMs);
    } catch (caught) {
      const error = caught as RunwireError;
      const failures = this.#failuresOf(parts, error);
      for (const [part, itsError] of failures) this.#fail(part, itsError);
      if (failures.size > 0) return this.#deliver(parts.filter((part) => !failures.has(part)));
      // The error does not state which draft caused it. Each half is sent alone, until a single part is left.
      await this.#deliver(parts.slice(0, parts.length / 2));
      return this.#deliver(parts.slice(parts.length / 2));
    }
    let at = 0;
    for (const part of parts) {
      this.#succeed(part, receipts.slice(at, at + part.drafts.length));
      at += part.drafts.length;
    }
  }

  /** Returns the parts that failed with their request, each with its own error; none if the cause is not known. */
  #failuresOf(parts: Part<Call>[], error: RunwireError): Map<Part<Call>, RunwireError> {
    if (errorTable[error.code].retryable) {
      const late = parts.filter((part) => this.#sender.hasGivenUp || part.call.deadlineMs <= performance.now());
      return new Map(late.map((part) => [part, error]));
    }
    const failures = new Map<Part<Call>, RunwireError>();
    let first = 0;
    for (const part of parts) {
      const end = first + part.drafts.length;
      const shift = part.offset - first;
      const issues = error.issues
        .filter(({ index }) => index >= first && index < end)
        .map((issue) => ({ ...issue, index: issue.index + shift }));
      if (issues.length > 0) failures.set(part, withIssues(error, issues));
      else if (error.code === 'UNAUTHENTICATED' || parts.length === 1) failures.set(part, error);
      first = end;
    }
    return failures;
  }

  #succeed(part: Part<Call>, receipts: Receipt[]): void {
    this.#release(part);
    const { call } = part;
    const { result } = call;
    receipts.forEach(({ seq, isDuplicate }, index) => {
      result.seq = Math.max(result.seq, seq);
      if (isDuplicate && !part.hasGeneratedId[index]) result.duplicates++;
      else result.accepted++;
    });
    if (--call.partsLeft > 0) return;
    call.isSettled = true;
    call.resolve(result);
  }

  #fail(part: Part<Call>, error: RunwireError): void {
    this.#release(part);
    part.call.isSettled = true;
    part.call.reject(error);
  }

  #release(part: Part<Call>): void {
    const { drafts, bytes } = this.#waiting;
    this.#waiting = { drafts: drafts - part.drafts.length, bytes: bytes - part.bytes };
  }
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
