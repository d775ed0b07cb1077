import { type DecidedOutcome, RunwireError } from '../../shared/errors.ts';
import type { Approval, RunHeader } from '../../shared/run.ts';
import type { Decider } from '../event-log/contract/decider.ts';
import { hasExpired, missingRight } from '../event-log/decidable.ts';

/** The rules of decisions: until when an approval is open, and with which error a decision is refused. */

/** Whether a pending approval is past its `expiresAt`, or its run has ended. */
export function isOver(approval: Approval, header: RunHeader | undefined, nowMs: number): boolean {
  const isRunOver = header?.status === 'completed' || header?.status === 'failed';
  return isRunOver || hasExpired(approval, nowMs);
}

/** Returns the error that refuses a decision; undefined if the decision is allowed. */
export function refusalOf(
  decider: Decider,
  run: { projectId: string; runId: string },
  approval: Approval | undefined,
  header: RunHeader | undefined,
): RunwireError | undefined {
  if (!approval) return new RunwireError('APPROVAL_NOT_FOUND', 'no such approval');
  const right = missingRight(decider, approval, run);
  if (right === 'producer') {
    return new RunwireError('FORBIDDEN', 'this approval is decided by its producer, not in Runwire');
  }
  if (right) return new RunwireError('NOT_ALLOWED_TO_DECIDE', 'you may not decide this approval');
  const { status } = approval;
  if (status === 'expired' || (status === 'pending' && isOver(approval, header, decider.nowMs))) {
    return new RunwireError('APPROVAL_EXPIRED', 'the approval has expired', { outcome: outcomeOf(approval) });
  }
  if (status === 'pending') return undefined;
  return new RunwireError('APPROVAL_ALREADY_DECIDED', `already ${status}`, { outcome: outcomeOf(approval) });
}

/** Returns the outcome without comments and reasons, because the caller may lack the permission to read the run. */
function outcomeOf({ status, decisions }: Approval): DecidedOutcome | undefined {
  if (status === 'pending') return undefined;
  const kind = status === 'granted' ? 'granted' : 'denied';
  const deciding = decisions.filter(({ decision }) => decision === kind);
  return { status, decidedBy: deciding.map(({ decidedBy }) => decidedBy) };
}
