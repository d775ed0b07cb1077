import { RunwireError } from '../../shared/errors.ts';
import type { ReadyDraft } from '../event-log/contract/log.ts';

/** The interface of the PHI guard, for publishing, audit and producers. `guard.ts` implements it. */

/** `reject` refuses a draft with protected health information; `redact` replaces each finding with a mark. */
export type PhiPolicy = 'reject' | 'redact';

/** The policy of a server. `off`: only secrets are masked, whatever policy a request names. */
export type ServerPolicy = PhiPolicy | 'off';

/**
 * Checks a draft that the schemas accept, before it is logged. Returns the draft, or a copy with redacted findings.
 * Refuses the draft with a `RunwireError` that has the `path` of the field. Any other error refuses the draft too.
 */
export type Guard = {
  (draft: ReadyDraft, policy: PhiPolicy): ReadyDraft;
  /** The same in slices: yields at most every few milliseconds, so that the caller can give way to the event loop. */
  slices?: (draft: ReadyDraft, policy: PhiPolicy) => Generator<undefined, ReadyDraft, undefined>;
};

/** Guards a draft in slices. A guard without slices takes one. */
export const guardInSlices = (
  guard: Guard,
  draft: ReadyDraft,
  policy: PhiPolicy,
): Generator<undefined, ReadyDraft, undefined> => guard.slices?.(draft, policy) ?? inOneSlice(guard, draft, policy);

// biome-ignore lint/correctness/useYield: the interface of a guard with slices.
function* inOneSlice(guard: Guard, draft: ReadyDraft, policy: PhiPolicy): Generator<undefined, ReadyDraft, undefined> {
  return guard(draft, policy);
}

/** Whether a guard refuses an id. Ids are never redacted, so the policy makes no difference. */
export function isRefused(guard: Guard, id: string): boolean {
  try {
    guard({ type: 'run.started', runId: id } as never, 'redact');
    return false;
  } catch {
    return true;
  }
}

/**
 * The path and message to return to the client after a guard threw. If the error is a defect of the guard, its own
 * message is not returned, because it may quote the draft.
 */
export function guardRefusal(error: unknown): { path: string; message: string; isDefect: boolean } {
  return error instanceof RunwireError
    ? { path: error.path ?? '', message: error.message, isDefect: false }
    : { path: '', message: 'could not be checked for protected information', isDefect: true };
}
