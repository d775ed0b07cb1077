/** A token, or a function that fetches one. The function is called again when its token is refused or about to expire. */
export type TokenSource = string | (() => string | undefined | Promise<string | undefined>);

/** The user of a connection. Two objects are two users, or the same user after another one. */
export type Identity = {
  /** The user id, empty for a cookie. While the id is unknown, a text that no other connection has. */
  readonly subject: string;
};

/** A token is replaced this long before it expires, because timers in a hidden tab may run a minute late. */
const MARGIN_MS = 90_000;
/** The margin is at most this fraction of the token's lifetime. */
const MAX_MARGIN_FRACTION = 1 / 3;

/** Caches a token until the server refuses it or it is about to expire. Concurrent callers share one fetch. */
export class TokenCache {
  readonly #source: TokenSource | undefined;
  #token: Promise<string | undefined> | undefined;
  #dueAtMs = Number.POSITIVE_INFINITY;
  #generation = 0;

  readonly #identity: Identity;

  constructor(source: TokenSource | undefined, identity?: string) {
    this.#source = source;
    this.#identity = { subject: identity ?? subjectOf(source) ?? `unknown ${Math.random()}` };
  }

  get identity(): Identity {
    return this.#identity;
  }

  /** True without a token source. The browser's cookie then authenticates the user. */
  get isAbsent(): boolean {
    return this.#source === undefined;
  }

  /** True if the source is a function, which can return another token. */
  get isRenewable(): boolean {
    return typeof this.#source === 'function';
  }

  /** When to replace the cached token, in Unix ms; Infinity when the token does not state its expiry. */
  get dueAtMs(): number {
    return this.#dueAtMs;
  }

  /** Number of tokens that the cache has dropped. It identifies the current token. */
  get generation(): number {
    return this.#generation;
  }

  get(): Promise<string | undefined> {
    if (Date.now() >= this.#dueAtMs) this.forget();
    this.#token ??= this.#fetch();
    return this.#token;
  }

  /**
   * Drops the cached token, so that the next `get` fetches a new one. With a `generation`, drops only the token of that
   * generation: the server may refuse many requests with the same token, and one new token serves them all.
   */
  forget(generation = this.#generation): void {
    if (generation !== this.#generation) return;
    this.#generation++;
    this.#token = undefined;
    this.#dueAtMs = Number.POSITIVE_INFINITY;
  }

  async #fetch(): Promise<string | undefined> {
    const source = this.#source;
    try {
      // The async wrapper turns a synchronous throw of the source into a rejection. Otherwise `forget` would run before
      // `get` stores this promise, and the cache would keep the failed promise.
      const token = typeof source === 'function' ? await (async () => source())() : source;
      this.#dueAtMs = dueAtOf(token, Date.now());
      return token;
    } catch (error) {
      this.forget();
      throw error;
    }
  }
}

/**
 * Returns when to replace a token that arrived at `nowMs`, in Unix ms. If the token seems expired, the clock of this
 * computer may be wrong. The time from `iat` (issued at) to `exp` (expiry) is then the better estimate of the lifetime.
 */
function dueAtOf(token: string | undefined, nowMs: number): number {
  const { exp, iat } = claimsOf(token);
  if (typeof exp !== 'number') return Number.POSITIVE_INFINITY; // The token is used until the server refuses it.
  const leftMs = exp * 1000 - nowMs;
  const wholeMs = typeof iat === 'number' ? (exp - iat) * 1000 : leftMs;
  const lifetimeMs = leftMs > 0 ? Math.min(leftMs, wholeMs) : wholeMs;
  if (lifetimeMs <= 0) return Number.POSITIVE_INFINITY;
  return nowMs + lifetimeMs - Math.min(MARGIN_MS, lifetimeMs * MAX_MARGIN_FRACTION);
}

/** Returns the user id that a token states; empty for a cookie, undefined if it is not known without a request. */
export function subjectOf(source: TokenSource | undefined): string | undefined {
  if (source === undefined) return '';
  const { sub } = claimsOf(typeof source === 'string' ? source : undefined);
  return typeof sub === 'string' ? sub : undefined;
}

function claimsOf(token: string | undefined): { exp?: unknown; iat?: unknown; sub?: unknown } {
  try {
    const payload = (token ?? '').split('.')[1] ?? '';
    return JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/')));
  } catch {
    return {}; // The token is not a JWT, so it has no readable claims.
  }
}
