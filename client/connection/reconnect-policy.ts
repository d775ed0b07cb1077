import { closeCodes } from '../../shared/protocol.ts';
import { backoffMs } from './backoff.ts';

/**
 * Decides when a socket may be opened. The stock client starts again at once, without jitter, and forgets how often it
 * failed whenever a socket opens, so a server that accepts and then closes is hammered. Here a connection has to last
 * before failures are forgotten.
 */

export type ConnectionState = 'idle' | 'connecting' | 'connected' | 'reconnecting' | 'disconnected' | 'failed';

export type ConnectionStatus = {
  state: ConnectionState;
  /** Why the last connection ended, until the next one stands. */
  error: Error | null;
  /** Failures in a row. */
  attempts: number;
  /** Unix ms of the next try; null when none is planned. */
  retryAtMs: number | null;
};

export type ReconnectOptions = {
  /** Failures in a row after which it gives up; default 5, and with Infinity never. */
  maxReconnectAttempts?: number | undefined;
  /** Delay after the first failure, doubled with each further one; default 1,000. */
  reconnectDelayMs?: number | undefined;
  /** Default 30,000. */
  maxReconnectDelayMs?: number | undefined;
  /** How long a connection must last before earlier failures are forgotten; default 5,000. */
  stableMs?: number | undefined;
  /** Random number in [0, 1); default `Math.random`. */
  random?: (() => number) | undefined;
};

export class ReconnectPolicy {
  readonly #options: { [K in keyof ReconnectOptions]-?: NonNullable<ReconnectOptions[K]> };
  readonly #listeners = new Set<() => void>();
  #status: ConnectionStatus = { state: 'idle', error: null, attempts: 0, retryAtMs: null };
  /** Opens the gate that a planned try waits at. */
  #release: (() => void) | undefined;
  #refusals = 0;
  #connectedAt: number | undefined;
  #isAtOnce = false;
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

  /** The same object until something changes. */
  get status(): ConnectionStatus {
    return this.#status;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves when a socket may be opened; while `failed`, only after {@link retry}. */
  async waitForTurn(): Promise<void> {
    if (this.#status.state === 'failed') await this.#gate();
    const { attempts } = this.#status;
    if (attempts > 0 && !this.#isAtOnce) {
      const { reconnectDelayMs, maxReconnectDelayMs, random } = this.#options;
      const delayMs = backoffMs(attempts, reconnectDelayMs, maxReconnectDelayMs, random);
      this.#set({ state: 'reconnecting', retryAtMs: Date.now() + delayMs });
      const timer = setTimeout(() => this.#release?.(), delayMs);
      await this.#gate();
      clearTimeout(timer);
    }
    this.#isAtOnce = false;
    const isFirst = this.#status.state === 'idle' || this.#status.state === 'connecting';
    this.#set({ state: isFirst ? 'connecting' : 'reconnecting', retryAtMs: null });
  }

  /** The server has answered: the connection stands. */
  connected(): void {
    this.#connectedAt = Date.now();
    this.#refusals = 0;
    this.#set({ state: 'connected', error: null, retryAtMs: null });
  }

  /** The connection was closed from this side, and no other is under way. */
  onReleased(): void {
    this.#connectedAt = undefined;
    if (this.#status.state === 'connected') this.#set({ state: 'idle', error: null, retryAtMs: null });
  }

  /** The connection was lost, or never came about; `code` is that of the socket's close. */
  onLost(error: Error, code?: number): void {
    const lastedMs = this.#connectedAt === undefined ? 0 : Date.now() - this.#connectedAt;
    this.#connectedAt = undefined;
    const attempts = (lastedMs >= this.#options.stableMs ? 0 : this.#status.attempts) + 1;
    const isRefused = code === closeCodes.unauthenticated;
    if (isRefused) this.#refusals++;
    const isFinal = code === closeCodes.revoked || this.#refusals > 1 || attempts > this.#options.maxReconnectAttempts;
    // A fresh token, or a reader that was too slow for a moment, may try at once; but only once.
    this.#isAtOnce = (isRefused || code === closeCodes.tooSlow) && attempts === 1;
    this.#set({ state: isFinal ? 'failed' : 'reconnecting', error, attempts, retryAtMs: null });
  }

  /** Starts afresh: tries now, with all failures forgotten. */
  retry(): void {
    this.#refusals = 0;
    this.#isAtOnce = true;
    const { state } = this.#status;
    this.#set({ attempts: 0, ...(state === 'failed' ? { state: 'reconnecting' as const } : {}) });
    this.#release?.();
  }

  /** Lets go of a waiting try for good; nothing changes any more. */
  close(): void {
    this.#set({ state: 'disconnected', retryAtMs: null });
    this.#isClosed = true;
    this.#release?.();
    this.#listeners.clear();
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
    this.#status = { ...this.#status, ...changes };
    for (const listener of this.#listeners) listener();
  }
}
