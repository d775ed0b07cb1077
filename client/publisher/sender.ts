import { type DraftIssue, type ErrorCode, errorTable, RunwireError } from '../../shared/errors.ts';
import { backoffMs, pause } from '../connection/backoff.ts';
import { endpointsOf } from '../connection/endpoints.ts';
import { TokenCache, type TokenSource } from '../connection/token-cache.ts';

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
  /** A request without an answer after this time is sent again; default 30,000. */
  timeoutMs?: number | undefined;
};

/** The server's answer for one draft: its position in the log, and whether the draft was already stored before. */
export type Receipt = { seq: number; isDuplicate: boolean };

/** Maximum delay that the server can request with the header `retry-after`. */
const MAX_RETRY_AFTER_S = 60;

/** Sends a request over HTTP, and repeats it until the server answers or the deadline of the request passes. */
export class EventSender {
  readonly #url: URL;
  readonly #tokens: TokenCache;
  readonly #retryDelayMs: number;
  readonly #maxRetryDelayMs: number;
  readonly #timeoutMs: number;
  readonly #givingUp = new AbortController();
  #pausing: AbortController | undefined;
  /** Why the last attempt failed. After `giveUp()` all requests fail with this error, because it states the cause. */
  #lastFailure: RunwireError | undefined;

  constructor(options: SenderOptions) {
    this.#url = urlOf(options.url, options.onPhi);
    this.#tokens = new TokenCache(options.token);
    this.#retryDelayMs = options.retryDelayMs ?? 250;
    this.#maxRetryDelayMs = options.maxRetryDelayMs ?? 10_000;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
  }

  get hasGivenUp(): boolean {
    return this.#givingUp.signal.aborted;
  }

  /** Ends the delay before the next attempt. */
  retryNow(): void {
    this.#pausing?.abort();
  }

  /** Aborts the current request. All later requests fail at once. */
  giveUp(): void {
    this.#givingUp.abort();
    this.retryNow();
  }

  /**
   * Sends `body`, a JSON array of `count` drafts. Rejects with a `RunwireError` if the server refuses the request, or has
   * not answered before `deadlineMs` (on the clock of `performance.now()`).
   */
  async send(body: string, count: number, deadlineMs: number): Promise<Receipt[]> {
    let hasRefreshed = false;
    for (let attempt = 1; ; attempt++) {
      const outcome = await this.#tryOnce(body, count);
      if (Array.isArray(outcome)) {
        this.#lastFailure = undefined;
        return outcome;
      }
      const { error, minDelayMs } = outcome;
      if (this.hasGivenUp) throw this.#lastFailure ?? error;
      const { retryable } = errorTable[error.code];
      this.#lastFailure = retryable ? error : undefined;
      if (error.code === 'UNAUTHENTICATED' && this.#tokens.isRenewable && !hasRefreshed) {
        hasRefreshed = true;
        this.#tokens.forget();
        continue;
      }
      const leftMs = deadlineMs - performance.now();
      if (!retryable || leftMs <= 0) throw error;
      const delayMs = Math.max(minDelayMs, backoffMs(attempt, this.#retryDelayMs, this.#maxRetryDelayMs));
      this.#pausing = new AbortController();
      await pause(Math.min(delayMs, leftMs), this.#pausing.signal);
    }
  }

  async #tryOnce(body: string, count: number): Promise<Receipt[] | { error: RunwireError; minDelayMs: number }> {
    const controller = new AbortController();
    const abort = () => controller.abort();
    const timer = setTimeout(abort, this.#timeoutMs);
    this.#givingUp.signal.addEventListener('abort', abort);
    if (this.hasGivenUp) abort();
    const aborted = new Promise<never>((_, reject) => {
      controller.signal.addEventListener('abort', () => reject(controller.signal.reason));
    });
    aborted.catch(() => undefined);
    try {
      const { signal } = controller;
      signal.throwIfAborted();
      const token = await Promise.race([this.#tokens.get(), aborted]);
      const headers = {
        'content-type': 'application/json',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      };
      const response = await fetch(this.#url, { method: 'POST', headers, body, signal });
      const text = await response.text();
      if (response.ok) return receiptsOf(text, count) ?? { error: notRunwire(), minDelayMs: 0 };
      const seconds = Number(response.headers.get('retry-after') ?? 0);
      const minDelayMs = Math.min(seconds || 0, MAX_RETRY_AFTER_S) * 1_000;
      return { error: errorOf(response.status, text), minDelayMs };
    } catch (cause) {
      return { error: new RunwireError('UNAVAILABLE', reasonOf(cause), { cause }), minDelayMs: 0 };
    } finally {
      clearTimeout(timer);
      this.#givingUp.signal.removeEventListener('abort', abort);
    }
  }
}

function urlOf(address: string, onPhi: string | undefined): URL {
  const url = new URL(endpointsOf(address).events);
  url.search = '';
  url.searchParams.set('receipts', 'true');
  if (onPhi !== undefined) url.searchParams.set('onPhi', onPhi);
  return url;
}

function receiptsOf(text: string, count: number): Receipt[] | undefined {
  const { receipts } = parsed(text) as { receipts?: Receipt[] };
  return Array.isArray(receipts) && receipts.length === count ? receipts : undefined;
}

const notRunwire = () => new RunwireError('NOT_FOUND', 'the address does not answer as a Runwire server');

/** Converts an answer with an error status to a `RunwireError`. A proxy may have sent it, so the body can be anything. */
function errorOf(status: number, text: string): RunwireError {
  const { error, errors } = parsed(text) as {
    error?: { code?: ErrorCode; message?: string; path?: string };
    errors?: DraftIssue[];
  };
  const message = `the server answered ${status}`;
  if (!error?.code || !Object.hasOwn(errorTable, error.code)) return new RunwireError(codeOfStatus(status), message);
  return new RunwireError(error.code, error.message ?? message, { path: error.path, issues: errors ?? [] });
}

function codeOfStatus(status: number): ErrorCode {
  const byStatus: Record<number, ErrorCode> = {
    401: 'UNAUTHENTICATED',
    403: 'FORBIDDEN',
    404: 'NOT_FOUND',
    408: 'UNAVAILABLE', // A proxy did not receive the request in time.
    413: 'TOO_LARGE',
    429: 'RATE_LIMITED',
  };
  return byStatus[status] ?? (status >= 500 ? 'UNAVAILABLE' : 'INVALID_INPUT');
}

/** Returns why the server did not answer, with the system's error code if there is one. */
function reasonOf(error: unknown): string {
  if (error instanceof RunwireError) return error.message; // The token source threw this error.
  if (error instanceof Error && error.name === 'AbortError') return 'the server did not answer in time';
  const code = (error as { cause?: { code?: unknown } } | undefined)?.cause?.code;
  return `the server cannot be reached${typeof code === 'string' ? ` (${code})` : ''}`;
}

function parsed(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
