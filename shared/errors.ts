/**
 * The table of all error codes; `error-table.ts` adds the advice. Tests check that the router, the HTTP routes, the client and
 * docs/protocol.md agree with the table. An error message never contains a value that a client sent: the value may be
 * protected information.
 */

type ErrorEntry = {
  /** HTTP status. */
  http: number;
  /** tRPC code. */
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
  /** Whether the same request may succeed later. */
  retryable: boolean;
};

export const errorCodes = {
  UNAUTHENTICATED: { http: 401, trpc: 'UNAUTHORIZED', retryable: false },
  FORBIDDEN: { http: 403, trpc: 'FORBIDDEN', retryable: false },
  RUN_NOT_FOUND: { http: 404, trpc: 'NOT_FOUND', retryable: false },
  RUN_AMBIGUOUS: { http: 409, trpc: 'CONFLICT', retryable: false },
  INVALID_EVENT: { http: 422, trpc: 'UNPROCESSABLE_CONTENT', retryable: false },
  INVALID_INPUT: { http: 400, trpc: 'BAD_REQUEST', retryable: false },
  PHI_REJECTED: { http: 422, trpc: 'UNPROCESSABLE_CONTENT', retryable: false },
  CURSOR_INVALID: { http: 400, trpc: 'BAD_REQUEST', retryable: false },
  TOO_LARGE: { http: 413, trpc: 'PAYLOAD_TOO_LARGE', retryable: false },
  RATE_LIMITED: { http: 429, trpc: 'TOO_MANY_REQUESTS', retryable: true },
  EVENT_NOT_FOUND: { http: 404, trpc: 'NOT_FOUND', retryable: false },
  APPROVAL_NOT_FOUND: { http: 404, trpc: 'NOT_FOUND', retryable: false },
  APPROVAL_ID_TAKEN: { http: 409, trpc: 'CONFLICT', retryable: false },
  APPROVAL_ALREADY_DECIDED: { http: 409, trpc: 'CONFLICT', retryable: false },
  APPROVAL_EXPIRED: { http: 409, trpc: 'CONFLICT', retryable: false },
  EVIDENCE_CHANGED: { http: 409, trpc: 'CONFLICT', retryable: false },
  NOT_ALLOWED_TO_DECIDE: { http: 403, trpc: 'FORBIDDEN', retryable: false },
  WEBHOOK_NOT_FOUND: { http: 404, trpc: 'NOT_FOUND', retryable: false },
  NOT_FOUND: { http: 404, trpc: 'NOT_FOUND', retryable: false },
  UNAVAILABLE: { http: 503, trpc: 'SERVICE_UNAVAILABLE', retryable: true },
  INTERNAL: { http: 500, trpc: 'INTERNAL_SERVER_ERROR', retryable: true },
} as const satisfies Record<string, ErrorEntry>;

/** The code of a {@link RunwireError}; `errorTable` has the advice for each. */
export type ErrorCode = keyof typeof errorCodes;

/**
 * One error in a publish request. A draft is an event before the server logs it. `index` is the position of the draft
 * in the request, from 0; `path` is the field in the draft, such as `stages.3.name`.
 */
export type DraftIssue = { index: number; path: string; message: string };

/** The outcome of a decided approval, without free text. A client that decides too late receives it with the error. */
export type DecidedOutcome = { status: 'granted' | 'denied' | 'expired'; decidedBy: string[] };

/** What a decider can compare of an artifact. */
export type EvidenceState = {
  name: string;
  kind?: string | undefined;
  uri?: string | undefined;
  sizeBytes?: number | undefined;
  sha256?: string | undefined;
};

/**
 * One change of what a decision is about, after the `seenSeq` of the decider. `seq` is the position of the event that made
 * the change. `request`: the approval itself was requested after it. `before` is absent for an artifact that did not exist
 * then, or that retention has removed the events of.
 */
export type EvidenceChange =
  | { type: 'request'; seq: number }
  | { type: 'artifact'; seq: number; artifactId: string; before?: EvidenceState | undefined; after: EvidenceState };

/**
 * The only error class of Runwire: a code of {@link errorTable} and a message. Some codes set a further field:
 * - `path`: the invalid field;
 * - `issues`: all errors of a refused publish request;
 * - `outcome`: the result of an approval that is already decided;
 * - `changes`: what `EVIDENCE_CHANGED` is about.
 */
export class RunwireError extends Error {
  override readonly name = 'RunwireError';
  readonly code: ErrorCode;
  readonly path: string | undefined;
  readonly issues: readonly DraftIssue[];
  readonly outcome: DecidedOutcome | undefined;
  readonly changes: readonly EvidenceChange[];

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      path?: string | undefined;
      issues?: readonly DraftIssue[];
      outcome?: DecidedOutcome | undefined;
      changes?: readonly EvidenceChange[];
      cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.path = options.path;
    this.issues = options.issues ?? [];
    this.outcome = options.outcome;
    this.changes = options.changes ?? [];
  }

  /** Whether the same request may succeed later. */
  get isRetryable(): boolean {
    return errorCodes[this.code].retryable;
  }

  /** Returns the HTTP response body: `{error: {code, message, path?}}`. A refused publish request adds `errors`. */
  toJSON(): { error: { code: ErrorCode; message: string; path?: string }; errors?: readonly DraftIssue[] } {
    return {
      error: { code: this.code, message: this.message, ...(this.path === undefined ? {} : { path: this.path }) },
      ...(this.issues.length > 0 ? { errors: this.issues } : {}),
    };
  }
}

/**
 * Returns an argument of a public function. Throws `INVALID_INPUT` with its name if it is no object: callers in JavaScript
 * have no types. A client of tRPC is a function.
 */
export function objectOf<T>(value: T, name: string): T {
  if (typeof value === 'function' || (typeof value === 'object' && value !== null && !Array.isArray(value)))
    return value;
  throw new RunwireError('INVALID_INPUT', `${name}: must be an object`, { path: name });
}
