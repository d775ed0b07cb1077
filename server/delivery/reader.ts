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
import type { Filter, Waiting } from './waiting.ts';
import { topicOf, type Wake } from './waiting.ts';

/**
 * A subscription is a cursor over the log, not a queue. A reader reads what is after its cursor, waits for its socket to
 * drain, sends, and when there is nothing more waits for the notifier. Replay and tail are one loop: there is no cut-over to
 * get wrong, no buffer to grow, no message to lose.
 *
 * The rules are here, as steps; who takes them is `iterator.ts`, when it is asked for an item, and `direct.ts`, when there
 * is something to send. Both see the same items in the same order, since neither decides anything.
 */

/** Where a subscription begins. `lastEventId` overrides `from`. */
export type Start = { from: 'now' | 'start'; lastEventId?: string | undefined };

/** A message, its position, and how far nothing else matches: at least its position. */
export type Taken = { seq: number; seenTo: number; message: Message };

/** Since the start. */
export type DeliveryCounts = {
  /** Messages sent to all readers. */
  delivered: number;
  /** Subscriptions that began behind the head. */
  replays: number;
  gaps: Record<GapReason, number>;
  /** Events left out since later ones supersede them. */
  conflated: number;
};

/** What all readers of a server have in common. */
export type ReaderContext = {
  log: Log & Pick<EventLog, 'runs'>;
  notifier: Notifier;
  /** A reader that has been silent for so long is told where the head is. */
  quietMs: number;
  /** Makes of what ends a subscription the error that its client is told. */
  translate: (error: unknown) => unknown;
  counts: DeliveryCounts;
  /** How many events have been erased: what was read before the last of them is not to be sent. */
  erasures: number;
};

/**
 * The next message; or why there is none: `blocked` until the transport has drained, `waiting` until the notifier rings, or
 * `ended`. A promise: what comes is being read.
 */
export type Step = { seq: number; message: Message } | 'blocked' | 'waiting' | 'ended' | Promise<void>;

/** The reason of a close with {@link closeCodes.tryAgain}. */
export const UNAVAILABLE_REASON = 'the event log is unavailable';

export abstract class Reader implements Waiting {
  protected readonly context: ReaderContext;
  protected readonly transport: Transport;
  /** Everything up to here has been sent or does not match. */
  protected position = 0;
  /** The rights this reader goes by. */
  protected principal: Principal;
  lastSentSeq = -1;
  lastSentAt = performance.now();
  readonly #start: Start;
  #gap: { reason: GapReason; fromSeq: number; toSeq: number } | undefined;
  #isStarted = false;
  #isLive = false;
  #isEnded = false;
  /** As it was when what is held was asked for. */
  #erasures = 0;

  constructor(context: ReaderContext, transport: Transport, start: Start) {
    this.context = context;
    this.transport = transport;
    this.principal = transport.principal;
    this.#start = start;
  }

  /** What this reader waits for, where it may see it. */
  protected abstract readonly wantedKey: string;
  /** What it is sent while it waits; absent where it has to be woken, to look by itself. */
  abstract readonly filter: Filter | undefined;
  /** The next message that has been read and not been sent. */
  protected abstract nextBuffered(): Taken | undefined;
  /** Forgets what has been read and not been sent. */
  protected abstract clearBuffer(): void;
  /** Reads on from `position`; moves it to what has been scanned without a match. */
  protected abstract fetch(): void | Promise<void>;
  /** Position of `from: 'start'`. */
  protected abstract readonly beginning: number;
  /** The project that the reader is about, where it is about one. */
  protected abstract readonly projectId: string | undefined;

  /** The key of the notifier to wait under. What the caller may not see looks like what does not exist. */
  get bellKey(): string {
    return this.isBlind ? topicOf.nothing : this.wantedKey;
  }

  maySee({ projectId }: StoredEvent): boolean {
    return can(this.principal, 'read', { projectId });
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Events that it has yet to look at, unless it waits. */
  get behind(): number {
    return Math.max(0, this.context.log.head - this.position);
  }

  /** Goes on to what comes next. Throws what ends the subscription. */
  advance(): Step {
    const { log, quietMs } = this.context;
    const { transport } = this;
    if (!this.#isStarted && !this.#isEnded) this.#begin();
    while (!this.#isEnded) {
      if (transport.principal !== this.principal) this.#reviewAccess();
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
        return this.#tell(gap.toSeq, messageOf({ type: 'stream.gap', ...gap }));
      }
      if (this.#erasures !== this.context.erasures) this.clearBuffer();
      const taken = this.nextBuffered();
      if (taken) {
        this.position = taken.seenTo;
        return this.#tell(taken.seq, taken.message);
      }
      if (this.isBlind) this.position = log.head;
      if (this.position < log.head) {
        this.#erasures = this.context.erasures;
        const reading = this.fetch();
        if (reading) return reading;
        continue;
      }
      if (!this.#isLive || this.#isQuiet(quietMs)) {
        this.#isLive = true;
        return this.#tell(this.position, liveAt(this.position));
      }
      return 'waiting';
    }
    return 'ended';
  }

  /** Takes up again what was left at `waiting`. */
  wake(wake: Wake): void {
    // Nothing between the position and what rang, or at a tick the head, concerns this reader.
    if (wake === 'tick') this.advanceTo(this.context.log.head);
    else if (wake !== 'access') this.advanceTo(wake.seq - 1);
  }

  /** Everything up to a position has been sent for it, or does not match. */
  advanceTo(position: number): void {
    this.position = Math.max(this.position, position);
  }

  /** Whether an error is one that the client must not be told, since it would forget the subscription. */
  isInterruption(error: unknown): boolean {
    return !!this.transport.close && error instanceof RunwireError && error.code === 'UNAVAILABLE';
  }

  end(): void {
    this.#isEnded = true;
    this.clearBuffer();
  }

  /** Not in the constructor: a subscription that is given up before the first item is never ended. */
  #begin(): void {
    this.#isStarted = true;
    const { log } = this.context;
    const { from, lastEventId } = this.#start;
    this.position = from === 'start' ? this.beginning : log.head;
    if (lastEventId !== undefined) this.#resume(decodeCursor(lastEventId));
    if (this.position < log.head) this.context.counts.replays++;
  }

  #resume({ epoch, seq }: Cursor): void {
    const { log } = this.context;
    if (epoch !== log.epoch) this.setGap('epoch_changed');
    else if (seq > log.head) this.setGap('ahead');
    else this.position = seq;
  }

  #tell(seq: number, message: Message): Step {
    this.lastSentSeq = seq;
    this.lastSentAt = performance.now();
    return { seq, message };
  }

  /** Nothing up to the head, or for an expired cursor up to the oldest kept, can be vouched for. */
  protected setGap(reason: GapReason): void {
    const { head, oldest } = this.context.log;
    this.clearBuffer();
    this.#gap =
      reason === 'expired'
        ? { reason, fromSeq: this.position + 1, toSeq: oldest - 1 }
        : { reason, fromSeq: 1, toSeq: head };
  }

  /** By what the client knows, not by the position: that moves on in silence past what does not match. */
  #isQuiet(quietMs: number): boolean {
    return this.position > this.lastSentSeq && performance.now() - this.lastSentAt >= quietMs;
  }

  protected get isBlind(): boolean {
    return !can(this.principal, 'read', { projectId: this.projectId });
  }

  #reviewAccess(): void {
    const before = this.principal;
    const after = this.transport.principal;
    this.principal = after;
    const { projectId } = this;
    const couldRead = can(before, 'read', { projectId });
    const canRead = can(after, 'read', { projectId });
    if (couldRead && !canRead) throw new RunwireError('FORBIDDEN', 'the right to read this has ended');
    const isWider =
      canRead && (!couldRead || (projectId === undefined && after.projects.some((id) => !covers(before.projects, id))));
    if (isWider) this.setGap('access_changed');
    else this.clearBuffer(); // What was read by the old rights is read again by the new.
  }
}

const covers = (projects: readonly string[], projectId: string) =>
  projects.includes('*') || projects.includes(projectId);
