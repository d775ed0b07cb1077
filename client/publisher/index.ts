import { type DraftIssue, type ErrorCode, errorTable, RunwireError } from '../../shared/errors.ts';
import type { RunEventDraft } from '../../shared/events.ts';
import { backoffMs } from '../connection/backoff.ts';
import { endpointsOf } from '../connection/endpoints.ts';
import { TokenCache, type TokenSource } from '../connection/token-cache.ts';

/**
 * `runwire/publisher`: puts events into a server's log over HTTP, in order and each once, through restarts of the server.
 *
 * A draft gets its time and its id when `publish` is called, so that a request can be sent again until it is answered.
 * One request is under way at a time: that keeps the order, and what is published meanwhile goes out together in the
 * next one. A request is stored whole or not at all; when the drafts of one call are refused, those of the others are
 * sent again without them.
 */

export type PublisherOptions = {
  /** The server's address, `https://host` or `https://host/prefix`, or that of its WebSocket, `wss://host/ws`. */
  url: string;
  /** Needs the role `producer`. A function is asked again when its token is refused or about to expire. */
  token: TokenSource;
  /** Project of the drafts that name none. */
  projectId?: string | undefined;
  /** What the server does with protected information in these events; default the server's policy. */
  onPhi?: 'reject' | 'redact' | undefined;
  /** Told of every call that failed: for those who do not await `publish`. */
  onError?: ((error: RunwireError) => void) | undefined;
  /** A call that has not gone through after so long is given up; default never. */
  retryForMs?: number | undefined;
  /** Delay after a first failure, doubled with each further one; default 250. */
  retryDelayMs?: number | undefined;
  /** Default 10,000. */
  maxRetryDelayMs?: number | undefined;
  /** A request that has no answer after so long is sent again; default 30,000. */
  timeoutMs?: number | undefined;
  /** Drafts that may wait for the server, and their size as JSON; default 100,000 and 64 MiB. */
  queueLimit?: number | undefined;
  queueLimitBytes?: number | undefined;
};

type WithoutProject<Draft> = Draft extends unknown ? Omit<Draft, 'projectId'> & { projectId?: string } : never;
/** A draft whose project the publisher may fill in. */
export type PublisherDraft = WithoutProject<RunEventDraft>;

/**
 * `accepted` were stored by this call, `duplicates` had been stored before under the same `eventId`; `seq` is the
 * highest position of them all.
 */
export type PublishResult = { accepted: number; duplicates: number; seq: number };

export type EventPublisher = {
  /**
   * Resolves once the drafts are durable. Up to 1,000 drafts and 1 MB are stored all or none; more go out in several
   * requests, up to the first that is refused. Rejects with a `RunwireError`: what the server refused, with its `path`
   * and `issues`, whose `index` counts this call's drafts; `RATE_LIMITED` when too much waits already; `UNAVAILABLE`
   * when given up. A rejection that nobody looks at is not an unhandled one.
   */
  publish(drafts: PublisherDraft | readonly PublisherDraft[]): Promise<PublishResult>;
  /** Resolves when everything published so far has been stored or has failed; a planned try is made now. */
  flush(): Promise<void>;
  /** Takes nothing more, waits at most `waitMs` (default 10,000) for the server, and gives up what is left. */
  close(waitMs?: number): Promise<void>;
};

const REQUEST_LIMIT_DRAFTS = 1_000;
const REQUEST_LIMIT_BYTES = 1_000_000;
/** A server that asks for more patience than this is asked again all the same. */
const MAX_RETRY_AFTER_S = 60;

type Call = {
  result: PublishResult;
  /** `performance.now()` at which it is given up. */
  deadline: number;
  partsLeft: number;
  isSettled: boolean;
  resolve(result: PublishResult): void;
  reject(error: RunwireError): void;
};

/** As much of a call as one request may hold. */
type Part = {
  call: Call;
  /** Index in the call of its first draft. */
  offset: number;
  drafts: string[];
  /** For each draft, whether its id was made here: its duplicate can only be an earlier try of our own. */
  isOurs: boolean[];
  bytes: number;
};

type Receipt = { seq: number; isDuplicate: boolean };

export function createPublisher(options: PublisherOptions): EventPublisher {
  const {
    projectId,
    onError,
    retryForMs = Number.POSITIVE_INFINITY,
    retryDelayMs = 250,
    maxRetryDelayMs = 10_000,
    timeoutMs = 30_000,
    queueLimit = 100_000,
    queueLimitBytes = 64 * 1024 * 1024,
  } = options;
  const address = addressOf(options.url, options.onPhi);
  const tokens = new TokenCache(options.token);
  const givingUp = new AbortController();
  const unsettled = new Set<Promise<unknown>>();
  let queue: Part[] = [];
  let waiting = { drafts: 0, bytes: 0 };
  let isRunning = false;
  let isClosed = false;
  let endPause: () => void = () => undefined;
  /** Why the last request failed, if it did: the reason to name when the rest is given up. */
  let lastFailure: RunwireError | undefined;

  const publish = (given: PublisherDraft | readonly PublisherDraft[]): Promise<PublishResult> => {
    const result = new Promise<PublishResult>((resolve, reject) => {
      const drafts = Array.isArray(given) ? (given as readonly PublisherDraft[]) : [given as PublisherDraft];
      enqueue(drafts, { resolve, reject });
    });
    unsettled.add(result);
    result.then(
      () => unsettled.delete(result),
      (error: RunwireError) => {
        unsettled.delete(result);
        onError?.(error);
      },
    );
    return result;
  };

  const enqueue = (drafts: readonly PublisherDraft[], settle: Pick<Call, 'resolve' | 'reject'>): void => {
    if (isClosed) throw new RunwireError('UNAVAILABLE', 'the publisher has been closed');
    if (drafts.length === 0) throw new RunwireError('INVALID_INPUT', 'no events to publish', { path: 'events' });
    const result = { accepted: 0, duplicates: 0, seq: 0 };
    const call: Call = {
      ...settle,
      result,
      deadline: performance.now() + retryForMs,
      partsLeft: 0,
      isSettled: false,
    };
    const parts = partsOf(call, drafts, projectId);
    call.partsLeft = parts.length;
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
    if (waiting.drafts + drafts.length > queueLimit || waiting.bytes + bytes > queueLimitBytes) {
      const message = `no room for ${drafts.length} more events: ${waiting.drafts} wait for the server`;
      throw new RunwireError('RATE_LIMITED', message);
    }
    waiting = { drafts: waiting.drafts + drafts.length, bytes: waiting.bytes + bytes };
    for (const part of parts) queue.push(part);
    if (!isRunning) void run();
  };

  const run = async (): Promise<void> => {
    isRunning = true;
    await Promise.resolve(); // What is published in the same turn goes out together.
    while (queue.length > 0) {
      const count = countThatFit(queue);
      const parts = queue.slice(0, count);
      queue = queue.slice(count);
      await deliver(parts);
    }
    isRunning = false;
  };

  /** Sends parts in one request; when that is refused, fails those to blame and delivers the others. */
  const deliver = async (given: Part[]): Promise<void> => {
    // A call of several parts ends with the first of them that fails.
    for (const part of given) if (part.call.isSettled) leave(part);
    const parts = given.filter((part) => !part.call.isSettled);
    if (parts.length === 0) return;
    let receipts: Receipt[];
    try {
      receipts = await send(parts);
    } catch (caught) {
      const error = caught as RunwireError;
      const blamed = blame(parts, error);
      for (const [part, itsError] of blamed) fail(part, itsError);
      const others = parts.filter((part) => !blamed.has(part));
      if (blamed.size > 0) return deliver(others);
      // It does not say whose fault it is: sent apart, it will.
      await deliver(parts.slice(0, parts.length / 2));
      return deliver(parts.slice(parts.length / 2));
    }
    let at = 0;
    for (const part of parts) {
      succeed(part, receipts.slice(at, at + part.drafts.length));
      at += part.drafts.length;
    }
  };

  /** Which parts a failed request has to fail with, each with what it did wrong; none when that cannot be told. */
  const blame = (parts: Part[], error: RunwireError): Map<Part, RunwireError> => {
    if (errorTable[error.code].retryable) {
      const late = parts.filter((part) => givingUp.signal.aborted || part.call.deadline <= performance.now());
      return new Map(late.map((part) => [part, error]));
    }
    const blamed = new Map<Part, RunwireError>();
    let first = 0;
    for (const part of parts) {
      const end = first + part.drafts.length;
      const shift = part.offset - first;
      const issues = error.issues
        .filter(({ index }) => index >= first && index < end)
        .map((issue) => ({ ...issue, index: issue.index + shift }));
      if (issues.length > 0) blamed.set(part, refusalOf(error, issues));
      else if (error.code === 'UNAUTHENTICATED' || parts.length === 1) blamed.set(part, error);
      first = end;
    }
    return blamed;
  };

  const succeed = (part: Part, receipts: Receipt[]): void => {
    leave(part);
    const { call } = part;
    const { result } = call;
    receipts.forEach(({ seq, isDuplicate }, index) => {
      result.seq = Math.max(result.seq, seq);
      if (isDuplicate && !part.isOurs[index]) result.duplicates++;
      else result.accepted++;
    });
    if (--call.partsLeft > 0) return;
    call.isSettled = true;
    call.resolve(result);
  };

  const fail = (part: Part, error: RunwireError): void => {
    leave(part);
    part.call.isSettled = true;
    part.call.reject(error);
  };

  const leave = (part: Part): void => {
    waiting = { drafts: waiting.drafts - part.drafts.length, bytes: waiting.bytes - part.bytes };
  };

  /** Sends until there is an answer, or until the time of one of the calls is up. */
  const send = async (parts: Part[]): Promise<Receipt[]> => {
    const count = parts.reduce((sum, part) => sum + part.drafts.length, 0);
    const body = `[${parts.map((part) => part.drafts.join(',')).join(',')}]`;
    const deadline = Math.min(...parts.map((part) => part.call.deadline));
    let hasRefreshed = false;
    for (let attempt = 1; ; attempt++) {
      const outcome = await tryOnce(body, count);
      if (Array.isArray(outcome)) {
        lastFailure = undefined;
        return outcome;
      }
      const { error, leastMs } = outcome;
      if (givingUp.signal.aborted) throw lastFailure ?? error;
      lastFailure = errorTable[error.code].retryable ? error : undefined;
      if (error.code === 'UNAUTHENTICATED' && typeof options.token === 'function' && !hasRefreshed) {
        hasRefreshed = true;
        tokens.forget();
        continue;
      }
      const leftMs = deadline - performance.now();
      if (!errorTable[error.code].retryable || leftMs <= 0) throw error;
      const delayMs = Math.max(leastMs, backoffMs(attempt, retryDelayMs, maxRetryDelayMs, Math.random));
      await pause(Math.min(delayMs, leftMs));
    }
  };

  const tryOnce = async (
    body: string,
    count: number,
  ): Promise<Receipt[] | { error: RunwireError; leastMs: number }> => {
    const controller = new AbortController();
    const abort = () => controller.abort();
    const timer = setTimeout(abort, timeoutMs);
    givingUp.signal.addEventListener('abort', abort);
    if (givingUp.signal.aborted) abort();
    const aborted = new Promise<never>((_, reject) => {
      controller.signal.addEventListener('abort', () => reject(controller.signal.reason));
    });
    aborted.catch(() => undefined);
    try {
      const { signal } = controller;
      signal.throwIfAborted();
      const token = await Promise.race([tokens.get(), aborted]);
      const headers = {
        'content-type': 'application/json',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      };
      const response = await fetch(address, { method: 'POST', headers, body, signal });
      const text = await response.text();
      if (response.ok) return receiptsOf(text, count) ?? { error: notRunwire(), leastMs: 0 };
      const seconds = Number(response.headers.get('retry-after') ?? 0);
      return { error: errorOf(response.status, text), leastMs: Math.min(seconds || 0, MAX_RETRY_AFTER_S) * 1_000 };
    } catch (cause) {
      return { error: new RunwireError('UNAVAILABLE', reasonOf(cause), { cause }), leastMs: 0 };
    } finally {
      clearTimeout(timer);
      givingUp.signal.removeEventListener('abort', abort);
    }
  };

  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });

  const flush = async (): Promise<void> => {
    endPause();
    await Promise.allSettled(unsettled);
  };

  const close = async (waitMs = 10_000): Promise<void> => {
    isClosed = true;
    const timer = setTimeout(() => {
      givingUp.abort();
      endPause();
    }, waitMs);
    await flush();
    clearTimeout(timer);
  };

  return { publish, flush, close };
}

function partsOf(call: Call, drafts: readonly PublisherDraft[], projectId: string | undefined): Part[] {
  const timestamp = new Date().toISOString();
  const encoder = new TextEncoder();
  const parts: Part[] = [];
  drafts.forEach((draft, index) => {
    const json = jsonOf({ projectId, timestamp, eventId: randomId() }, draft, index);
    const bytes = encoder.encode(json).length + 1;
    let part = parts.at(-1);
    if (!part || part.drafts.length >= REQUEST_LIMIT_DRAFTS || part.bytes + bytes > REQUEST_LIMIT_BYTES) {
      part = { call, offset: index, drafts: [], isOurs: [], bytes: 0 };
      parts.push(part);
    }
    part.drafts.push(json);
    part.isOurs.push((draft as { eventId?: unknown } | null)?.eventId === undefined);
    part.bytes += bytes;
  });
  return parts;
}

/** How many parts from the front make one request: at least one. */
function countThatFit(queue: readonly Part[]): number {
  let drafts = 0;
  let bytes = 0;
  const end = queue.findIndex((part, index) => {
    drafts += part.drafts.length;
    bytes += part.bytes;
    return index > 0 && (drafts > REQUEST_LIMIT_DRAFTS || bytes > REQUEST_LIMIT_BYTES);
  });
  return end < 0 ? queue.length : end;
}

/** A draft as JSON, with what it does not say itself. What is no object goes out as it is, for the server to refuse. */
function jsonOf(defaults: Record<string, string | undefined>, draft: unknown, index: number): string {
  try {
    if (typeof draft !== 'object' || draft === null || Array.isArray(draft)) return JSON.stringify(draft) ?? 'null';
    const own = Object.fromEntries(Object.entries(draft).filter(([, value]) => value !== undefined));
    return JSON.stringify({ ...defaults, ...own });
  } catch (cause) {
    const issues = [{ index, path: '', message: 'cannot be written as JSON' }];
    throw new RunwireError('INVALID_EVENT', `events.${index}: cannot be written as JSON`, { issues, cause });
  }
}

/** `crypto.randomUUID` is there only in pages that came over HTTPS. */
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

function addressOf(given: string, onPhi: string | undefined): URL {
  const url = new URL(endpointsOf(given).events);
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

/** An answer that is no success, as one of the table, also when something on the way has answered. */
function errorOf(status: number, text: string): RunwireError {
  const { error, errors } = parsed(text) as {
    error?: { code?: ErrorCode; message?: string; path?: string };
    errors?: DraftIssue[];
  };
  const message = `the server answered ${status}`;
  if (!error?.code || !(error.code in errorTable)) return new RunwireError(codeOf(status), message);
  return new RunwireError(error.code, error.message ?? message, { path: error.path, issues: errors ?? [] });
}

function codeOf(status: number): ErrorCode {
  const byStatus: Record<number, ErrorCode> = {
    401: 'UNAUTHENTICATED',
    403: 'FORBIDDEN',
    404: 'NOT_FOUND',
    413: 'TOO_LARGE',
    429: 'RATE_LIMITED',
  };
  return byStatus[status] ?? (status >= 500 ? 'UNAVAILABLE' : 'INVALID_INPUT');
}

/** The refusal of a request in the words of one of its calls. */
function refusalOf(error: RunwireError, issues: DraftIssue[]): RunwireError {
  const [first] = issues;
  const path = first?.path ? `events.${first.index}.${first.path}` : `events.${first?.index}`;
  return new RunwireError(error.code, `${path}: ${first?.message}`, { path, issues });
}

/** Why there was no answer, with the code of the system's error where there is one. */
function reasonOf(error: unknown): string {
  if (error instanceof RunwireError) return error.message; // Of the token's source.
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
