import { type ErrorCode, errorCodes } from './errors.ts';

/** All error codes with what the developer or the operator should do next. A page that shows no advice does not load it. */
export const errorTable = {
  UNAUTHENTICATED: { ...errorCodes.UNAUTHENTICATED, advice: 'Send a valid token; fetch a new one if it has expired.' },
  FORBIDDEN: {
    ...errorCodes.FORBIDDEN,
    advice: 'Ask for a token with the role and project that this needs, or call from an allowed origin.',
  },
  RUN_NOT_FOUND: {
    ...errorCodes.RUN_NOT_FOUND,
    advice: 'Check the run and project ids, and that your token covers the project.',
  },
  RUN_AMBIGUOUS: {
    ...errorCodes.RUN_AMBIGUOUS,
    advice: 'Several projects have a run with this id: send projectId as well.',
  },
  INVALID_EVENT: {
    ...errorCodes.INVALID_EVENT,
    advice: 'Correct the field that the path names; nothing of the request was stored.',
  },
  INVALID_INPUT: { ...errorCodes.INVALID_INPUT, advice: 'Correct the field that the path names.' },
  PHI_REJECTED: {
    ...errorCodes.PHI_REJECTED,
    advice: 'Remove the identifier from the field that the path names, or publish with onPhi=redact.',
  },
  CURSOR_INVALID: {
    ...errorCodes.CURSOR_INVALID,
    advice: 'Cursors are opaque: send one from the server unchanged, or none.',
  },
  TOO_LARGE: {
    ...errorCodes.TOO_LARGE,
    advice:
      'Send less at once: at most 64 KiB in a draft without its plan; 1,000 drafts, 8 MiB and 10,000 planned stages, users and approvers in a request; a run has limits too.',
  },
  RATE_LIMITED: { ...errorCodes.RATE_LIMITED, advice: 'Wait, then send again more slowly.' },
  EVENT_NOT_FOUND: {
    ...errorCodes.EVENT_NOT_FOUND,
    advice: 'Check the position; retention may have removed the event.',
  },
  APPROVAL_NOT_FOUND: { ...errorCodes.APPROVAL_NOT_FOUND, advice: 'Check the approval id and the run it belongs to.' },
  APPROVAL_ID_TAKEN: {
    ...errorCodes.APPROVAL_ID_TAKEN,
    advice: 'The run has another request with this approval id: request under another id.',
  },
  APPROVAL_ALREADY_DECIDED: {
    ...errorCodes.APPROVAL_ALREADY_DECIDED,
    advice: 'Load the approval again: it was decided before.',
  },
  APPROVAL_EXPIRED: {
    ...errorCodes.APPROVAL_EXPIRED,
    advice: 'The approval has expired; the producer must request a new one.',
  },
  EVIDENCE_CHANGED: {
    ...errorCodes.EVIDENCE_CHANGED,
    advice: 'Look at the changes, then decide again with the position up to which you have seen the log.',
  },
  NOT_ALLOWED_TO_DECIDE: {
    ...errorCodes.NOT_ALLOWED_TO_DECIDE,
    advice: 'Only the approvers of the request may decide, and not its requester.',
  },
  WEBHOOK_NOT_FOUND: {
    ...errorCodes.WEBHOOK_NOT_FOUND,
    advice: 'Check the id of the webhook, and that your token covers its projects.',
  },
  NOT_FOUND: { ...errorCodes.NOT_FOUND, advice: 'Check the address and the method.' },
  UNAVAILABLE: {
    ...errorCodes.UNAVAILABLE,
    advice: 'The server is starting, stopping or cannot reach its log: try again.',
  },
  INTERNAL: { ...errorCodes.INTERNAL, advice: 'A defect of the server: try again, and report it with its time.' },
} as const satisfies Record<ErrorCode, { advice: string }>;
