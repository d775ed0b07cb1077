import type { TRPCClientErrorLike } from '@trpc/client';
import type { RunwireError } from '../../shared/errors.ts';
import { isSignal, type StreamSignal } from '../../shared/protocol.ts';
import type { AppRouter } from '../../shared/router.ts';
import { backoffMs, pause } from '../connection/backoff.ts';
import type { Connection } from '../connection/connection.ts';
import type { ConnectionState } from '../connection/reconnect-policy.ts';
import { ConnectionClosedError, runwireErrorOf } from '../errors.ts';
import type { FeedScope } from './feed-scope.ts';

/**
 * - `replaying`: the subscription delivers events that were logged before, or waits for the connection.
 * - `live`: the subscription has delivered every matching event, and the client's state is complete.
 * - `gap`: the server could not deliver some events (`gap` states their range). The client is loading the current state (a
 *   snapshot) in place of these events.
 */
export type RunFeedPhase = 'replaying' | 'live' | 'gap';

/** A range of the log that the server did not deliver, and the reason. `fromSeq` and `toSeq` are inclusive. */
export type Gap = Pick<Extract<StreamSignal, { type: 'stream.gap' }>, 'reason' | 'fromSeq' | 'toSeq'>;

export type SubscriptionState = {
  connectionState: ConnectionState;
  /** Why the subscription ended, or why there is no connection; null without an error. */
  error: RunwireError | null;
  /** Time of the next attempt to connect in Unix ms; null when no attempt is planned. */
  retryAtMs: number | null;
  phase: RunFeedPhase;
  /** Every matching event up to this position of the log has been delivered; null before the server's first message. */
  seq: number | null;
  /** The last gap. It stays set after the snapshot has been loaded. */
  gap: Gap | null;
};

export type StreamObserver<Item> = {
  onData(message: { id: string; data: Item | StreamSignal }): void;
  onError(error: TRPCClientErrorLike<AppRouter>): void;
};

type SubscriptionCallbacks<Item> = {
  /** Opens the tRPC subscription. It delivers the items after `cursor`. */
  open(cursor: string | undefined, observer: StreamObserver<Item>): { unsubscribe(): void };
  seqOf(item: Item): number;
  onItem(item: Item, cursor: string): void;
  onLive?(): void;
  /** Some items could not be delivered. The owner must load a snapshot and then set `isInGap` to false. */
  onGap(gap: Gap, wasInGap: boolean): void;
  /** The server has ended the subscription with an error. */
  onError?(error: RunwireError): void;
  /** The connection makes no further attempts to reconnect. The subscription stays open for a later connection. */
  onConnectionFailed?(error: RunwireError): void;
  /** The scope has ended, and with it the subscription. */
  onScopeEnd?(): void;
  /** Called after each of the callbacks above, and when the status of the connection changes. */
  onChange(): void;
};

/**
 * One tRPC subscription with its cursor (the position of the last item) and the state that hooks return. `RunFeed` and
 * `RunsFeed` use this class.
 *
 * - `open()` subscribes after `cursor`. The server replays the items after the cursor and then sends `stream.live`. From
 *   then on the subscription is live.
 * - After a lost connection, the connection resumes the subscription. It is not live until the next `stream.live`.
 * - `stream.gap` sets `isInGap`. The owner loads a snapshot and resets `isInGap`.
 * - An error from the server ends the subscription. `failure` keeps the error.
 */
export class FeedSubscription<Item extends object> {
  cursor: string | undefined;
  seq: number | null = null;
  gap: Gap | null = null;
  isInGap = false;
  failure: RunwireError | null = null;

  readonly #scope: FeedScope;
  readonly #handlers: SubscriptionCallbacks<Item>;
  #isLive = false;
  #stream: { close(): void } | undefined;
  #stopWatching: (() => void) | undefined;

  constructor(scope: FeedScope, handlers: SubscriptionCallbacks<Item>) {
    this.#scope = scope;
    this.#handlers = handlers;
  }

  get isOpen(): boolean {
    return this.#stream !== undefined;
  }

  get isLive(): boolean {
    return this.#isLive;
  }

  /** Starts to call the callbacks when the status of the connection changes. */
  watch(): void {
    if (this.#stopWatching || this.#scope.isEnded) return;
    const { connection } = this.#scope;
    let { state: before } = connection.getStatus();
    const unsubscribe = connection.subscribe(() => {
      const { state, error } = connection.getStatus();
      // After a reconnect, the server first replays the missed items. Then it sends `stream.live`, which sets `#isLive`.
      if (state !== 'connected') this.#isLive = false;
      if (state === 'failed' && before !== 'failed' && !this.failure && error) {
        this.#handlers.onConnectionFailed?.(error);
      }
      before = state;
      this.#handlers.onChange();
    });
    const forget = this.#scope.whenEnded(() => {
      this.end();
      this.#handlers.onScopeEnd?.();
    });
    this.#stopWatching = () => {
      unsubscribe();
      forget();
    };
  }

  open(): void {
    if (this.#scope.isEnded) return;
    let subscription: { unsubscribe(): void } | undefined;
    const stream = { close: () => subscription?.unsubscribe() };
    this.#stream = stream;
    // tRPC's client may still deliver an item during `unsubscribe`, or after it, while the next subscription is open.
    const isCurrent = () => this.#stream === stream;
    subscription = this.#handlers.open(this.cursor, {
      onData: ({ id, data }) => {
        if (isCurrent()) this.#receive(id, data);
      },
      onError: (error) => {
        if (!isCurrent()) return;
        this.failure = runwireErrorOf(error);
        this.#stream = undefined;
        this.#handlers.onError?.(this.failure);
        this.#handlers.onChange();
      },
    });
  }

  /** Closes the tRPC subscription and keeps the cursor. */
  close(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#isLive = false;
    stream?.close();
  }

  /** Closes the tRPC subscription and stops watching the connection. */
  end(): void {
    this.#stopWatching?.();
    this.#stopWatching = undefined;
    this.close();
  }

  /** Returns the current state. While the owner needs a snapshot (`needsSnapshot`), the phase is never `live`. */
  state({ needsSnapshot = false } = {}): SubscriptionState {
    const { state, error, retryAtMs } = this.#scope.connection.getStatus();
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
    this.cursor = cursor;
    if (!isSignal(item)) {
      this.seq = this.#handlers.seqOf(item);
      this.#handlers.onItem(item, cursor);
    } else if (item.type === 'stream.live') {
      this.seq = item.seq;
      this.#isLive = true;
      this.#handlers.onLive?.();
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

/** Reconnects the connection if it is down. An open connection stays open, because other subscriptions use it. */
export function reconnectIfDown(connection: Connection<AppRouter>): void {
  const { state } = connection.getStatus();
  if (state === 'failed' || state === 'reconnecting') connection.reconnect();
}

const RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;

/** Options of React Query for a query that is requested again as {@link retryLoading} does. */
export const retryOptions = {
  // Without a network the browser may still reach the server, for example over a VPN.
  networkMode: 'always',
  retry: (_count: number, error: Error) => isRetryable(error),
  retryDelay: (count: number) => backoffMs(count + 1, RETRY_MS, MAX_RETRY_MS),
} as const;

export function isRetryable(error: unknown): boolean {
  const converted = runwireErrorOf(error);
  return converted.isRetryable && !(converted instanceof ConnectionClosedError);
}

/** After this number of failures in a row, a hook that loads has the status `error`. Requests are tried further. */
export const MAX_PENDING_FAILURES = 4;

/**
 * Calls `load` until it succeeds, with a growing delay after each failure. Rejects if the server answers with an error
 * that is not retryable, or if `signal` is aborted before a call succeeds.
 */
export async function retryLoading<T>(load: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await load();
    } catch (caught) {
      const error = runwireErrorOf(caught);
      if (!signal.aborted && isRetryable(error)) await pause(backoffMs(attempt, RETRY_MS, MAX_RETRY_MS), signal);
      else throw error;
      if (signal.aborted) throw error;
    }
  }
}
