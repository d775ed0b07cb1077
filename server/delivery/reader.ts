import { RunwireError } from '../../shared/errors.ts';
import type { GapReason } from '../../shared/protocol.ts';
import { can } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import type { Log, StoredEvent } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { type Cursor, decodeCursor } from '../event-log/cursor.ts';
import { liveAt, type Message, messageOf } from './messages.ts';
import type { Notifier } from './notifier.ts';
import type { Transport } from './transport.ts';
import { type Filter, topicOf, type WaitingReader, type Wake } from './waiting.ts';

/**
 * A subscription is a cursor over the log, not a queue. Its reader loops:
 *
 * 1. Wait until the socket has drained.
 * 2. Read the events after the cursor, and yield them one by one.
 * 3. At the head: yield `stream.live` once, then wait for the notifier.
 *
 * Replay and live events are one loop: there is no cut-over to get wrong, no buffer that grows, no message to lose.
 * {@link Reader.advance} decides the next step. `direct.ts` and `iterator.ts` only carry it out, so both deliver the same
 * items in the same order.
 */

/** Where a subscription starts. `lastEventId` overrides `from`. */
export type Start = { from: 'now' | 'start'; lastEventId?: string | undefined };

/** A message at the position `seq`. No other event up to `scannedTo` matches. */
export type Buffered = { seq: number; scannedTo: number; message: Message };

/** Totals since the server started. */
export type DeliveryCounts = {
  /** Messages sent to all readers. */
  delivered: number;
  /** Subscriptions that started behind the head. */
  replays: number;
  gaps: Record<GapReason, number>;
  /** Events left out because later ones supersede them. */
  conflated: number;
};

/** Shared by all readers of a server. */
export type ReaderContext = {
  log: Log & Pick<EventLog, 'runs'>;
  notifier: Notifier;
  /** A reader that has sent nothing for this time sends the head. */
  quietMs: number;
  /** Maps an error that ends a subscription to the one that its client receives. */
  translate: (error: unknown) => unknown;
  counts: DeliveryCounts;
  /** Number of erasures. A reader discards events that it read before the latest one. */
  erasures: number;
};

/**
 * The next step of a reader:
 *
 * - a message to send,
 * - `blocked`: wait until the transport has drained,
 * - `waiting`: wait for the notifier,
 * - `ended`,
 * - a promise: wait for a read.
 */
export type Step = { seq: number; message: Message } | 'blocked' | 'waiting' | 'ended' | Promise<void>;

/** The reason of a close with 1012. */
export const UNAVAILABLE_REASON = 'the event log is unavailable';

export abstract class Reader implements WaitingReader {
  protected readonly context: ReaderContext;
  protected readonly transport: Transport;
  /** Everything up to here has been sent or does not match. */
  protected position = 0;
  /** The principal at the last check of access. */
  protected principal: Principal;
  lastSentSeq = -1;
  lastSentAt = performance.now();
  readonly #start: Start;
  /** Yielded next. */
  #gap: { reason: GapReason; fromSeq: number; toSeq: number } | undefined;
  #isStarted = false;
  #isLive = false;
  #isEnded = false;
  /** `context.erasures` when the buffer was read. */
  #erasures = 0;

  constructor(context: ReaderContext, transport: Transport, start: Start) {
    this.context = context;
    this.transport = transport;
    this.principal = transport.principal;
    this.#start = start;
  }

  /** The topic to wait for, if the caller may read it. */
  protected abstract readonly wantedTopic: string;
  /** Accepts events for its fan-out group. Undefined for a reader that must be woken to read for itself. */
  abstract readonly filter: Filter | undefined;
  /** Takes the next message out of the buffer: the messages that were read and not sent. */
  protected abstract nextBuffered(): Buffered | undefined;
  /** The events are read again from `position`. */
  protected abstract clearBuffer(): void;
  /** Reads from `position` into the buffer. Moves `position` past events that do not match. */
  protected abstract fetch(): void | Promise<void>;
  /** The position of `from: 'start'`. */
  protected abstract readonly startPosition: number;
  /** The only project of the reader's scope, if it has one. */
  protected abstract readonly projectId: string | undefined;

  /** A scope that the caller may not read has a topic without events, like one that does not exist. */
  get topic(): string {
    return this.lacksAccess ? topicOf.nothing : this.wantedTopic;
  }

  maySee({ projectId }: StoredEvent): boolean {
    return can(this.principal, 'read', { projectId });
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Events between its position and the head. */
  get behind(): number {
    return Math.max(0, this.context.log.head - this.position);
  }

  /** Returns the next step. Throws the error that ends the subscription. */
  advance(): Step {
    const { log, quietMs } = this.context;
    const { transport } = this;
    if (!this.#isStarted && !this.#isEnded) this.#begin();
    while (!this.#isEnded) {
      if (transport.principal !== this.principal) this.#checkAccess();
      transport.throwIfTokenInvalid?.();
      if (!transport.isDrained) {
        this.clearBuffer();
        return 'blocked';
      }
      if (this.#gap) {
        const gap = this.#gap;
        this.context.counts.gaps[gap.reason]++;
        this.#gap = undefined;
        this.#isLive = false;
        this.position = gap.toSeq;
        return this.#emit(gap.toSeq, messageOf({ type: 'stream.gap', ...gap }));
      }
      if (this.#erasures !== this.context.erasures) this.clearBuffer();
      const buffered = this.nextBuffered();
      if (buffered) {
        this.position = buffered.scannedTo;
        return this.#emit(buffered.seq, buffered.message);
      }
      if (this.lacksAccess) this.position = log.head;
      if (this.position < log.head) {
        this.#erasures = this.context.erasures;
        const reading = this.fetch();
        if (reading) return reading;
        continue;
      }
      if (!this.#isLive || this.#isQuiet(quietMs)) {
        this.#isLive = true;
        return this.#emit(this.position, liveAt(this.position));
      }
      return 'waiting';
    }
    return 'ended';
  }

  /** Continues after `waiting`. */
  wake(wake: Wake): void {
    // The notifier would have woken the reader for an earlier match: no event in between matches.
    if (wake === 'tick') this.advanceTo(this.context.log.head);
    else if (wake !== 'access') this.advanceTo(wake.seq - 1);
  }

  /** Skips to a position up to which every match has been sent. */
  advanceTo(position: number): void {
    this.position = Math.max(this.position, position);
  }

  /**
   * Whether an error must close the socket instead of ending the subscription: a client does not resume a subscription that
   * ended with an error.
   */
  isInterruption(error: unknown): boolean {
    return !!this.transport.close && error instanceof RunwireError && error.code === 'UNAVAILABLE';
  }

  end(): void {
    this.#isEnded = true;
    this.clearBuffer();
  }

  /** Not in the constructor: a subscription that is dropped before its first item is never ended. */
  #begin(): void {
    this.#isStarted = true;
    const { log } = this.context;
    const { from, lastEventId } = this.#start;
    this.position = from === 'start' ? this.startPosition : log.head;
    if (lastEventId !== undefined) this.#resume(decodeCursor(lastEventId));
    if (this.position < log.head) this.context.counts.replays++;
  }

  #resume({ epoch, seq }: Cursor): void {
    const { log } = this.context;
    if (epoch !== log.epoch) this.setGap('epoch_changed');
    else if (seq > log.head) this.setGap('ahead');
    else this.position = seq;
  }

  #emit(seq: number, message: Message): Step {
    this.lastSentSeq = seq;
    this.lastSentAt = performance.now();
    return { seq, message };
  }

  /** Delivery continues at the head, or after an expired cursor at the oldest event. */
  protected setGap(reason: GapReason): void {
    const { head, oldest } = this.context.log;
    this.clearBuffer();
    this.#gap =
      reason === 'expired'
        ? { reason, fromSeq: this.position + 1, toSeq: oldest - 1 }
        : { reason, fromSeq: 1, toSeq: head };
  }

  /** Compares with the last message to the client: the position also moves past events that do not match. */
  #isQuiet(quietMs: number): boolean {
    return this.position > this.lastSentSeq && performance.now() - this.lastSentAt >= quietMs;
  }

  protected get lacksAccess(): boolean {
    return !can(this.principal, 'read', { projectId: this.projectId });
  }

  #checkAccess(): void {
    const before = this.principal;
    const after = this.transport.principal;
    this.principal = after;
    const { projectId } = this;
    const couldRead = can(before, 'read', { projectId });
    const canRead = can(after, 'read', { projectId });
    if (couldRead && !canRead) throw new RunwireError('FORBIDDEN', 'the caller may no longer read this');
    const isWider =
      canRead && (!couldRead || (projectId === undefined && after.projects.some((id) => !covers(before.projects, id))));
    if (isWider) this.setGap('access_changed');
    else this.clearBuffer(); // Read with the old rights.
  }
}

const covers = (projects: readonly string[], projectId: string) =>
  projects.includes('*') || projects.includes(projectId);
