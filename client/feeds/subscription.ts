import type { TRPCClientErrorLike } from '@trpc/client';
import type { AppRouter } from '../../server/api/router.ts';
import { errorTable } from '../../shared/errors.ts';
import { isSignal, type StreamSignal } from '../../shared/protocol.ts';
import { backoffMs, pause } from '../connection/backoff.ts';
import type { Connection } from '../connection/connection.ts';
import type { ConnectionState } from '../connection/reconnect-policy.ts';
import { codeOf } from '../errors.ts';

/**
 * - `replaying`: the subscription delivers missed events.
 * - `live`: the subscription has delivered every match, and the view is complete.
 * - `gap`: events cannot be delivered (`gap` states their range), and the snapshot that replaces them is not loaded yet.
 */
export type RunFeedPhase = 'replaying' | 'live' | 'gap';

export type Gap = Pick<Extract<StreamSignal, { type: 'stream.gap' }>, 'reason' | 'fromSeq' | 'toSeq'>;

export type SubscriptionState = {
  connectionState: ConnectionState;
  /** Why the subscription ended, or why there is no connection; null without an error. */
  error: Error | null;
  /** Time of the next attempt to connect in Unix ms; null when none is planned. */
  retryAtMs: number | null;
  phase: RunFeedPhase;
  /** Every match up to this position of the log has been delivered; null before the server's first message. */
  seq: number | null;
  /** The last gap. It stays set after the snapshot has been loaded. */
  gap: Gap | null;
};

export type StreamObserver<Item> = {
  onData(message: { id: string; data: Item | StreamSignal }): void;
  onError(error: TRPCClientErrorLike<AppRouter>): void;
};

type SubscriptionCallbacks<Item> = {
  /** Opens the tRPC subscription after `cursor`. */
  open(cursor: string | undefined, observer: StreamObserver<Item>): { unsubscribe(): void };
  seqOf(item: Item): number;
  onItem(item: Item): void;
  onLive?(wasLive: boolean): void;
  /** The owner loads a snapshot and then sets `isInGap` to false. */
  onGap(gap: Gap, wasInGap: boolean): void;
  /** The server has ended the subscription. */
  onError?(error: Error): void;
  /** The connection has given up reconnecting. The subscription stays open. */
  onConnectionFailed?(error: Error): void;
  /** Called after each of the calls above, and when the status of the connection changes. */
  onChange(): void;
};

/**
 * One subscription with its cursor, and its state for a hook. `RunFeed` and `RunsFeed` are built on it.
 *
 * It opens after `cursor`, replays, and is live after `stream.live`. A lost connection sets it back to replaying; the
 * connection resumes it. `stream.gap` sets `isInGap` until the owner has loaded a snapshot. An error of the server ends
 * it and is kept in `failure`.
 */
export class FeedSubscription<Item extends object> {
  cursor: string | undefined;
  seq: number | null = null;
  gap: Gap | null = null;
  isInGap = false;
  failure: Error | null = null;

  readonly #connection: Connection<AppRouter>;
  readonly #handlers: SubscriptionCallbacks<Item>;
  #isLive = false;
  #stream: { unsubscribe(): void } | undefined;
  #stopWatching: (() => void) | undefined;

  constructor(connection: Connection<AppRouter>, handlers: SubscriptionCallbacks<Item>) {
    this.#connection = connection;
    this.#handlers = handlers;
  }

  get isOpen(): boolean {
    return this.#stream !== undefined;
  }

  /** Starts to report changes of the connection. */
  watch(): void {
    if (this.#stopWatching) return;
    let { state: before } = this.#connection.getStatus();
    this.#stopWatching = this.#connection.subscribe(() => {
      const { state, error } = this.#connection.getStatus();
      // After a reconnect the server replays missed events and then sends stream.live.
      if (state !== 'connected') this.#isLive = false;
      if (state === 'failed' && before !== 'failed' && !this.failure && error) {
        this.#handlers.onConnectionFailed?.(error);
      }
      before = state;
      this.#handlers.onChange();
    });
  }

  open(): void {
    this.#stream = this.#handlers.open(this.cursor, {
      onData: ({ id, data }) => this.#receive(id, data),
      onError: (error) => {
        this.failure = error as unknown as Error;
        this.#stream = undefined;
        this.#handlers.onError?.(this.failure);
        this.#handlers.onChange();
      },
    });
  }

  /** Closes the stream and keeps the cursor. */
  close(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#isLive = false;
    stream?.unsubscribe();
  }

  /** Closes the stream and stops reporting changes of the connection. */
  end(): void {
    this.#stopWatching?.();
    this.#stopWatching = undefined;
    this.close();
  }

  /** Returns the current state. With `needsSnapshot` the phase cannot be `live`. */
  state({ needsSnapshot = false } = {}): SubscriptionState {
    const { state, error, retryAtMs } = this.#connection.getStatus();
    return {
      connectionState: this.failure ? 'failed' : state === 'idle' ? 'connecting' : state,
      error: this.failure ?? error,
      retryAtMs: this.failure ? null : retryAtMs,
      phase: this.isInGap ? 'gap' : this.#isLive && !needsSnapshot ? 'live' : 'replaying',
      seq: this.seq,
      gap: this.gap,
    };
  }

  #receive(cursor: string, item: Item | StreamSignal): void {
    if (!this.isOpen) return; // A closed stream delivers nothing, whatever the client's link does.
    this.cursor = cursor;
    if (!isSignal(item)) {
      this.seq = this.#handlers.seqOf(item);
      this.#handlers.onItem(item);
    } else if (item.type === 'stream.live') {
      const wasLive = this.#isLive;
      this.seq = item.seq;
      this.#isLive = true;
      this.#handlers.onLive?.(wasLive);
    } else {
      const { reason, fromSeq, toSeq } = item;
      const wasInGap = this.isInGap;
      this.seq = toSeq;
      this.gap = { reason, fromSeq, toSeq };
      this.#isLive = false;
      this.isInGap = true;
      this.#handlers.onGap(this.gap, wasInGap);
    }
    this.#handlers.onChange();
  }
}

/** Reconnects a connection that is down. Leaves any other connection alone, because other subscriptions use it. */
export function reconnectIfDown(connection: Connection<AppRouter>): void {
  const { state } = connection.getStatus();
  if (state === 'failed' || state === 'reconnecting') connection.reconnect();
}

const RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;

/**
 * Calls `load` until it succeeds, with a growing delay after each failure. Rejects when the server answers with an error
 * that is not retryable, or after a failure when `signal` is aborted.
 */
export async function retryLoading<T>(load: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await load();
    } catch (error) {
      const code = codeOf(error as Error);
      if (signal.aborted || (code !== undefined && !errorTable[code].retryable)) throw error;
    }
    await pause(backoffMs(attempt, RETRY_MS, MAX_RETRY_MS), signal);
    signal.throwIfAborted();
  }
}
