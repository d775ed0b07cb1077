import type { RunwireError } from '../../shared/errors.ts';
import { closeCodes } from '../../shared/protocol.ts';
import { backoffMs } from './backoff.ts';
import { Store } from './store.ts';

/**
 * Decides when the next socket may open.
 *
 * tRPC's WebSocket client alone would retry at once, without jitter, and would reset its count of failures whenever a
 * socket opens. It would flood a server that accepts sockets and then closes them. This policy resets the count only
 * after a connection that lasted `stableMs`.
 */

/**
 * - `idle`: no subscription, so no socket.
 * - `connecting`: the first attempt to connect is under way.
 * - `connected`: the server has sent a message on the socket.
 * - `reconnecting`: after a lost connection or a failed attempt, the next attempt is planned or under way.
 * - `failed`: no further attempt until `reconnect()` is called, or until the network or the tab comes back.
 * - `disconnected`: `close()` was called.
 */
export type ConnectionState = 'idle' | 'connecting' | 'connected' | 'reconnecting' | 'disconnected' | 'failed';

export type ConnectionStatus = {
  state: ConnectionState;
  /** Why the last connection ended, or why the last attempt failed; null while connected. */
  error: RunwireError | null;
  /** Number of failures in a row. */
  attempts: number;
  /** Time of the next attempt in Unix ms; null when no attempt is planned. */
  retryAtMs: number | null;
};

export type ReconnectOptions = {
  /** The connection becomes `failed` after more failures in a row than this; default 5. `Infinity` sets no limit. */
  maxReconnectAttempts?: number | undefined;
  /** Delay before the first retry; default 1,000. Each further failure doubles the delay. Jitter cuts up to half of it. */
  reconnectDelayMs?: number | undefined;
  /** Upper limit of the delay; default 30,000. */
  maxReconnectDelayMs?: number | undefined;
  /** A connection that lasts this long resets the count of failures; default 5,000. */
  stableMs?: number | undefined;
  /** Returns a random number in [0, 1) for the jitter; default `Math.random`. */
  random?: (() => number) | undefined;
};

export class ReconnectPolicy {
  readonly #options: { [K in keyof ReconnectOptions]-?: NonNullable<ReconnectOptions[K]> };
  readonly #store = new Store<ConnectionStatus>({ state: 'idle', error: null, attempts: 0, retryAtMs: null });
  /** Ends the wait in {@link #gate}; undefined while no attempt waits. */
  #release: (() => void) | undefined;
  #refusals = 0;
  #connectedAtMs: number | undefined;
  #skipsDelay = false;
  #isClosed = false;

  constructor(options: ReconnectOptions = {}) {
    this.#options = {
      maxReconnectAttempts: options.maxReconnectAttempts ?? 5,
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

  /** Resolves when the next socket may open. In the state `failed` it first waits for a call of {@link retry}. */
  async waitForTurn(): Promise<void> {
    if (this.status.state === 'failed') await this.#gate();
    const { attempts } = this.status;
    if (attempts > 0 && !this.#skipsDelay) {
      const { reconnectDelayMs, maxReconnectDelayMs, random } = this.#options;
      const delayMs = backoffMs(attempts, reconnectDelayMs, maxReconnectDelayMs, random);
      this.#set({ state: 'reconnecting', retryAtMs: Date.now() + delayMs });
      const timer = setTimeout(() => this.#release?.(), delayMs);
      await this.#gate();
      clearTimeout(timer);
    }
    this.#skipsDelay = false;
    const isFirst = this.status.state === 'idle' || this.status.state === 'connecting';
    this.#set({ state: isFirst ? 'connecting' : 'reconnecting', retryAtMs: null });
  }

  /** Called when the server has sent the first message on a socket. */
  onConnected(): void {
    this.#connectedAtMs = Date.now();
    this.#refusals = 0;
    this.#set({ state: 'connected', error: null, retryAtMs: null });
  }

  /** Called when the client has closed its socket and opens no other. */
  onReleased(): void {
    this.#connectedAtMs = undefined;
    if (this.status.state === 'connected') this.#set({ state: 'idle', error: null, retryAtMs: null });
  }

  /** Called when the connection is lost or an attempt fails. `code` is the close code of the socket, if one was open. */
  onLost(error: RunwireError, code?: number): void {
    const lastedMs = this.#connectedAtMs === undefined ? 0 : Date.now() - this.#connectedAtMs;
    this.#connectedAtMs = undefined;
    const attempts = (lastedMs >= this.#options.stableMs ? 0 : this.status.attempts) + 1;
    const isRefused = code === closeCodes.unauthenticated;
    if (isRefused) this.#refusals++;
    const isFinal = code === closeCodes.revoked || this.#refusals > 1 || attempts > this.#options.maxReconnectAttempts;
    // After a refused token, and after a close because the client read too slowly, the first retry has no delay. If that
    // retry fails too, the next one has the usual delay.
    this.#skipsDelay = (isRefused || code === closeCodes.tooSlow) && attempts === 1;
    this.#set({ state: isFinal ? 'failed' : 'reconnecting', error, attempts, retryAtMs: null });
  }

  /** Resets the count of failures. An attempt that waits for its delay starts at once. */
  retry(): void {
    this.#refusals = 0;
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

  #gate(): Promise<void> {
    return new Promise((resolve) => {
      this.#release = () => {
        this.#release = undefined;
        resolve();
      };
    });
  }

  #set(changes: Partial<ConnectionStatus>): void {
    if (this.#isClosed) return;
    this.#store.state = { ...this.status, ...changes };
    this.#store.notify();
  }
}
