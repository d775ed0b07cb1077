import { RunwireError } from '../../shared/errors.ts';
import type { ReadyDraft } from '../event-log/contract/log.ts';

/**
 * The contract of a guard: what publishing, audit and the producers know of the PHI check. `guard.ts` implements it.
 */

/** `reject` refuses a draft that contains protected information; `redact` replaces the findings by marks. */
export type PhiPolicy = 'reject' | 'redact';

/**
 * Checks a valid draft before it is logged. Returns the draft, or a copy with the findings replaced. Throws a
 * `RunwireError` with the `path` of the field to refuse the draft. Any other error refuses it as well.
 */
export type Guard = (draft: ReadyDraft, policy: PhiPolicy) => ReadyDraft;

/** Whether a guard refuses an id. Ids are never redacted, so the policy makes no difference. */
export function isRefused(guard: Guard, id: string): boolean {
  try {
    guard({ type: 'run.started', runId: id } as never, 'redact');
    return false;
  } catch {
    return true;
  }
}

/** The path and message to answer when a guard threw. A defect's own message stays inside: it may quote the draft. */
export function guardRefusal(error: unknown): { path: string; message: string; isDefect: boolean } {
  return error instanceof RunwireError
    ? { path: error.path ?? '', message: error.message, isDefect: false }
    : { path: '', message: 'could not be checked for protected information', isDefect: true };
}
