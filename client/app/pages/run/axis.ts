import type { Approval, Stage } from '../../../hooks/index.ts';
import type { Shown } from '../../components/Status.tsx';

/** What the parts of the run page show of stages and approvals. */

/** Returns the status to show. In an ended run, a running stage is unfinished and a pending stage was not run. */
export function shownStatus(stage: Stage, hasEnded: boolean): Shown {
  if (!hasEnded || stage.status === 'completed' || stage.status === 'failed') return stage.status;
  return stage.status === 'running' ? 'unfinished' : 'not run';
}

const outcomes = { pending: 'waiting', granted: 'approved', denied: 'denied', expired: 'expired' } as const;

/** Returns the status of an approval to show. */
export const shownOutcome = (status: Approval['status']): Shown => outcomes[status];

/** Groups approvals by stage. A stage without approvals has no entry. */
export function approvalsByStage(approvals: readonly Approval[]): ReadonlyMap<string, readonly Approval[]> {
  const byStage = new Map<string, Approval[]>();
  for (const approval of approvals) {
    if (approval.stageId === undefined) continue;
    const known = byStage.get(approval.stageId);
    if (known) known.push(approval);
    else byStage.set(approval.stageId, [approval]);
  }
  return byStage;
}
