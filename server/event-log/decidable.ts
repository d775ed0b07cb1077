import { hasGranted } from '../../shared/approval-fold.ts';
import type { Approval, CannotDecide } from '../../shared/run.ts';
import { isSameUser } from '../../shared/user-ids.ts';
import type { StoredApproval } from './contract/approvals.ts';
import type { Decider } from './contract/decider.ts';

/** The rules of which user may decide an approval. Stores list by them, and the server decides by them. */

/** Why a user may not decide an approval, whether or not it is open. With `of`, the user's projects or run are checked too. */
export function missingRight(
  { sub, roles, projects, runId }: Decider,
  { authority, requestedBy, requestActor, approvers, requiredRole }: Approval,
  of?: { projectId: string; runId: string },
): Extract<CannotDecide, 'producer' | 'asked_by_you' | 'not_named' | 'role'> | undefined {
  if (authority !== 'runwire') return 'producer';
  if (isSameUser(requestActor, sub) || (requestedBy !== undefined && isSameUser(requestedBy, sub))) {
    return 'asked_by_you';
  }
  if (approvers && !approvers.includes(sub)) return 'not_named';
  const isInProject = !of || projects === 'all' || projects.includes(of.projectId);
  const isOfRun = !of || runId === undefined || runId === of.runId;
  return isInProject && isOfRun && roles.includes(requiredRole) ? undefined : 'role';
}

/** Whether a pending approval waits for a user: the user may decide it, and has not decided it yet. */
export function waitsFor(decider: Decider, approval: Approval): boolean {
  return missingRight(decider, approval) === undefined && !hasGranted(approval, decider.sub);
}

/** Why a decision of a user would not be accepted and counted at `nowMs`; undefined if it would be. */
export function cannotDecide(
  decider: Decider,
  { projectId, runId, isRunOver, approval }: StoredApproval,
): CannotDecide | undefined {
  const { status, decidedAt } = approval;
  if (status === 'granted' || status === 'denied') return 'decided';
  const overAtMs = status === 'expired' && decidedAt !== undefined ? Date.parse(decidedAt) : decider.nowMs;
  if (hasExpired(approval, overAtMs)) return 'expired';
  if (isRunOver) return 'run_over';
  if (status === 'expired') return 'expired';
  const right = missingRight(decider, approval, { projectId, runId });
  return right ?? (hasGranted(approval, decider.sub) ? 'already_approved' : undefined);
}

export const hasExpired = ({ expiresAt }: Approval, nowMs: number): boolean =>
  expiresAt !== undefined && Date.parse(expiresAt) <= nowMs;
