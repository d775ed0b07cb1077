import { RunwireError } from '../../shared/errors.ts';
import { backoffMs } from '../connection/backoff.ts';
import { endpointsOf } from '../connection/endpoints.ts';
import { startTimer } from '../connection/timer.ts';
import { TokenCache, type TokenSource } from '../connection/token-cache.ts';
import { type Answer, type Receipt, readAnswer } from './answer.ts';

export type SenderOptions = {
  /** URL of the server, `https://host[/prefix]`, or of its WebSocket, `wss://host[/prefix]/ws`. */
  url: string;
  /** A token with the role `producer`, or a function that fetches one. */
  token: TokenSource;
  /** Whether the server refuses or redacts events with protected health information; default the server's policy. */
  onPhi?: 'reject' | 'redact' | undefined;
  /** Delay before the first retry; default 250. Each further failure doubles the delay. Jitter cuts up to half of it. */
  retryDelayMs?: number | undefined;
  /** Upper limit of the delay; default 10,000. */
  maxRetryDelayMs?: number | undefined;
  /** A request without an answer after this time, the time for its token included, is sent again; default 30,000. */
  timeoutMs?: number | undefined;
};

/**
 * How a request ended:
 * - `stored`: with a receipt for each draft;
 * - `refused`: the server refuses these drafts;
 * - `late`: the deadline has passed;
 * - `failed`: the token is refused, the address is no Runwire server, or `giveUp` was called.
 */
export type Outcome =
  | { kind: 'stored'; receipts: Receipt[] }
  | { kind: 'refused' | 'late' | 'failed'; error: RunwireError };

type Attempt = Answer & { minDelayMs?: number };

/** Maximum delay that the server can request with the header `retry-after`. */
const MAX_RETRY_AFTER_S = 60;
/** A request fails when an address that has never answered as a Runwire server answers otherwise for this time. */
const FOREIGN_LIMIT_MS = 60_000;
/** Attempts of a request after which an outage is reported. */
const REPORTED_ATTEMPT = 3;
/** Minimum time between two tokens that are fetched because a draft is forbidden. */
const FORBIDDEN_TOKEN_MS = 60_000;

/** Sends a request over HTTP, and repeats it until the server answers or the deadline of the request passes. */
export class EventSender {
  readonly #url: URL;
  readonly #tokens: TokenCache;
  readonly #retryDelayMs: number;
  readonly #maxRetryDelayMs: number;
  readonly #timeoutMs: number;
  readonly #onOutage: (error: RunwireError) => void;
  readonly #givingUp = new AbortController();
  readonly #pausing = new Pause();
  /** Why the last attempt failed. After `giveUp()` all requests fail with this error, because it states the cause. */
  #lastFailure: RunwireError | undefined;
  /** Message of the outage that was reported last. */
  #reported: string | undefined;
  #hasAnswered = false;
  /** Since when all answers have been foreign, on the clock of `performance.now()`. */
  #foreignSinceMs: number | undefined;
  #forbiddenAtMs = Number.NEGATIVE_INFINITY;

  /** `onOutage` receives the cause of an outage while requests are repeated, and receives it again when it changes. */
  constructor(options: SenderOptions, onOutage: (error: RunwireError) => void) {
    this.#url = urlOf(options.url, options.onPhi);
    this.#tokens = new TokenCache(options.token);
    this.#retryDelayMs = durationOf('retryDelayMs', options.retryDelayMs, 250);
    this.#maxRetryDelayMs = durationOf('maxRetryDelayMs', options.maxRetryDelayMs, 10_000);
    this.#timeoutMs = durationOf('timeoutMs', options.timeoutMs, 30_000);
    this.#onOutage = onOutage;
  }

  get hasGivenUp(): boolean {
    return this.#givingUp.signal.aborted;
  }

  /** Whether a delay before an attempt keeps a Node.js process running; true at first. */
  holdProcess(isHolding: boolean): void {
    this.#pausing.holdProcess(isHolding);
  }

  /** Ends the delay before the next attempt. */
  retryNow(): void {
    this.#pausing.end();
  }

  /** Aborts the current request. All later requests fail at once. */
  giveUp(): void {
    this.#givingUp.abort();
    this.retryNow();
  }

  /** Waits for the maximum delay, or until `retryNow`. */
  async rest(): Promise<void> {
    if (!this.hasGivenUp) await this.#pausing.wait(this.#maxRetryDelayMs);
  }

  /** Sends `body`, a JSON array of `count` drafts, until `deadlineMs` (on the clock of `performance.now()`). */
  async send(body: string, count: number, deadlineMs: number): Promise<Outcome> {
    let hasRefreshed = false;
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#tryOnce(body, count);
      const isWrongAddress = this.#isWrongAddress(answer.kind);
      if (answer.kind === 'stored' || answer.kind === 'refused') {
        this.#reported = undefined;
        this.#lastFailure = undefined;
      }
      if (answer.kind === 'stored') return answer;
      const { error } = answer;
      if (this.hasGivenUp) return { kind: 'failed', error: this.#lastFailure ?? error };
      if (answer.kind === 'refused') {
        if (!hasRefreshed && this.#mayHelp(error)) {
          hasRefreshed = true;
          this.#tokens.forget();
          continue;
        }
        return { kind: error.code === 'UNAUTHENTICATED' ? 'failed' : 'refused', error };
      }
      this.#lastFailure = error;
      hasRefreshed = false;
      if (isWrongAddress) return { kind: 'failed', error };
      if (attempt >= REPORTED_ATTEMPT || answer.kind === 'foreign') this.#reportOutage(error);
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) return { kind: 'late', error: lateOf(error) };
      const delayMs = backoffMs(attempt, this.#retryDelayMs, this.#maxRetryDelayMs);
      await this.#pausing.wait(Math.min(Math.max(answer.minDelayMs ?? 0, delayMs), leftMs));
    }
  }

  /** Sends `body` once, so that it arrives even if the page goes meanwhile. Its answer is not used. */
  async sendLast(body: string, count: number): Promise<void> {
    await this.#tryOnce(body, count, true);
  }

  async #tryOnce(body: string, count: number, keepalive = false): Promise<Attempt> {
    const controller = new AbortController();
    const abort = () => controller.abort();
    const timer = startTimer(this.#timeoutMs, abort);
    this.#givingUp.signal.addEventListener('abort', abort);
    if (this.hasGivenUp) abort();
    const { signal } = controller;
    let hasToken = false;
    try {
      const token = await this.#tokenBefore(signal);
      hasToken = true;
      const headers = {
        'content-type': 'application/json',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      };
      const response = await fetch(this.#url, { method: 'POST', headers, body, signal, redirect: 'manual', keepalive });
      const seconds = Number(response.headers.get('retry-after') ?? 0);
      const minDelayMs = Math.min(Math.max(seconds || 0, 0), MAX_RETRY_AFTER_S) * 1_000;
      return { ...(await readAnswer(response, count)), minDelayMs };
    } catch (cause) {
      // A source that does not answer would otherwise be waited for in each further attempt.
      if (!hasToken) this.#tokens.forget();
      const reason = hasToken ? reasonOf(cause) : tokenReasonOf(cause);
      return { kind: 'unavailable', error: new RunwireError('UNAVAILABLE', reason, { cause }) };
    } finally {
      clearTimeout(timer);
      this.#givingUp.signal.removeEventListener('abort', abort);
    }
  }

  async #tokenBefore(signal: AbortSignal): Promise<string | undefined> {
    if (signal.aborted) throw signal.reason;
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    const token = await Promise.race([this.#tokens.get(), aborted]);
    if (typeof token === 'string' || this.#tokens.isAbsent) return token;
    throw new RunwireError('UNAVAILABLE', 'the token source has no token yet');
  }

  /** Whether another token may be accepted. A token without a right is replaced at most once a minute. */
  #mayHelp({ code }: RunwireError): boolean {
    if (!this.#tokens.isRenewable || (code !== 'UNAUTHENTICATED' && code !== 'FORBIDDEN')) return false;
    if (code === 'UNAUTHENTICATED') return true;
    const nowMs = performance.now();
    if (nowMs - this.#forbiddenAtMs < FORBIDDEN_TOKEN_MS) return false;
    this.#forbiddenAtMs = nowMs;
    return true;
  }

  /** Returns whether the address has answered only as something else than a Runwire server, for too long. */
  #isWrongAddress(kind: Answer['kind']): boolean {
    if (kind === 'stored' || kind === 'refused') this.#hasAnswered = true;
    if (kind !== 'foreign') this.#foreignSinceMs = undefined;
    else this.#foreignSinceMs ??= performance.now();
    if (this.#hasAnswered || this.#foreignSinceMs === undefined) return false;
    return performance.now() - this.#foreignSinceMs >= FOREIGN_LIMIT_MS;
  }

  #reportOutage(error: RunwireError): void {
    if (error.message === this.#reported) return;
    this.#reported = error.message;
    this.#onOutage(error);
  }
}

/** A delay that another call can end. In Node.js, it keeps the process running while `holdProcess` says so. */
class Pause {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #end: (() => void) | undefined;
  #isHolding = true;

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#end = resolve;
      this.#timer = startTimer(ms, resolve);
      this.holdProcess(this.#isHolding);
    });
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#end?.();
  }

  holdProcess(isHolding: boolean): void {
    this.#isHolding = isHolding;
    const timer = this.#timer as { ref?(): void; unref?(): void } | undefined; // A number in browsers.
    if (isHolding) timer?.ref?.();
    else timer?.unref?.();
  }
}

/** Returns a duration of the options, in milliseconds. `Infinity` is allowed. */
export function durationOf(name: string, value: number | undefined, byDefault: number): number {
  if (value === undefined || value >= 0) return value ?? byDefault;
  throw new RunwireError('INVALID_INPUT', `${name} must be a number of milliseconds, at least 0`, { path: name });
}

function urlOf(address: string, onPhi: string | undefined): URL {
  const url = new URL(endpointsOf(address).events);
  url.search = '';
  url.searchParams.set('receipts', 'true');
  if (onPhi !== undefined) url.searchParams.set('onPhi', onPhi);
  return url;
}

/** `RATE_LIMITED` means a full queue to callers of `publish`. */
function lateOf(error: RunwireError): RunwireError {
  return error.code === 'RATE_LIMITED' ? new RunwireError('UNAVAILABLE', error.message, { cause: error }) : error;
}

/** Returns why the server did not answer, with the system's error code if there is one. */
function reasonOf(error: unknown): string {
  if (isAbort(error)) return 'the server did not answer in time';
  const code = (error as { cause?: { code?: unknown } } | undefined)?.cause?.code;
  return `the server cannot be reached${typeof code === 'string' ? ` (${code})` : ''}`;
}

function tokenReasonOf(error: unknown): string {
  if (error instanceof RunwireError) return error.message;
  return isAbort(error) ? 'the token source did not answer in time' : 'the token source failed';
}

const isAbort = (error: unknown) => error instanceof Error && error.name === 'AbortError';
