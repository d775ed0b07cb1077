import { type TrackedEnvelope, tracked } from '@trpc/server';
import { RunwireError } from '../../shared/errors.ts';
import type { GapReason, StreamSignal } from '../../shared/events.ts';
import { can, type Principal } from '../auth.ts';
import type { EventLog } from '../event-log/log.ts';
import { type Bell, Waiter } from './bell.ts';
import { decodeCursor, encodeCursor } from './cursor.ts';

/**
 * A subscription is a cursor over the log, not a queue. A reader reads what is after its cursor, waits for its socket to
 * drain, yields, and when there is nothing more waits for the bell. Replay and tail are one loop: there is no cut-over
 * to get wrong, no buffer to grow, no message to lose.
 *
 * Written by hand rather than as an async generator: `return()` of a generator waits for the `next()` under way, which
 * for a quiet reader may be for ever. https://github.com/tc39/proposal-async-iteration#async-generator-functions
 */

/** The other end of a subscription. */
export interface Transport {
  /** Who reads. Another object once a fresh token has been put in place. */
  readonly principal: Principal;
  /** Whether what was sent has left. */
  readonly isDrained: boolean;
  /** Resolves once drained, or closed. */
  drained(): Promise<void>;
  /**
   * Closes the connection in a way that brings the client back with its cursor. Absent where there is no connection:
   * then the reader throws.
   */
  interrupt?: (() => void) | undefined;
  /** Told of each reader's beginning and end. */
  attach(reader: Attached): void;
  detach(reader: Attached): void;
}

export interface Attached {
  /** Events between this reader and the head that it has yet to look at; 0 for one that waits. */
  readonly lag: number;
  /** Makes the reader look at its principal again. */
  poke(): void;
}

/** Where a subscription begins. `lastEventId` overrides `from`. */
export type Start = { from: 'now' | 'start'; lastEventId?: string | undefined };

/** An item, its position, and how far nothing else matches: at least its position. */
export type Taken<Item> = { seq: number; seenTo: number; item: Item };

export type ReaderContext = {
  log: EventLog;
  bell: Bell;
  transport: Transport;
  /** A reader that has been silent for so long is told where the head is. */
  quietMs: number;
  /** Counts what is yielded. */
  onDelivered: () => void;
};

export type Tracked<Item> = TrackedEnvelope<Item | StreamSignal>;

export abstract class Reader<Item> implements AsyncIterableIterator<Tracked<Item>>, Attached {
  protected readonly context: ReaderContext;
  /** Everything up to here has been yielded or does not match. */
  protected position = 0;
  /** The rights this reader goes by. */
  protected principal: Principal;
  readonly #start: Start;
  readonly #signal: AbortSignal | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #gap: { reason: GapReason; fromSeq: number; toSeq: number } | undefined;
  #waiter: Waiter | undefined;
  #isStarted = false;
  #isLive = false;
  #isEnded = false;
  #yieldedSeq = -1;
  #yieldedAt = performance.now();
  #onEnd: (() => void)[] = [];

  constructor(context: ReaderContext, start: Start, signal: AbortSignal | undefined) {
    this.context = context;
    this.principal = context.transport.principal;
    this.#start = start;
    this.#signal = signal;
  }

  /** What this reader waits for: a key of the bell. */
  protected abstract readonly bellKey: string;
  /** The next item that has been read and not been yielded. */
  protected abstract take(): Taken<Item> | undefined;
  /** Forgets what has been read and not been yielded. */
  protected abstract drop(): void;
  /** Reads on from `position`; moves it to what has been scanned without a match. */
  protected abstract readOn(): Promise<void>;
  /** Position of `from: 'start'`. */
  protected abstract readonly beginning: number;
  /** The project that the reader is about, where it is about one. */
  protected abstract readonly projectId: string | undefined;

  next(): Promise<IteratorResult<Tracked<Item>>> {
    const pull = () => this.#pull();
    const result = this.#last.then(pull);
    this.#last = result.catch(() => undefined);
    return result;
  }

  return(): Promise<IteratorResult<Tracked<Item>>> {
    this.#end();
    return Promise.resolve({ done: true, value: undefined });
  }

  throw(error: unknown): Promise<IteratorResult<Tracked<Item>>> {
    this.#end();
    return Promise.reject(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get lag(): number {
    return this.#waiter ? 0 : Math.max(0, this.context.log.head - this.position);
  }

  poke(): void {
    if (this.#waiter) this.context.bell.wake(this.#waiter, 'poke');
  }

  protected get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Resolves after a time, or when the reader ends. */
  protected sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#onEnd = this.#onEnd.filter((listener) => listener !== stop);
        resolve();
      }, ms);
      const stop = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#onEnd.push(stop);
    });
  }

  async #pull(): Promise<IteratorResult<Tracked<Item>>> {
    try {
      return await this.#advance();
    } catch (error) {
      const { transport } = this.context;
      if (!transport.interrupt || !(error instanceof RunwireError) || error.code !== 'UNAVAILABLE') {
        this.#end();
        throw error;
      }
      // An error would make the client forget the subscription; a closed socket makes it come back with its cursor.
      transport.interrupt();
      if (!this.#isEnded) await new Promise<void>((resolve) => this.#onEnd.push(resolve));
      return { done: true, value: undefined };
    }
  }

  async #advance(): Promise<IteratorResult<Tracked<Item>>> {
    const { log, transport, quietMs } = this.context;
    if (!this.#isStarted && !this.#isEnded) this.#begin();
    while (!this.#isEnded) {
      if (transport.principal !== this.principal) this.#reviewAccess();
      if (this.#isExpired()) throw new RunwireError('UNAUTHENTICATED', 'the token has expired');
      if (!transport.isDrained) {
        this.drop();
        await transport.drained();
        continue;
      }
      if (this.#gap) {
        const gap = this.#gap;
        this.#gap = undefined;
        this.#isLive = false;
        this.position = gap.toSeq;
        return this.#yield(gap.toSeq, { type: 'stream.gap', ...gap });
      }
      const taken = this.take();
      if (taken) {
        this.position = taken.seenTo;
        return this.#yield(taken.seq, taken.item);
      }
      if (this.#isBlind()) this.position = log.head;
      if (this.position < log.head) {
        await this.readOn();
        continue;
      }
      if (!this.#isLive || this.#isQuiet(quietMs)) {
        this.#isLive = true;
        return this.#yield(this.position, { type: 'stream.live', seq: this.position });
      }
      await this.#wait();
    }
    return { done: true, value: undefined };
  }

  #yield(seq: number, item: Item | StreamSignal): IteratorResult<Tracked<Item>> {
    this.#yieldedSeq = seq;
    this.#yieldedAt = performance.now();
    this.context.onDelivered();
    return { done: false, value: tracked(encodeCursor(this.context.log.epoch, seq), item) };
  }

  // Not in the constructor: a handler that gives up before the first item never calls `return()`.
  #begin(): void {
    this.#isStarted = true;
    const { log, transport } = this.context;
    transport.attach(this);
    if (this.#signal?.aborted) this.#end();
    else this.#signal?.addEventListener('abort', this.#end);
    const { from, lastEventId } = this.#start;
    this.position = from === 'start' ? this.beginning : log.head;
    if (lastEventId === undefined) return;
    const cursor = decodeCursor(lastEventId);
    if (cursor.epoch !== log.epoch) this.setGap('epoch_changed');
    else if (cursor.seq > log.head) this.setGap('ahead');
    else this.position = cursor.seq;
  }

  /** Nothing up to the head, or for an expired cursor up to the oldest kept, can be vouched for. */
  protected setGap(reason: GapReason): void {
    const { head, oldest } = this.context.log;
    this.drop();
    this.#gap =
      reason === 'expired'
        ? { reason, fromSeq: this.position + 1, toSeq: oldest - 1 }
        : { reason, fromSeq: 1, toSeq: head };
  }

  #isQuiet(quietMs: number): boolean {
    return this.position > this.#yieldedSeq && performance.now() - this.#yieldedAt >= quietMs;
  }

  async #wait(): Promise<void> {
    const { bell, quietMs } = this.context;
    if (bell.isClosed) throw new RunwireError('UNAVAILABLE', 'the server has closed');
    // By what the client knows, not by the position: that moves on in silence past what does not match.
    const waiter = new Waiter(this.bellKey, this.#yieldedSeq, this.#yieldedAt + quietMs);
    this.#waiter = waiter;
    bell.add(waiter);
    const wake = await waiter.woken;
    this.#waiter = undefined;
    // Nothing between the position and what rang, or at a tick the head, concerns this reader.
    if (wake === 'tick') this.position = this.context.log.head;
    else if (wake !== 'poke') this.position = Math.max(this.position, wake.seq - 1);
  }

  /** What the caller may not see looks like what does not exist: the reader waits. */
  #isBlind(): boolean {
    return !can(this.principal, 'read', { projectId: this.projectId });
  }

  /** Of an open socket the connection takes care, in a way that brings the client back. */
  #isExpired(): boolean {
    const { expiresAtMs } = this.principal;
    return !this.context.transport.interrupt && expiresAtMs !== undefined && expiresAtMs <= Date.now();
  }

  #reviewAccess(): void {
    const before = this.principal;
    const after = this.context.transport.principal;
    this.principal = after;
    const { projectId } = this;
    const couldRead = can(before, 'read', { projectId });
    const canRead = can(after, 'read', { projectId });
    if (couldRead && !canRead) throw new RunwireError('FORBIDDEN', 'the right to read this has ended');
    const isWider =
      canRead && (!couldRead || (projectId === undefined && after.projects.some((id) => !covers(before.projects, id))));
    if (isWider) this.setGap('access_changed');
    else this.drop(); // What was read by the old rights is read again by the new.
  }

  readonly #end = (): void => {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.drop();
    this.#signal?.removeEventListener('abort', this.#end);
    this.context.transport.detach(this);
    this.poke();
    for (const listener of this.#onEnd) listener();
    this.#onEnd = [];
  };
}

const covers = (projects: readonly string[], projectId: string) =>
  projects.includes('*') || projects.includes(projectId);
