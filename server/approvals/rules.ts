import { hasGranted } from '../../shared/approval-fold.ts';
import { type DecidedOutcome, RunwireError } from '../../shared/errors.ts';
import type { Approval, CannotDecide, RunHeader } from '../../shared/run.ts';
import { isSameUser } from '../../shared/user-ids.ts';
import { can } from '../auth/permissions.ts';
import { type Principal, SYSTEM } from '../auth/principal.ts';
import type { StoredApproval } from '../event-log/contract/approvals.ts';

/** The rules of decisions: which principal may decide, until when, and with which error a decision is refused. */

/** Why a principal may not decide an approval, whether or not it is open. With `projectId`, its projects are checked too. */
function missingRight(
  { sub, ...principal }: Principal,
  { authority, requestedBy, requestActor, approvers, requiredRole }: Approval,
  projectId?: string,
): Extract<CannotDecide, 'producer' | 'asked_by_you' | 'not_named' | 'role'> | undefined {
  if (authority !== 'runwire') return 'producer';
  if (isAsker({ requestedBy, requestActor }, sub)) return 'asked_by_you';
  if (approvers && !approvers.includes(sub)) return 'not_named';
  const resource = { requiredRole, ...(projectId === undefined ? {} : { projectId }) };
  return isSameUser(sub, SYSTEM) || !can({ sub, ...principal }, 'decide', resource) ? 'role' : undefined;
}

const isAsker = ({ requestedBy, requestActor }: Pick<Approval, 'requestedBy' | 'requestActor'>, sub: string) =>
  isSameUser(requestActor, sub) || (requestedBy !== undefined && isSameUser(requestedBy, sub));

/** Whether a pending approval waits for a principal: the principal may decide it, and has not decided it yet. */
export function waitsFor(principal: Principal, approval: Approval): boolean {
  return missingRight(principal, approval) === undefined && !hasGranted(approval, principal.sub);
}

/** Why a decision of a principal would not be accepted and counted now; undefined if it would be. */
export function cannotDecide(
  principal: Principal,
  { projectId, isRunOver, approval }: StoredApproval,
  nowMs: number,
): CannotDecide | undefined {
  const { status, decidedAt } = approval;
  if (status === 'granted' || status === 'denied') return 'decided';
  const overAtMs = status === 'expired' && decidedAt !== undefined ? Date.parse(decidedAt) : nowMs;
  if (hasExpired(approval, overAtMs)) return 'expired';
  if (isRunOver) return 'run_over';
  if (status === 'expired') return 'expired';
  const right = missingRight(principal, approval, projectId);
  return right ?? (hasGranted(approval, principal.sub) ? 'already_approved' : undefined);
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
  const right = missingRight(principal, approval, projectId);
  if (right === 'producer') {
    return new RunwireError('FORBIDDEN', 'this approval is decided by its producer, not in Runwire');
  }
  if (right) return new RunwireError('NOT_ALLOWED_TO_DECIDE', 'you may not decide this approval');
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
