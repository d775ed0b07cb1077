import { RunwireError } from '../../shared/errors.ts';
import type { GapReason } from '../../shared/protocol.ts';
import { can, coversProjects, type Resource } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import type { Log, StoredEvent } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { behindError, hasReached } from '../event-log/current.ts';
import { type Cursor, decodeCursor, type Position } from '../event-log/cursor.ts';
import type { Caller, Turns } from '../slices.ts';
import { liveAt, type Message, messageOf } from './messages.ts';
import type { Notifier } from './notifier.ts';
import type { ResumePositions } from './resume-positions.ts';
import type { Transport } from './transport.ts';
import { type Filter, topicOf, type WaitingReader, type Wake } from './waiting.ts';

/**
 * A subscription is a cursor over the log, not a queue. Its reader loops:
 *
 * 1. Wait until the transport has drained (few bytes are unsent).
 * 2. Read the events after the cursor, and yield them one by one.
 * 3. At the head of the log: yield `stream.live` once, then wait for the notifier.
 *
 * Replay and live events are one loop: there is no cut-over to get wrong, no buffer that grows, no message to lose.
 * `advance` decides the next step. `direct.ts` and `iterator.ts` only carry out this step, so both deliver the same items
 * in the same order.
 */

/** Where a subscription starts. `lastEventId`, the cursor of the last received item, overrides `from`. */
export type Start = { from: 'now' | 'start'; lastEventId?: string | undefined };

/**
 * A message that was read and not yet sent. `seq` is its position in the log. The events after `seq`, up to `scannedTo`, do
 * not match the filter of the subscription.
 */
export type Buffered = Position & { scannedTo: number; message: Message };

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
  positions: ResumePositions;
  /** A reader that has sent nothing for this time, while the log grew, sends `stream.live` with the head of the log. */
  quietMs: number;
  /** Maps an error that ends a subscription to the error that the client receives. */
  translate: (error: unknown) => unknown;
  counts: DeliveryCounts;
  /** Shared by the consumers that request item by item. */
  turns: Turns;
  /** Resolves once the log is current. Rejects with `UNAVAILABLE` if that takes too long. */
  untilCurrent: () => Promise<void>;
};

/**
 * The next step of a reader:
 *
 * - a message: send it,
 * - `blocked`: wait until the transport has drained,
 * - `waiting`: wait for the notifier,
 * - `ended`: do nothing more,
 * - a promise: wait for a read.
 */
export type Step = (Position & { message: Message }) | 'blocked' | 'waiting' | 'ended' | Promise<void>;

/** The reason that the server sends with close code 1012. */
export const UNAVAILABLE_REASON = 'the event log is unavailable';

/** The reason that rejects a queued read of a reader that has ended. Nobody receives it. */
const ENDED = new Error('the subscription has ended');

export abstract class Reader implements WaitingReader {
  protected readonly context: ReaderContext;
  protected readonly transport: Transport;
  /** Position in the log: every event up to it has been sent or does not match. */
  protected position = 0;
  /** The principal at the last check of access. */
  protected principal: Principal;
  lastSentSeq = -1;
  lastSentAt = performance.now();
  readonly #start: Start;
  /** The gap to report to the client in the next message. */
  #gap: { reason: GapReason; fromSeq: number; toSeq: number; hashPrefix: string | undefined } | undefined;
  #isStarted = false;
  #isLive = false;
  /** The rights have changed so that earlier messages may not hold: the client gets a gap once it has all messages. */
  #mustReload = false;
  #isEnded = false;
  /** The epoch of `position`. */
  #epoch = '';

  constructor(context: ReaderContext, transport: Transport, start: Start) {
    this.context = context;
    this.transport = transport;
    this.principal = transport.principal;
    this.#start = start;
  }

  /** The topic to wait for, if the caller may read it. */
  protected abstract readonly wantedTopic: string;
  /**
   * Which events a fan-out group should send for this reader. Undefined for a reader that must be woken to read for itself.
   */
  abstract readonly filter: Filter | undefined;
  /** Removes the next message from the buffer (the messages that were read and not sent) and returns it. */
  protected abstract nextBuffered(): Buffered | undefined;
  /** Empties the buffer. The reader will read from `position` again. */
  protected abstract clearBuffer(): void;
  /** Number of erasures that have removed their text from the buffer. */
  protected bufferedErasures = 0;
  /**
   * Reads from `position` into the buffer, not beyond {@link head}. Moves `position` past events that do not match.
   */
  protected abstract fetch(): void | Promise<void>;
  /** The position at which a subscription with `from: 'start'` begins. */
  protected abstract readonly startPosition: number;
  /** The project or run that the caller must be able to read. Empty if the scope has several, or the project is not yet known. */
  protected abstract readonly readable: Pick<Resource, 'projectId' | 'runId'>;
  /** Whether to `fetch` at the head of the log too. */
  protected get mustFetch(): boolean {
    return false;
  }

  /** Without access, a topic without events: a scope that the caller may not read behaves like one that does not exist. */
  get topic(): string {
    return this.lacksAccess ? topicOf.nothing : this.wantedTopic;
  }

  maySee({ projectId, runId }: StoredEvent): boolean {
    return can(this.principal, 'read', { projectId, runId });
  }

  /** Reads count for the user. A read that is queued when the reader ends does not run. */
  protected get caller(): Caller {
    const isEnded = () => this.#isEnded;
    return {
      user: this.principal.sub,
      signal: {
        get aborted() {
          return isEnded();
        },
        reason: ENDED,
      },
    };
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Number of events between the reader's position and the head of the log. */
  get behind(): number {
    return Math.max(0, this.head - this.position);
  }

  /** The position up to which the notifier has woken the readers. The log may be ahead of it. */
  protected get head(): number {
    return this.context.notifier.history.seq;
  }

  /** Returns the next step. Throws the error that ends the subscription. */
  advance(): Step {
    const { log, notifier, quietMs, untilCurrent } = this.context;
    const { transport } = this;
    if (!log.isCurrent && !this.#isEnded) return untilCurrent();
    if (!this.#isStarted && !this.#isEnded) {
      const beginning = this.#begin();
      if (beginning) return beginning;
    }
    while (!this.#isEnded) {
      if (transport.principal !== this.principal) this.#checkAccess();
      transport.throwIfTokenInvalid?.();
      if (this.#epoch !== notifier.history.epoch) {
        this.#epoch = notifier.history.epoch;
        this.setGap('epoch_changed');
      }
      if (!transport.isDrained) {
        this.clearBuffer();
        return 'blocked';
      }
      if (this.#gap) {
        const { hashPrefix, ...gap } = this.#gap;
        this.context.counts.gaps[gap.reason]++;
        this.#gap = undefined;
        this.#isLive = false;
        this.position = gap.toSeq;
        return this.#emit({ seq: gap.toSeq, hashPrefix }, messageOf({ type: 'stream.gap', ...gap }));
      }
      if (this.bufferedErasures < log.erasures) this.clearBuffer();
      const buffered = this.nextBuffered();
      if (buffered) {
        this.position = buffered.scannedTo;
        return this.#emit(buffered, buffered.message);
      }
      if (this.lacksAccess) this.position = this.head;
      if (this.position < this.head || this.mustFetch) {
        const reading = this.fetch();
        if (reading) return reading;
        continue;
      }
      if (this.#mustReload) {
        this.#mustReload = false;
        this.setGap('access_changed');
        continue;
      }
      if (!this.#isLive || this.#isQuiet(quietMs)) {
        this.#isLive = true;
        const { position: seq } = this;
        return this.#emit({ seq, hashPrefix: notifier.history.hashPrefix }, liveAt(seq));
      }
      return 'waiting';
    }
    return 'ended';
  }

  /** Called when a waiting reader is woken. Moves its position. */
  wake(wake: Wake): void {
    // No event up to here matches: the notifier would have woken the reader for it.
    if (wake === 'tick') this.advanceTo(this.head);
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

  /**
   * Called by the first `advance`, not by the constructor: tRPC may drop a subscription before its first item, and does not
   * end it then.
   */
  #begin(): void | Promise<void> {
    this.#isStarted = true;
    const { from, lastEventId } = this.#start;
    this.#epoch = this.context.notifier.history.epoch;
    this.position = from === 'start' ? Math.min(this.startPosition, this.head) : this.head;
    if (lastEventId !== undefined) return this.#resume(decodeCursor(lastEventId));
    this.#countReplay();
  }

  #resume(cursor: Cursor): void | Promise<void> {
    if (cursor.epoch !== this.#epoch) this.setGap('epoch_changed');
    else if (cursor.seq > this.head) return this.#resumeAhead(cursor);
    else {
      const isKnown = this.context.positions.has(cursor);
      if (isKnown instanceof Promise) return isKnown.then((known) => this.#resumeAt(cursor.seq, known));
      this.#resumeAt(cursor.seq, isKnown);
    }
  }

  /** Resumes at a position that this node does not know yet: the client has it from another node. */
  async #resumeAhead(cursor: Cursor): Promise<void> {
    const { log, notifier } = this.context;
    if (await hasReached(log, cursor.seq)) {
      if (cursor.seq <= this.head) await this.#resume(cursor);
    } else if (this.#epoch === notifier.history.epoch) {
      if (cursor.seq <= (await log.durableHead()).seq) throw behindError();
      this.setGap('ahead');
    }
    // Otherwise the epoch has changed meanwhile, which `advance` sees.
  }

  #resumeAt(seq: number, isKnown: boolean): void {
    if (isKnown) {
      this.position = seq;
      this.#countReplay();
    } else this.setGap('epoch_changed');
  }

  #countReplay(): void {
    if (this.position < this.head) this.context.counts.replays++;
  }

  #emit({ seq, hashPrefix }: Position, message: Message): Step {
    this.lastSentSeq = seq;
    this.lastSentAt = performance.now();
    return { seq, hashPrefix, message };
  }

  /**
   * Makes the gap the next message. Then the reader continues at the oldest event after an expired cursor, otherwise at the
   * head.
   */
  protected setGap(reason: Exclude<GapReason, 'expired'>): void {
    const { seq: toSeq, hashPrefix } = this.context.notifier.history;
    this.clearBuffer();
    this.#gap = { reason, fromSeq: 1, toSeq, hashPrefix };
  }

  /** Makes an `expired` gap the next message. `oldest`: position of the oldest event that the log still has. */
  protected setExpired(oldest: number): void {
    this.clearBuffer();
    const toSeq = Math.min(oldest - 1, this.head);
    this.#gap = { reason: 'expired', fromSeq: this.position + 1, toSeq, hashPrefix: undefined };
  }

  /**
   * Whether the client should get the new head. Compares with the last message, because the position also moves past events
   * that do not match.
   */
  #isQuiet(quietMs: number): boolean {
    return this.position > this.lastSentSeq && performance.now() - this.lastSentAt >= quietMs;
  }

  /** Whether the messages depend on the roles of the principal. A change of the roles is then a gap. */
  protected get dependsOnRoles(): boolean {
    return false;
  }

  /** Whether the scope has all that the principal may read, so that wider and narrower rights change it. */
  protected get isOfAll(): boolean {
    return this.readable.projectId === undefined;
  }

  protected get lacksAccess(): boolean {
    return !can(this.principal, 'read', this.readable);
  }

  #checkAccess(): void {
    const before = this.principal;
    const after = this.transport.principal;
    this.principal = after;
    const { readable, isOfAll } = this;
    const couldRead = can(before, 'read', readable);
    const canRead = can(after, 'read', readable);
    if (couldRead && !canRead) throw new RunwireError('FORBIDDEN', 'the caller may no longer read this');
    const isWider = canRead && (!couldRead || (isOfAll && !coversProjects(before, after)));
    const isNarrower = isOfAll && !coversProjects(after, before);
    const hasOtherRoles =
      canRead && this.dependsOnRoles && before.roles.toSorted().join() !== after.roles.toSorted().join();
    if (isWider) this.setGap('access_changed');
    else {
      this.clearBuffer(); // The buffer was filled with the old rights.
      this.#mustReload ||= isNarrower || hasOtherRoles;
    }
  }
}
