import type { TokenCache } from './token-cache.ts';

/**
 * Puts a fresh token on the open socket some time before the one that it has expires, so that the socket stays and nobody
 * notices. Where that fails until the end, the server closes the socket (4401), and the next one is opened with a token
 * fetched anew: nothing is missed that way either, only delayed.
 */

/** A machine that slept hears of it from the next timer; and what is longer than 2^31 ms would fire at once. */
const MAX_WAIT_MS = 60_000;
/** A source may give the same token again and again up to its end. */
const MIN_WAIT_MS = 1_000;
const RETRY_MS = 5_000;

export class TokenRenewal {
  readonly #tokens: TokenCache;
  readonly #refresh: (token: string, signal: AbortSignal) => Promise<unknown>;
  /** When the token of the socket is to be replaced; Unix ms, since a machine may sleep. */
  #dueAtMs = Number.POSITIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #socket: AbortController | undefined;
  #isRenewing = false;

  /** `refresh` puts a token in place on the socket. */
  constructor(tokens: TokenCache, refresh: (token: string, signal: AbortSignal) => Promise<unknown>) {
    this.#tokens = tokens;
    this.#refresh = refresh;
  }

  /** A socket stands, with the token that is kept now. */
  begin(): void {
    this.end();
    this.#socket = new AbortController();
    this.#dueAtMs = this.#tokens.dueAtMs;
    this.#wait();
  }

  /** There is no socket any more, or none that counts. */
  end(): void {
    clearTimeout(this.#timer);
    this.#socket?.abort();
    this.#socket = undefined;
  }

  /** Renews what is due. Time may have passed that no timer was told of. */
  look(): void {
    if (this.#socket === undefined || this.#isRenewing) return;
    clearTimeout(this.#timer);
    if (Date.now() < this.#dueAtMs) this.#wait();
    else void this.#renew(this.#socket.signal);
  }

  #wait(): void {
    const ms = Math.min(MAX_WAIT_MS, Math.max(1, Math.ceil(this.#dueAtMs - Date.now())));
    if (this.#dueAtMs !== Number.POSITIVE_INFINITY) this.#timer = setTimeout(() => this.look(), ms);
  }

  async #renew(signal: AbortSignal): Promise<void> {
    this.#isRenewing = true;
    let dueAtMs = Date.now() + RETRY_MS;
    try {
      const token = await this.#tokens.get(); // It has been due, so this is another one.
      if (token !== undefined && !signal.aborted) {
        await this.#refresh(token, signal);
        dueAtMs = Math.max(this.#tokens.dueAtMs, Date.now() + MIN_WAIT_MS);
      }
    } catch {
      // Of a token that is refused the server says so when it closes the socket; a source that fails is asked again.
    }
    this.#isRenewing = false;
    if (signal.aborted) {
      this.look(); // Another socket may stand by now.
      return;
    }
    this.#dueAtMs = dueAtMs;
    this.#wait();
  }
}
