/**
 * All error codes with their HTTP status; `error-table.ts` adds the advice. Tests check that the router, the HTTP routes, the
 * client and docs/protocol.md agree with them. An error message never contains a value that a client sent: the value may be
 * protected information.
 */
export const errorCodes = {
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  RUN_NOT_FOUND: 404,
  RUN_AMBIGUOUS: 409,
  INVALID_EVENT: 422,
  INVALID_INPUT: 400,
  PHI_REJECTED: 422,
  CURSOR_INVALID: 400,
  TOO_LARGE: 413,
  RATE_LIMITED: 429,
  EVENT_NOT_FOUND: 404,
  APPROVAL_NOT_FOUND: 404,
  APPROVAL_ID_TAKEN: 409,
  APPROVAL_ALREADY_DECIDED: 409,
  APPROVAL_EXPIRED: 409,
  EVIDENCE_CHANGED: 409,
  NOT_ALLOWED_TO_DECIDE: 403,
  WEBHOOK_NOT_FOUND: 404,
  NOT_FOUND: 404,
  UNAVAILABLE: 503,
  INTERNAL: 500,
} as const;

/** Whether the same request may succeed later: after a rate limit, and after a failure of the server. */
export const isRetryableStatus = (http: number): boolean => http === 429 || http >= 500;

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
    return isRetryableStatus(errorCodes[this.code]);
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
