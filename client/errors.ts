import {
  type DecidedOutcome,
  type DraftIssue,
  type ErrorCode,
  type EvidenceChange,
  errorCodes,
  RunwireError,
} from '../shared/errors.ts';

/** What the server puts into the `data` of a tRPC error. */
type Answer = {
  runwireCode?: string;
  field?: string;
  issues?: readonly DraftIssue[];
  outcome?: DecidedOutcome;
  changes?: readonly EvidenceChange[];
};

/**
 * Converts an error of a tRPC call to a `RunwireError`. The error's `code` is the code of the server's answer, or
 * `UNAVAILABLE` without an answer. `cause` is the given error. A `RunwireError` is returned unchanged.
 */
export function runwireErrorOf(error: unknown): RunwireError {
  if (error instanceof RunwireError) return error;
  const { data, message, cause } = Object(error) as { data?: Answer | null; message?: string; cause?: unknown };
  if (typeof data?.runwireCode === 'string') {
    // A newer server may have further codes.
    const code = Object.hasOwn(errorCodes, data.runwireCode) ? (data.runwireCode as ErrorCode) : 'INTERNAL';
    const { field: path, issues = [], outcome, changes = [] } = data;
    const text = message ?? 'the server refused the request';
    return new RunwireError(code, text, { path, issues, outcome, changes, cause: error });
  }
  if (cause instanceof RunwireError) return cause;
  // The message of the platform is not kept: for an answer that is no JSON, it quotes the answer.
  return new RunwireError('UNAVAILABLE', 'the server cannot be reached, or a proxy answered in its place', {
    cause: error,
  });
}

/** The error of each request of a closed connection. The same request cannot succeed later. */
export class ConnectionClosedError extends RunwireError {
  constructor() {
    super('UNAVAILABLE', 'the connection has been closed');
  }
}

/** Returns the code that the server put into a tRPC error; undefined if the error did not come from the server. */
export function codeOf(error: object): ErrorCode | undefined {
  const { data } = error as { data?: { runwireCode?: ErrorCode } | null };
  return data?.runwireCode;
}

/**
 * Reports an error of the application's code, so that the caller can continue. Uses `reportError` in a browser, and the
 * console elsewhere: the `reportError` of Deno ends the process.
 */
export function report(error: unknown): void {
  const isBrowser = globalThis.navigator?.userAgent?.startsWith('Mozilla/');
  if (isBrowser && typeof reportError === 'function') reportError(error);
  else console.error(error);
}

/** Calls a function of the application. If it throws, or its promise rejects, the error is reported. Does not throw. */
export function callSafely(callback: () => unknown): void {
  try {
    const result = callback();
    if (result instanceof Promise) result.catch(report);
  } catch (error) {
    report(error);
  }
}
