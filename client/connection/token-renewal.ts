import type { TokenCache } from './token-cache.ts';

/**
 * Sends a fresh token over the open socket before the current token expires, so that the socket stays open.
 *
 * If the renewal fails, the server closes the socket with code 4401 when the token expires. The next socket starts with
 * a fresh token. Its subscriptions resume after their last event: events arrive late, but none is lost.
 */

/** Longest delay of a timer, so that a due token is noticed soon after sleep. (A delay over 2^31 ms would fire at once.) */
const MAX_WAIT_MS = 60_000;
/** Shortest time between two renewals. A source may return the same token until the token expires. */
const MIN_WAIT_MS = 1_000;
const RETRY_MS = 5_000;

export class TokenRenewal {
  readonly #tokens: TokenCache;
  readonly #refresh: (token: string, signal: AbortSignal) => Promise<unknown>;
  /** When to replace the socket's token, in Unix ms. A monotonic clock does not fit: it may stop during sleep. */
  #dueAtMs = Number.POSITIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Aborted when the current socket ends; undefined without a socket. */
  #socket: AbortController | undefined;
  #isRenewing = false;

  /** `refresh` sends a new token to the server over the current socket. */
  constructor(tokens: TokenCache, refresh: (token: string, signal: AbortSignal) => Promise<unknown>) {
    this.#tokens = tokens;
    this.#refresh = refresh;
  }

  /** Called when a socket is connected. The socket was opened with the cached token. */
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

  /** Sends the present token of the source over the current socket now. Returns false if there is no socket. */
  renew(): boolean {
    if (this.#socket === undefined) return false;
    clearTimeout(this.#timer);
    if (!this.#isRenewing) void this.#renew(this.#socket.signal);
    return true;
  }

  /** Renews the token if it is due, otherwise restarts the timer. Call this after sleep: timers may have stopped. */
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
      let generation: number;
      do {
        const token = await this.#tokens.get(); // The cached token is due, so the cache fetches a new one.
        generation = this.#tokens.generation;
        if (token !== undefined && !signal.aborted) await this.#refresh(token, signal);
      } while (generation !== this.#tokens.generation && !signal.aborted); // Another token is needed meanwhile.
      dueAtMs = Math.max(this.#tokens.dueAtMs, Date.now() + MIN_WAIT_MS);
    } catch {
      // If the source failed, the next attempt follows after RETRY_MS. If the server refused the token, it closes the
      // socket.
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
