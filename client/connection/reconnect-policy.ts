import type { RunwireError } from '../../shared/errors.ts';
import { closeCodes } from '../../shared/protocol.ts';
import { backoffMs } from './backoff.ts';
import { Store } from './store.ts';
import { startTimer } from './timer.ts';

/**
 * Decides when the next socket may open.
 *
 * tRPC's WebSocket client alone would retry at once, without jitter, and would reset its count of failures whenever a
 * socket opens. It would flood a server that accepts sockets and then closes them. Here, two counts decide:
 *
 * - `attempts`, the failures in a row, ends the fast retries. An answer of the server ends the row.
 * - The delays grow with each failure, until a connection lasts: a server that answers and then fails is not flooded, and
 *   a network that drops now and then has short delays.
 *
 * Without a subscription there are no attempts.
 */

/**
 * - `idle`: no subscription, so no socket.
 * - `connecting`: the first attempt to connect is under way.
 * - `connected`: the server has sent a message on the socket.
 * - `reconnecting`: after a lost connection or a failed attempt, the next attempt is planned or under way.
 * - `failed`: too many failures in a row. The next attempt is at `retryAtMs`. If that is null, there is no further attempt
 *   until `reconnect()` is called, or until the network or the tab comes back.
 * - `disconnected`: `close()` was called.
 */
export type ConnectionState = 'idle' | 'connecting' | 'connected' | 'reconnecting' | 'disconnected' | 'failed';

/** The state of a connection, with its failures in a row and the time of the next attempt. */
export type ConnectionStatus = {
  state: ConnectionState;
  /** Why the last connection ended, or why the last attempt failed; null while connected. */
  error: RunwireError | null;
  /** Number of failures in a row. */
  attempts: number;
  /** Time of the next attempt in Unix ms; null when no attempt is planned. */
  retryAtMs: number | null;
  /** How far the server's clock is ahead of this one. 0 until an answer shows that they differ. */
  serverTimeOffsetMs: number;
};

/** Delays and limits of the attempts after a connection is lost. */
export type ReconnectOptions = {
  /** The connection becomes `failed` after more failures in a row than this; default 5. `Infinity` sets no limit. */
  maxReconnectAttempts?: number | undefined;
  /**
   * In the state `failed`, `retry` (the default) makes an attempt every `maxReconnectDelayMs`, and `stop` makes none. A
   * refused token stops the attempts in both cases.
   */
  afterFailed?: 'retry' | 'stop' | undefined;
  /** Delay before the first retry; default 1,000. Each further failure doubles the delay. Jitter cuts up to half of it. */
  reconnectDelayMs?: number | undefined;
  /** Upper limit of the delay; default 30,000. */
  maxReconnectDelayMs?: number | undefined;
  /** A connection that lasts this long, or as long as the delay before it, ends the growth of the delays; default 5,000. */
  stableMs?: number | undefined;
  /** Returns a random number in [0, 1) for the jitter; default `Math.random`. */
  random?: (() => number) | undefined;
};

export class ReconnectPolicy {
  readonly #options: { [K in keyof ReconnectOptions]-?: NonNullable<ReconnectOptions[K]> };
  readonly #store = new Store<ConnectionStatus>({
    state: 'idle',
    error: null,
    attempts: 0,
    retryAtMs: null,
    serverTimeOffsetMs: 0,
  });
  /** Number of open subscriptions. */
  #subscriptions = 0;
  /** Ends the wait in {@link #gate}; undefined while no attempt waits. */
  #release: (() => void) | undefined;
  /** True from the start of an attempt until it succeeds or fails. */
  #isTrying = false;
  /** True while {@link waitForTurn} waits for a subscription. */
  #isParked = false;
  /** True if no attempt can succeed before {@link retry} is called. */
  #isFinal = false;
  /** Failures since a connection has lasted. */
  #failures = 0;
  #lastDelayMs = 0;
  /** Refused tokens in a row. */
  #refusals = 0;
  #connectedAtMs: number | undefined;
  #skipsDelay = false;
  #isClosed = false;

  constructor(options: ReconnectOptions = {}) {
    this.#options = {
      maxReconnectAttempts: options.maxReconnectAttempts ?? 5,
      afterFailed: options.afterFailed ?? 'retry',
      reconnectDelayMs: options.reconnectDelayMs ?? 1_000,
      maxReconnectDelayMs: options.maxReconnectDelayMs ?? 30_000,
      stableMs: options.stableMs ?? 5_000,
      random: options.random ?? Math.random,
    };
  }

  readonly subscribe = this.#store.subscribe;

  /** Returns the same object until the status changes. */
  get status(): ConnectionStatus {
    return this.#store.state;
  }

  get hasSubscriptions(): boolean {
    return this.#subscriptions > 0;
  }

  /** Counts a subscription: attempts start. Returns a function that must be called once, when the subscription ends. */
  addSubscription(): () => void {
    this.#subscriptions++;
    if (this.#isParked) this.#release?.();
    return () => {
      this.#subscriptions--;
      // In a later task: a page may end its subscriptions and open others in one task.
      if (this.#subscriptions === 0) setTimeout(() => this.#rest());
    };
  }

  /**
   * Resolves when the next socket may open: after the delay, or once {@link retry} is called. Without subscriptions it waits
   * for one.
   */
  async waitForTurn(): Promise<void> {
    while (!this.#isClosed) {
      this.#isParked = this.#subscriptions === 0;
      const delayMs = this.#isParked ? Number.POSITIVE_INFINITY : this.#delayMs();
      if (delayMs === 0) break;
      if (!this.#isParked) this.#planAttempt(delayMs);
      if (await this.#gate(delayMs)) break;
    }
    this.#isParked = false;
    this.#skipsDelay = false;
    this.#isTrying = true;
    this.#set({ state: this.status.state === 'idle' ? 'connecting' : this.status.state, retryAtMs: null });
  }

  /** Called when the server has sent the first message on a socket. */
  onConnected(): void {
    this.#isTrying = false;
    this.#connectedAtMs = performance.now();
    this.#refusals = 0;
    this.#set({ state: 'connected', error: null, attempts: 0, retryAtMs: null });
  }

  /** Called when the client has closed its socket and opens no other. */
  onReleased(): void {
    this.#isTrying = false;
    this.#connectedAtMs = undefined;
    if (this.status.state === 'connected') {
      this.#set({ state: this.hasSubscriptions ? 'connecting' : 'idle', error: null, retryAtMs: null });
    } else {
      this.#rest();
    }
  }

  /** Called when the connection is lost or an attempt fails. `code` is the close code of the socket, if one was open. */
  onLost(error: RunwireError, code?: number): void {
    const { stableMs, maxReconnectAttempts } = this.#options;
    const lastedMs = this.#connectedAtMs === undefined ? -1 : performance.now() - this.#connectedAtMs;
    this.#isTrying = false;
    this.#connectedAtMs = undefined;
    if (lastedMs >= Math.min(stableMs, this.#lastDelayMs)) this.#failures = 0;
    this.#failures++;
    const attempts = this.status.attempts + 1;
    const isRefused = code === closeCodes.unauthenticated;
    if (isRefused) this.#refusals++;
    // No later attempt could succeed with the same token, or on a platform without WebSocket.
    this.#isFinal = code === closeCodes.revoked || this.#refusals > 1 || error.code === 'INVALID_INPUT';
    const isFailed = this.#isFinal || attempts > maxReconnectAttempts;
    // After a refused token, and after a close because the client read too slowly, the first retry has no delay. If that
    // retry fails too, the next one has the usual delay.
    this.#skipsDelay = (isRefused || code === closeCodes.tooSlow) && this.#failures === 1;
    this.#set({ state: isFailed ? 'failed' : 'reconnecting', error, attempts, retryAtMs: null });
    this.#rest();
  }

  /** Forgets the failures. An attempt that waits for its delay starts at once. */
  retry(): void {
    this.#reset();
    this.#skipsDelay = true;
    const { state } = this.status;
    this.#set({ attempts: 0, ...(state === 'failed' ? { state: 'reconnecting' as const } : {}) });
    this.#release?.();
  }

  /** Sets the state `disconnected` permanently. If an attempt waits, the wait ends, so that the attempt can fail. */
  close(): void {
    this.#set({ state: 'disconnected', retryAtMs: null });
    this.#isClosed = true;
    this.#release?.();
  }

  #reset(): void {
    this.#isFinal = false;
    this.#failures = 0;
    this.#refusals = 0;
    this.#lastDelayMs = 0;
  }

  /** Without a subscription nothing is tried, and the next subscription starts at once. A refused token stays refused. */
  #rest(): void {
    const { state } = this.status;
    if (this.#subscriptions > 0 || this.#isTrying || this.#isFinal || state === 'connected') return;
    this.#reset();
    this.#set({ state: 'idle', error: null, attempts: 0, retryAtMs: null });
    this.#release?.();
  }

  /** Returns the delay before the next attempt. */
  #delayMs(): number {
    if (this.#isFinal) return Number.POSITIVE_INFINITY;
    if (this.#failures === 0 || this.#skipsDelay) return 0;
    const { reconnectDelayMs, maxReconnectDelayMs, afterFailed, random } = this.#options;
    if (this.status.state === 'failed') return afterFailed === 'stop' ? Number.POSITIVE_INFINITY : maxReconnectDelayMs;
    return backoffMs(this.#failures, reconnectDelayMs, maxReconnectDelayMs, random);
  }

  #planAttempt(delayMs: number): void {
    this.#lastDelayMs = delayMs;
    const retryAtMs = delayMs === Number.POSITIVE_INFINITY ? null : Date.now() + delayMs;
    this.#set({ state: this.status.state === 'failed' ? 'failed' : 'reconnecting', retryAtMs });
  }

  /** Waits for `ms`, or until {@link #release} is called. Returns true if the time has passed. */
  #gate(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const pass = (hasElapsed: boolean) => {
        clearTimeout(timer);
        this.#release = undefined;
        resolve(hasElapsed);
      };
      const timer = startTimer(ms, () => pass(true));
      this.#release = () => pass(false);
    });
  }

  /**
   * Takes the server's time from an answer to a request that was sent at `sentAtMs`. The server read its clock between the
   * request and the answer. So the offset has two bounds, and moves only as far as these require: an answer that took long
   * does not spoil it.
   */
  readonly onServerTime = (sentAtMs: number, serverMs: number): void => {
    const least = serverMs - Date.now();
    const most = serverMs - sentAtMs;
    const { serverTimeOffsetMs: before } = this.status;
    const serverTimeOffsetMs = Math.max(least, Math.min(before, most));
    // This clock may have been set back while the request was under way.
    if (least <= most && serverTimeOffsetMs !== before) this.#set({ serverTimeOffsetMs });
  };

  #set(changes: Partial<ConnectionStatus>): void {
    if (this.#isClosed) return;
    this.#store.state = { ...this.status, ...changes };
    this.#store.notify();
  }
}
