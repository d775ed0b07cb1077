/** Where tokens come from: a token, or a function that fetches one. Absent, the browser's cookie says who it is. */
export type TokenSource = string | (() => string | undefined | Promise<string | undefined>);

/** A token this close to its end is not used any more. */
const MARGIN_MS = 30_000;

/** Keeps a fetched token until it is refused or about to expire; those who ask meanwhile share one fetch. */
export class TokenCache {
  readonly #source: TokenSource | undefined;
  #token: Promise<string | undefined> | undefined;
  #expiresAtMs = Number.POSITIVE_INFINITY;
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

  /** Another number for each token that is forgotten. */
  get generation(): number {
    return this.#generation;
  }

  get(): Promise<string | undefined> {
    if (Date.now() >= this.#expiresAtMs - MARGIN_MS) this.forget();
    this.#token ??= this.#fetch();
    return this.#token;
  }

  /** With a generation, forgets only a token of that one: many may be refused with it, and one fetch serves them all. */
  forget(generation = this.#generation): void {
    if (generation !== this.#generation) return;
    this.#generation++;
    this.#token = undefined;
    this.#expiresAtMs = Number.POSITIVE_INFINITY;
  }

  async #fetch(): Promise<string | undefined> {
    try {
      const token = typeof this.#source === 'function' ? await this.#source() : this.#source;
      this.#expiresAtMs = expiryOf(token);
      return token;
    } catch (error) {
      this.forget();
      throw error;
    }
  }
}

function expiryOf(token: string | undefined): number {
  try {
    const payload = (token ?? '').split('.')[1] ?? '';
    const { exp } = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))) as { exp?: unknown };
    return typeof exp === 'number' ? exp * 1000 : Number.POSITIVE_INFINITY;
  } catch {
    return Number.POSITIVE_INFINITY; // Not a JWT: only a refusal tells.
  }
}
