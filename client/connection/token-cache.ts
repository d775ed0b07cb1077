/** A token, or a function that fetches one. A function is called again when its token is refused or about to expire. */
export type TokenSource = string | (() => string | undefined | Promise<string | undefined>);

/** A token is replaced this long before it expires. Timers of a hidden tab may be a minute late. */
const MARGIN_MS = 90_000;
/** Upper limit of the margin, as a fraction of the token's lifetime. */
const MAX_MARGIN_FRACTION = 1 / 3;

/** Caches a fetched token until it is refused or about to expire. Concurrent callers share one fetch. */
export class TokenCache {
  readonly #source: TokenSource | undefined;
  #token: Promise<string | undefined> | undefined;
  #dueAtMs = Number.POSITIVE_INFINITY;
  #generation = 0;

  constructor(source: TokenSource | undefined) {
    this.#source = source;
  }

  /** True without a token source: the browser's cookie authenticates the user. */
  get isAbsent(): boolean {
    return this.#source === undefined;
  }

  /** True if the source can supply another token. */
  get isRenewable(): boolean {
    return typeof this.#source === 'function';
  }

  /** When to replace the cached token, in Unix ms; Infinity when the token does not state its expiry. */
  get dueAtMs(): number {
    return this.#dueAtMs;
  }

  /** Increases with each forgotten token. */
  get generation(): number {
    return this.#generation;
  }

  get(): Promise<string | undefined> {
    if (Date.now() >= this.#dueAtMs) this.forget();
    this.#token ??= this.#fetch();
    return this.#token;
  }

  /**
   * Drops the cached token. With a `generation`, drops it only if it is still of that generation: many requests may be
   * refused with one token, and one fetch serves them all.
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
      // The wrapper is async: a source that throws synchronously would run `forget` before `get` stores this promise.
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
 * When to replace a token that arrived at `nowMs`. If the token looks expired, this clock is wrong or the token is old;
 * the lifetime from `iat` to `exp` is then the better estimate.
 */
function dueAtOf(token: string | undefined, nowMs: number): number {
  const { exp, iat } = claimsOf(token);
  if (typeof exp !== 'number') return Number.POSITIVE_INFINITY; // Used until the server refuses it.
  const leftMs = exp * 1000 - nowMs;
  const wholeMs = typeof iat === 'number' ? (exp - iat) * 1000 : leftMs;
  const lifetimeMs = leftMs > 0 ? Math.min(leftMs, wholeMs) : wholeMs;
  if (lifetimeMs <= 0) return Number.POSITIVE_INFINITY;
  return nowMs + lifetimeMs - Math.min(MARGIN_MS, lifetimeMs * MAX_MARGIN_FRACTION);
}

function claimsOf(token: string | undefined): { exp?: unknown; iat?: unknown } {
  try {
    const payload = (token ?? '').split('.')[1] ?? '';
    return JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/')));
  } catch {
    return {}; // Not a JWT.
  }
}
