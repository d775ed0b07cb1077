import { type DraftIssue, type ErrorCode, errorCodes, RunwireError } from '../../shared/errors.ts';

/** The server's result for one draft: its position in the log, and whether the draft was already stored before. */
export type Receipt = { seq: number; isDuplicate: boolean };

/**
 * What an HTTP answer means:
 * - `stored`: the server has stored the drafts;
 * - `refused`: the same drafts would be refused again;
 * - `unavailable`: the server, or a proxy in front of it, cannot answer now;
 * - `foreign`: something else than a Runwire server has answered, such as an ingress without a route.
 */
export type Answer =
  | { kind: 'stored'; receipts: Receipt[] }
  | { kind: 'refused' | 'unavailable' | 'foreign'; error: RunwireError };

/** Statuses of a proxy that reports an outage: timeout, too early, too many requests. Those from 500 on also do. */
const OUTAGES = new Set([408, 425, 429]);

/** Reads the answer to a request with `count` drafts. Only an answer of Runwire is final, and 413, which a proxy repeats. */
export async function readAnswer(response: Response, count: number): Promise<Answer> {
  // A redirect would turn POST into GET. Browsers hide its status.
  if (response.type === 'opaqueredirect' || (response.status >= 300 && response.status < 400)) {
    return { kind: 'foreign', error: new RunwireError('NOT_FOUND', `the address redirects${targetOf(response)}`) };
  }
  const { status } = response;
  const body = parsed(await response.text()) as {
    receipts?: unknown;
    error?: { code?: ErrorCode; message?: string; path?: string };
    errors?: unknown;
  };
  if (response.ok && isListOf<Receipt>(body.receipts, 'seq') && body.receipts.length === count) {
    return { kind: 'stored', receipts: body.receipts };
  }
  const { code, message = `the server answered ${status}`, path } = body.error ?? {};
  const issues = body.errors ?? [];
  // Other programs have errors of this form too. The status of the code makes a mistake unlikely.
  const isOwn = code !== undefined && Object.hasOwn(errorCodes, code) && errorCodes[code] === status;
  if (isOwn && isListOf<DraftIssue>(issues, 'index')) {
    const error = new RunwireError(code, message, { path, issues });
    return { kind: error.isRetryable ? 'unavailable' : 'refused', error };
  }
  if (status === 413) return { kind: 'refused', error: new RunwireError('TOO_LARGE', 'a proxy answered 413') };
  if (status >= 500 || OUTAGES.has(status)) {
    return { kind: 'unavailable', error: new RunwireError('UNAVAILABLE', `the server answered ${status}`) };
  }
  const notRunwire = `the address does not answer as a Runwire server (status ${status})`;
  return { kind: 'foreign', error: new RunwireError('NOT_FOUND', notRunwire) };
}

/** Returns the target of a redirect without its query, which may contain credentials. */
function targetOf(response: Response): string {
  const target = response.headers.get('location');
  try {
    const { origin, pathname } = new URL(target ?? '', response.url);
    return target === null ? '' : ` to ${origin}${pathname}`;
  } catch {
    return '';
  }
}

/** Whether a value is a list of objects with a number in the field `name`. */
const isListOf = <T>(value: unknown, name: keyof T): value is T[] =>
  Array.isArray(value) && value.every((each) => typeof (each as T | null)?.[name] === 'number');

function parsed(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
