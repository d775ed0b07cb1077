import { type DecidedOutcome, RunwireError } from '../../shared/errors.ts';
import type { Approval, RunHeader } from '../../shared/run.ts';
import { can } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';

/** Who speaks for the server. No user of this name may decide. */
export const SYSTEM = 'system';
/** Whether a principal may decide an approval of a project, as long as it is pending. */
export function mayDecide({ sub, ...principal }: Principal, approval: Approval, projectId?: string): boolean {
  const { requestedBy, requestActor, approvers, requiredRole } = approval;
  if (approval.authority !== 'runwire') return false;
  const own = written(sub);
  if ([requestedBy, requestActor, SYSTEM].some((user) => user !== undefined && written(user) === own)) return false;
  if (approvers && !approvers.includes(sub)) return false;
  return can({ sub, ...principal }, 'decide', { requiredRole, ...(projectId === undefined ? {} : { projectId }) });
}

/**
 * A user id as its reader sees it. `requestedBy` is what a producer wrote, and `Ada@Example.org` is not to grant what
 * `ada@example.org` asked for. It only ever refuses: who may decide is a matter of the very id.
 */
export const written = (user: string): string =>
  user
    .normalize('NFKC')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .trim()
    .toLowerCase();
/** Whether a pending approval waits for a principal: for one who may decide, and has not yet. */
export function waitsFor(principal: Principal, approval: Approval): boolean {
  return mayDecide(principal, approval) && approval.decisions.every(({ decidedBy }) => decidedBy !== principal.sub);
}

/** Whether the time to decide is over: the approval's, or that of its run. */
export function isOver({ expiresAt }: Approval, header: RunHeader | undefined, nowMs: number): boolean {
  const isRunOver = header?.status === 'completed' || header?.status === 'failed';
  return isRunOver || (expiresAt !== undefined && Date.parse(expiresAt) <= nowMs);
}

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
    return new RunwireError('NOT_ALLOWED_TO_DECIDE', 'not among those who may decide this');
  }
  const { status } = approval;
  if (status === 'expired' || (status === 'pending' && isOver(approval, header, nowMs))) {
    return new RunwireError('APPROVAL_EXPIRED', 'the time to decide is over', { outcome: outcomeOf(approval) });
  }
  if (status === 'pending') return undefined;
  return new RunwireError('APPROVAL_ALREADY_DECIDED', `already ${status}`, { outcome: outcomeOf(approval) });
}

/** Without comments and reasons, which are for those who read the run. */
export function outcomeOf({ status, decisions }: Approval): DecidedOutcome | undefined {
  if (status === 'pending') return undefined;
  const kind = status === 'granted' ? 'granted' : 'denied';
  const deciding = decisions.filter(({ decision }) => decision === kind);
  return { status, decidedBy: deciding.map(({ decidedBy }) => decidedBy) };
}
