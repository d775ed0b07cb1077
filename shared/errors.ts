/**
 * Every error that Runwire answers with, in one table. The router, the HTTP routes, the client and docs/protocol.md are all
 * held to it by tests. Messages carry codes and paths and never a value, since a value may be protected.
 */

type ErrorEntry = {
  /** HTTP status. */
  http: number;
  /** The tRPC code that carries it over the wire. */
  trpc:
    | 'UNAUTHORIZED'
    | 'FORBIDDEN'
    | 'NOT_FOUND'
    | 'CONFLICT'
    | 'BAD_REQUEST'
    | 'UNPROCESSABLE_CONTENT'
    | 'PAYLOAD_TOO_LARGE'
    | 'TOO_MANY_REQUESTS'
    | 'SERVICE_UNAVAILABLE'
    | 'INTERNAL_SERVER_ERROR';
  /** Whether the same request may succeed later without being changed. */
  retryable: boolean;
  /** What the reader of the error should do. */
  advice: string;
};

export const errorTable = {
  UNAUTHENTICATED: {
    http: 401,
    trpc: 'UNAUTHORIZED',
    retryable: false,
    advice: 'Send a valid token; fetch a new one if it has expired.',
  },
  FORBIDDEN: {
    http: 403,
    trpc: 'FORBIDDEN',
    retryable: false,
    advice: 'Ask for a token with the role and project that this needs, or call from an allowed origin.',
  },
  RUN_NOT_FOUND: {
    http: 404,
    trpc: 'NOT_FOUND',
    retryable: false,
    advice: 'Check the run and project ids, and that your token covers the project.',
  },
  RUN_AMBIGUOUS: {
    http: 409,
    trpc: 'CONFLICT',
    retryable: false,
    advice: 'Several projects have a run with this id: send projectId as well.',
  },
  INVALID_EVENT: {
    http: 422,
    trpc: 'UNPROCESSABLE_CONTENT',
    retryable: false,
    advice: 'Correct the field that the path names; nothing of the request was stored.',
  },
  INVALID_INPUT: { http: 400, trpc: 'BAD_REQUEST', retryable: false, advice: 'Correct the field that the path names.' },
  PHI_REJECTED: {
    http: 422,
    trpc: 'UNPROCESSABLE_CONTENT',
    retryable: false,
    advice: 'Remove the identifier from the field that the path names, or publish with onPhi=redact.',
  },
  CURSOR_INVALID: {
    http: 400,
    trpc: 'BAD_REQUEST',
    retryable: false,
    advice: 'Cursors are opaque: send back one that the server gave, unchanged, or none.',
  },
  TOO_LARGE: {
    http: 413,
    trpc: 'PAYLOAD_TOO_LARGE',
    retryable: false,
    advice: 'Send less at once: a draft has at most 64 KiB, a request 1,000 drafts and 8 MiB.',
  },
  RATE_LIMITED: { http: 429, trpc: 'TOO_MANY_REQUESTS', retryable: true, advice: 'Wait, then send again more slowly.' },
  EVENT_NOT_FOUND: {
    http: 404,
    trpc: 'NOT_FOUND',
    retryable: false,
    advice: 'Check the position; what retention has removed is gone already.',
  },
  APPROVAL_NOT_FOUND: {
    http: 404,
    trpc: 'NOT_FOUND',
    retryable: false,
    advice: 'Check the approval id and the run it belongs to.',
  },
  APPROVAL_ALREADY_DECIDED: {
    http: 409,
    trpc: 'CONFLICT',
    retryable: false,
    advice: 'Load the approval again: someone else decided first.',
  },
  APPROVAL_EXPIRED: {
    http: 409,
    trpc: 'CONFLICT',
    retryable: false,
    advice: 'The time to decide is over; the producer has to ask again.',
  },
  NOT_ALLOWED_TO_DECIDE: {
    http: 403,
    trpc: 'FORBIDDEN',
    retryable: false,
    advice: 'Only the approvers of the request may decide, and not the user who asked.',
  },
  NOT_FOUND: { http: 404, trpc: 'NOT_FOUND', retryable: false, advice: 'Check the address and the method.' },
  UNAVAILABLE: {
    http: 503,
    trpc: 'SERVICE_UNAVAILABLE',
    retryable: true,
    advice: 'The server is starting, stopping or cannot reach its log: try again.',
  },
  INTERNAL: {
    http: 500,
    trpc: 'INTERNAL_SERVER_ERROR',
    retryable: true,
    advice: 'A defect of the server: try again, and report it with the time it happened.',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorTable;

/** One thing wrong with one draft of a request. `index` counts from 0; `path` is dotted and names no value. */
export type DraftIssue = { index: number; path: string; message: string };

/** How it was decided, for whoever came too late: without anybody's free text. */
export type DecidedOutcome = { status: 'granted' | 'denied' | 'expired'; decidedBy: string[] };

/**
 * The one error class: a code of {@link errorTable}, a message without values, and where it applies the `path` of the
 * offending field, the `issues` of a refused batch, or the `outcome` of an approval that is decided.
 */
export class RunwireError extends Error {
  override readonly name = 'RunwireError';
  readonly code: ErrorCode;
  readonly path: string | undefined;
  readonly issues: readonly DraftIssue[];
  readonly outcome: DecidedOutcome | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      path?: string | undefined;
      issues?: readonly DraftIssue[];
      outcome?: DecidedOutcome | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.path = options.path;
    this.issues = options.issues ?? [];
    this.outcome = options.outcome;
  }

  /** The body that HTTP answers: `{error: {code, message, path?}}`, and `errors` for a refused batch. */
  toJSON(): { error: { code: ErrorCode; message: string; path?: string }; errors?: readonly DraftIssue[] } {
    return {
      error: { code: this.code, message: this.message, ...(this.path === undefined ? {} : { path: this.path }) },
      ...(this.issues.length > 0 ? { errors: this.issues } : {}),
    };
  }
}
