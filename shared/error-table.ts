import { type ErrorCode, errorCodes, isRetryableStatus } from './errors.ts';

/** The tRPC code of each HTTP status of the table. */
export const trpcCodes = {
  400: 'BAD_REQUEST',
  401: 'UNAUTHORIZED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  409: 'CONFLICT',
  413: 'PAYLOAD_TOO_LARGE',
  422: 'UNPROCESSABLE_CONTENT',
  429: 'TOO_MANY_REQUESTS',
  500: 'INTERNAL_SERVER_ERROR',
  503: 'SERVICE_UNAVAILABLE',
} as const;

type Status<Code extends ErrorCode> = (typeof errorCodes)[Code];

/** `retryable`: whether the same request may succeed later. */
function entry<Code extends ErrorCode>(code: Code, advice: string) {
  const http: Status<Code> = errorCodes[code];
  return { http, trpc: trpcCodes[http], retryable: isRetryableStatus(http), advice };
}

/** All error codes with what the developer or the operator should do next. A page that shows no advice does not load it. */
export const errorTable = {
  UNAUTHENTICATED: entry('UNAUTHENTICATED', 'Send a valid token; fetch a new one if it has expired.'),
  FORBIDDEN: entry(
    'FORBIDDEN',
    'Ask for a token with the role and project that this needs, or call from an allowed origin.',
  ),
  RUN_NOT_FOUND: entry('RUN_NOT_FOUND', 'Check the run and project ids, and that your token covers the project.'),
  RUN_AMBIGUOUS: entry('RUN_AMBIGUOUS', 'Several projects have a run with this id: send projectId as well.'),
  INVALID_EVENT: entry('INVALID_EVENT', 'Correct the field that the path names; nothing of the request was stored.'),
  INVALID_INPUT: entry('INVALID_INPUT', 'Correct the field that the path names.'),
  PHI_REJECTED: entry(
    'PHI_REJECTED',
    'Remove the identifier from the field that the path names, or publish with onPhi=redact.',
  ),
  CURSOR_INVALID: entry('CURSOR_INVALID', 'Cursors are opaque: send one from the server unchanged, or none.'),
  TOO_LARGE: entry(
    'TOO_LARGE',
    'Send less at once: at most 64 KiB in a draft without its plan; 1,000 drafts, 8 MiB and 10,000 planned stages, users and approvers in a request; a run has limits too.',
  ),
  RATE_LIMITED: entry('RATE_LIMITED', 'Wait, then send again more slowly.'),
  EVENT_NOT_FOUND: entry('EVENT_NOT_FOUND', 'Check the position; retention may have removed the event.'),
  APPROVAL_NOT_FOUND: entry('APPROVAL_NOT_FOUND', 'Check the approval id and the run it belongs to.'),
  APPROVAL_ID_TAKEN: entry(
    'APPROVAL_ID_TAKEN',
    'The run has another request with this approval id: request under another id.',
  ),
  APPROVAL_ALREADY_DECIDED: entry('APPROVAL_ALREADY_DECIDED', 'Load the approval again: it was decided before.'),
  APPROVAL_EXPIRED: entry('APPROVAL_EXPIRED', 'The approval has expired; the producer must request a new one.'),
  EVIDENCE_CHANGED: entry(
    'EVIDENCE_CHANGED',
    'Look at the changes, then decide again with the position up to which you have seen the log.',
  ),
  NOT_ALLOWED_TO_DECIDE: entry(
    'NOT_ALLOWED_TO_DECIDE',
    'Only the approvers of the request may decide, and not its requester.',
  ),
  WEBHOOK_NOT_FOUND: entry(
    'WEBHOOK_NOT_FOUND',
    'Check the id of the webhook, and that your token covers its projects.',
  ),
  NOT_FOUND: entry('NOT_FOUND', 'Check the address and the method.'),
  UNAVAILABLE: entry('UNAVAILABLE', 'The server is starting, stopping or cannot reach its log: try again.'),
  INTERNAL: entry('INTERNAL', 'A defect of the server: try again, and report it with its time.'),
} as const satisfies Record<ErrorCode, { advice: string }>;
