import type { TokenCache } from './token-cache.ts';

/**
 * Sends a fresh token over the open socket before the current token expires, so that the socket stays open.
 *
 * If renewal fails until the token expires, the server closes the socket with 4401 and the next socket starts with a
 * fresh token. Subscriptions then resume from their cursors: events are late, but none is lost.
 */

/** Longest timer. A machine that slept notices at the next timer, and a delay over 2^31 ms would fire at once. */
const MAX_WAIT_MS = 60_000;
/** Shortest time between two renewals, for a source that returns the same token until it expires. */
const MIN_WAIT_MS = 1_000;
const RETRY_MS = 5_000;

export class TokenRenewal {
  readonly #tokens: TokenCache;
  readonly #refresh: (token: string, signal: AbortSignal) => Promise<unknown>;
  /** When to replace the token of the socket. In Unix ms, because a monotonic clock may stop during sleep. */
  #dueAtMs = Number.POSITIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Aborted at the end of the socket; undefined without a socket. */
  #socket: AbortController | undefined;
  #isRenewing = false;

  /** `refresh` sends a token over the current socket. */
  constructor(tokens: TokenCache, refresh: (token: string, signal: AbortSignal) => Promise<unknown>) {
    this.#tokens = tokens;
    this.#refresh = refresh;
  }

  /** Called when a socket is connected. Its token is the cached one. */
  start(): void {
    this.stop();
    this.#socket = new AbortController();
    this.#dueAtMs = this.#tokens.dueAtMs;
    this.#wait();
  }

  /** Called when the current socket ends. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#socket?.abort();
    this.#socket = undefined;
  }

  /** Renews the token if it is due. Call it after sleep: timers may have stopped meanwhile. */
  check(): void {
    if (this.#socket === undefined || this.#isRenewing) return;
    clearTimeout(this.#timer);
    if (Date.now() < this.#dueAtMs) this.#wait();
    else void this.#renew(this.#socket.signal);
  }

  #wait(): void {
    const ms = Math.min(MAX_WAIT_MS, Math.max(1, Math.ceil(this.#dueAtMs - Date.now())));
    if (this.#dueAtMs !== Number.POSITIVE_INFINITY) this.#timer = setTimeout(() => this.check(), ms);
  }

  async #renew(signal: AbortSignal): Promise<void> {
    this.#isRenewing = true;
    let dueAtMs = Date.now() + RETRY_MS;
    try {
      const token = await this.#tokens.get(); // The cached token is due, so the cache fetches a new one.
      if (token !== undefined && !signal.aborted) {
        await this.#refresh(token, signal);
        dueAtMs = Math.max(this.#tokens.dueAtMs, Date.now() + MIN_WAIT_MS);
      }
    } catch {
      // A failed source is asked again after RETRY_MS. A refused token makes the server close the socket.
    }
    this.#isRenewing = false;
    if (signal.aborted) {
      this.check(); // Another socket may have connected meanwhile.
      return;
    }
    this.#dueAtMs = dueAtMs;
    this.#wait();
  }
}
