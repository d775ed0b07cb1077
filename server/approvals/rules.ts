import { hasGranted } from '../../shared/approval-fold.ts';
import { type DecidedOutcome, RunwireError } from '../../shared/errors.ts';
import type { Approval, RunHeader } from '../../shared/run.ts';
import { isSameUser } from '../../shared/user-ids.ts';
import { can } from '../auth/permissions.ts';
import { type Principal, SYSTEM } from '../auth/principal.ts';
import type { StoredApproval } from '../event-log/contract/approvals.ts';

/** The rules of decisions: which principal may decide, until when, and with which error a decision is refused. */

/** Whether a principal may decide a pending approval. With `projectId`, the principal's projects are checked too. */
function mayDecide({ sub, ...principal }: Principal, approval: Approval, projectId?: string): boolean {
  const { requestedBy, requestActor, approvers, requiredRole } = approval;
  if (approval.authority !== 'runwire') return false;
  if ([requestedBy, requestActor, SYSTEM].some((user) => user !== undefined && isSameUser(user, sub))) return false;
  if (approvers && !approvers.includes(sub)) return false;
  return can({ sub, ...principal }, 'decide', { requiredRole, ...(projectId === undefined ? {} : { projectId }) });
}

/** Whether a pending approval waits for a principal: the principal may decide it, and has not decided it yet. */
export function waitsFor(principal: Principal, approval: Approval): boolean {
  return mayDecide(principal, approval) && !hasGranted(approval, principal.sub);
}

/** Whether a decision of a principal would be accepted and counted now. */
export function canDecide(
  principal: Principal,
  { projectId, isRunOver, approval }: StoredApproval,
  nowMs: number,
): boolean {
  const isOpen = approval.status === 'pending' && !isRunOver && !hasExpired(approval, nowMs);
  return isOpen && mayDecide(principal, approval, projectId) && !hasGranted(approval, principal.sub);
}

const hasExpired = ({ expiresAt }: Approval, nowMs: number): boolean =>
  expiresAt !== undefined && Date.parse(expiresAt) <= nowMs;

/** Whether a pending approval is past its `expiresAt`, or its run has ended. */
export function isOver(approval: Approval, header: RunHeader | undefined, nowMs: number): boolean {
  const isRunOver = header?.status === 'completed' || header?.status === 'failed';
  return isRunOver || hasExpired(approval, nowMs);
}

/** Returns the error that refuses a decision; undefined if the decision is allowed. */
export function refusalOf(
  principal: Principal,
  projectId: string,
  approval: Approval | undefined,
  header: RunHeader | undefined,
  nowMs: number,
): RunwireError | undefined {
  if (!approval) return new RunwireError('APPROVAL_NOT_FOUND', 'no such approval');
  if (approval.authority === 'producer') {
    return new RunwireError('FORBIDDEN', 'this approval is decided by its producer, not in Runwire');
  }
  if (!mayDecide(principal, approval, projectId)) {
    return new RunwireError('NOT_ALLOWED_TO_DECIDE', 'you may not decide this approval');
  }
  const { status } = approval;
  if (status === 'expired' || (status === 'pending' && isOver(approval, header, nowMs))) {
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
