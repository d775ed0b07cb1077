import { ConnectionClosedError } from '../errors.ts';
import { backoffMs, pause } from './backoff.ts';
import { within } from './timer.ts';

type Token = string | null | undefined;

/**
 * A token, or a function that fetches one. The function is called again when its token is refused or about to expire.
 * `null`, or `undefined` from a function, means that there is no token yet: requests wait for it.
 */
export type TokenSource = string | null | (() => Token | Promise<Token>);

/** The user of a connection. Two objects are two users, or the same user after another one. */
export type Identity = {
  /** The user id, empty for a cookie. While the id is unknown, a text that no other connection has. */
  readonly subject: string;
  /** Aborted when another user's token arrives. */
  readonly signal: AbortSignal;
};

export type TokenCacheOptions = {
  /** The user id of every token of the source; default the claim `sub` of each token. */
  identity?: string | undefined;
  /** Asks the server for the user id of a token without the claim `sub`. Returns undefined if the token is refused. */
  fetchSubject?(token: string, signal: AbortSignal): Promise<string | undefined>;
  /** Called when a token replaces another one, before `get` returns it. */
  onToken?(isOtherUser: boolean): void;
  /** Called some time after {@link TokenCache.doubt}. */
  onDue?(): void;
};

/** A token is replaced this long before it expires, because timers in a hidden tab may run a minute late. */
const MARGIN_MS = 90_000;
/** The margin is at most this fraction of the token's lifetime. */
const MAX_MARGIN_FRACTION = 1 / 3;
/** Maximum time of a fetch. A source that waits for its user should return null instead. */
const MAX_FETCH_MS = 15_000;
/** Delays after the answer "no token yet". */
const NOT_YET_MS = 250;
const MAX_NOT_YET_MS = 5_000;
/** Time from a fetch to the next one for a doubt. Each doubt that finds the same user doubles it. */
const DOUBT_MS = 1_000;
const MAX_DOUBT_MS = 300_000;

type Caller = { resolve(token: string | undefined): void; reject(error: unknown): void };

/**
 * Caches a token until the server refuses it or it is about to expire, and knows the user of the token. Concurrent callers
 * share one fetch.
 *
 * Each fetch has a generation. `forget` and `close` end the current one: a fetch that is answered later changes nothing,
 * and its callers wait for the next fetch.
 */
export class TokenCache {
  readonly #source: TokenSource | undefined;
  readonly #options: TokenCacheOptions;
  readonly #callers = new Set<Caller>();
  #identity: Identity;
  #user = new AbortController();
  /** User of the last token; undefined while unknown. */
  #subject: string | undefined;
  #lastToken: string | undefined;
  #isCached = false;
  #dueAtMs = Number.POSITIVE_INFINITY;
  #generation = 0;
  /** Aborted at the end of the current fetch; undefined without a fetch. */
  #fetching: AbortController | undefined;
  #isClosed = false;
  #isDoubtful = false;
  #doubtMs = DOUBT_MS;
  #fetchedAtMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(source: TokenSource | undefined, options: TokenCacheOptions = {}) {
    this.#source = source;
    this.#options = options;
    this.#subject = options.identity ?? subjectOf(source);
    this.#identity = { subject: this.#subject ?? `unknown ${Math.random()}`, signal: this.#user.signal };
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

  /** The last token that was fetched. It may be dropped already. */
  get last(): string | undefined {
    return this.#lastToken;
  }

  /** The user of the last token, as the same object until another user's token arrives. */
  get identity(): Identity {
    return this.#identity;
  }

  /**
   * Returns the token; undefined for a cookie. Rejects if the fetch fails or takes longer than `MAX_FETCH_MS`, and after
   * `close`. The next call then fetches again.
   */
  async get(): Promise<string | undefined> {
    if (this.#isClosed) throw new ConnectionClosedError();
    if (this.isAbsent) return undefined;
    if (this.#isCached && Date.now() < this.#dueAtMs) return this.#lastToken;
    if (this.#isCached) this.forget();
    const token = new Promise<string | undefined>((resolve, reject) => this.#callers.add({ resolve, reject }));
    if (!this.#fetching) void this.#fetch();
    return token;
  }

  /**
   * Drops the cached token, so that the next `get` fetches a new one. With a `generation`, drops only the token of that
   * generation: the server may refuse many requests with the same token, and one new token serves them all.
   */
  forget(generation = this.#generation): void {
    if (generation !== this.#generation) return;
    this.#drop();
    if (this.#callers.size > 0) void this.#fetch();
  }

  /** Starts a fetch that is under way again: the source may never answer, or may have a token now. */
  retry(): void {
    if (this.#fetching) this.forget();
  }

  /**
   * Fetches the token again some time later, because the source may be of another user now. An application that passes a
   * new function at each render causes many doubts, so they are rare unless they find another user.
   */
  doubt(): void {
    this.#isDoubtful = true;
    this.#planDue();
  }

  /** Drops a token that is in doubt, for a request that must not be sent in the name of another user. */
  settleDoubt(): void {
    if (this.#isDoubtful && this.#isCached) this.forget();
  }

  /** Rejects all callers, present and future. */
  close(): void {
    this.#isClosed = true;
    this.#drop();
    this.#settle(({ reject }) => reject(new ConnectionClosedError()));
  }

  #drop(): void {
    this.#generation++;
    this.#fetching?.abort();
    this.#fetching = undefined;
    this.#isCached = false;
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    clearTimeout(this.#timer);
  }

  #planDue(): void {
    if (!this.#isCached || !this.#isDoubtful) return;
    const dueAtMs = this.#fetchedAtMs + this.#doubtMs;
    this.#dueAtMs = Math.min(this.#dueAtMs, dueAtMs);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#options.onDue?.(), Math.max(0, dueAtMs - Date.now()));
  }

  async #fetch(): Promise<void> {
    const fetching = new AbortController();
    this.#fetching = fetching;
    try {
      for (let attempt = 1; ; attempt++) {
        const found = await within(MAX_FETCH_MS, 'the token source', fetching.signal, (signal) => this.#ask(signal));
        if (fetching.signal.aborted) return;
        if (found) {
          this.#accept(found.token, found.subject);
          return;
        }
        await pause(backoffMs(attempt, NOT_YET_MS, MAX_NOT_YET_MS), fetching.signal);
        if (fetching.signal.aborted) return;
      }
    } catch (error) {
      if (fetching.signal.aborted) return;
      this.#drop();
      this.#settle(({ reject }) => reject(error));
    }
  }

  /** Calls the source once. Returns undefined if it has no token yet. */
  async #ask(signal: AbortSignal): Promise<{ token: string; subject: string | undefined } | undefined> {
    const source = this.#source;
    const wasDoubtful = this.#isDoubtful;
    this.#isDoubtful = false;
    const token = typeof source === 'function' ? await source() : source;
    if (token === undefined || token === null) return undefined;
    const { identity, fetchSubject } = this.#options;
    let subject = identity ?? subjectOf(token);
    if (subject === undefined && token === this.#lastToken) subject = this.#subject;
    if (subject === undefined && this.isRenewable && !signal.aborted) subject = await fetchSubject?.(token, signal);
    if (wasDoubtful) this.#doubtMs = subject === this.#subject ? Math.min(2 * this.#doubtMs, MAX_DOUBT_MS) : DOUBT_MS;
    return { token, subject };
  }

  #accept(token: string, subject: string | undefined): void {
    this.#fetching = undefined;
    const isOther = token !== this.#lastToken;
    const isOtherUser = subject !== undefined && this.#subject !== undefined && subject !== this.#subject;
    this.#lastToken = token;
    this.#isCached = true;
    this.#fetchedAtMs = Date.now();
    this.#dueAtMs = dueAtOf(token, this.#fetchedAtMs);
    this.#subject = subject ?? this.#subject;
    if (isOtherUser) {
      const former = this.#user;
      this.#user = new AbortController();
      this.#identity = { subject, signal: this.#user.signal };
      former.abort();
    }
    if (isOther) this.#options.onToken?.(isOtherUser);
    this.#planDue();
    this.#settle(({ resolve }) => resolve(token));
  }

  #settle(settle: (caller: Caller) => void): void {
    const callers = [...this.#callers];
    this.#callers.clear();
    for (const caller of callers) settle(caller);
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
  return typeof sub === 'string' && sub !== '' ? sub : undefined;
}

function claimsOf(token: string | undefined): { exp?: unknown; iat?: unknown; sub?: unknown } {
  try {
    const payload = (token ?? '').split('.')[1] ?? '';
    return Object(JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))));
  } catch {
    return {}; // The token is not a JWT, so it has no readable claims.
  }
}
