/** Where tokens come from: a token, or a function that fetches one. Absent, the browser's cookie says who it is. */
export type TokenSource = string | (() => string | undefined | Promise<string | undefined>);

/** A token this close to its end is replaced. Timers of a hidden tab may be a minute late. */
const MARGIN_MS = 90_000;
/** As a part of its lifetime, where that is short. */
const MARGIN_PART = 1 / 3;

/** Keeps a fetched token until it is refused or about to expire; those who ask meanwhile share one fetch. */
export class TokenCache {
  readonly #source: TokenSource | undefined;
  #token: Promise<string | undefined> | undefined;
  #dueAtMs = Number.POSITIVE_INFINITY;
  #generation = 0;

  constructor(source: TokenSource | undefined) {
    this.#source = source;
  }

  /** Whether the browser's cookie is all there is. */
  get isAbsent(): boolean {
    return this.#source === undefined;
  }

  /** Whether there is any sense in asking for another token. */
  get isRenewable(): boolean {
    return typeof this.#source === 'function';
  }

  /** When the token that is kept should be replaced, Unix ms; Infinity where it does not say. */
  get dueAtMs(): number {
    return this.#dueAtMs;
  }

  /** Another number for each token that is forgotten. */
  get generation(): number {
    return this.#generation;
  }

  get(): Promise<string | undefined> {
    if (Date.now() >= this.#dueAtMs) this.forget();
    this.#token ??= this.#fetch();
    return this.#token;
  }

  /** With a generation, forgets only a token of that one: many may be refused with it, and one fetch serves them all. */
  forget(generation = this.#generation): void {
    if (generation !== this.#generation) return;
    this.#generation++;
    this.#token = undefined;
    this.#dueAtMs = Number.POSITIVE_INFINITY;
  }

  async #fetch(): Promise<string | undefined> {
    const source = this.#source;
    try {
      // Within a promise: one that throws at once would be forgotten before it is kept, and then kept.
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
 * When a token that has come now should be replaced. By this clock it may have expired already, or not for long: then
 * the clock is off, or the token is an old one, and how long it was made for is the better guess.
 */
function dueAtOf(token: string | undefined, nowMs: number): number {
  const { exp, iat } = claimsOf(token);
  if (typeof exp !== 'number') return Number.POSITIVE_INFINITY; // Only a refusal tells.
  const leftMs = exp * 1000 - nowMs;
  const wholeMs = typeof iat === 'number' ? (exp - iat) * 1000 : leftMs;
  const lifetimeMs = leftMs > 0 ? Math.min(leftMs, wholeMs) : wholeMs;
  if (lifetimeMs <= 0) return Number.POSITIVE_INFINITY;
  return nowMs + lifetimeMs - Math.min(MARGIN_MS, lifetimeMs * MARGIN_PART);
}

function claimsOf(token: string | undefined): { exp?: unknown; iat?: unknown } {
  try {
    const payload = (token ?? '').split('.')[1] ?? '';
    return JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/')));
  } catch {
    return {}; // Not a JWT.
  }
}
