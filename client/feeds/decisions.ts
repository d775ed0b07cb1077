import type { ApprovalBox, Decision, ListedApproval, Standing } from '../../shared/run.ts';
import type { RunwireClient } from '../connection/runwire.ts';

/** Names one approval: its project, run and id. */
export type ApprovalKey = { projectId: string; runId: string; approvalId: string };

/** A decision about an approval: a grant, or a denial with its reason. */
export type DecisionInput = (
  | { decision: 'granted'; comment?: string | undefined }
  | { decision: 'denied'; reason: string }
) & {
  /**
   * Position in the log up to which the user's view was complete: `seq` of a hook, as it was when the user began to decide.
   * If the request or an artifact of its evidence changed after it, the decision fails with `EVIDENCE_CHANGED`.
   */
  seenSeq?: number | undefined;
};

/** An approval in a list, with the decision of this page that is on its way. */
export type InboxApproval = ListedApproval & {
  /** Number of grants so far. `requiredApprovals` grants decide. */
  grantsGiven: number;
  /** The decision that the user has sent and that the server has not answered; undefined without one. */
  deciding: Decision['decision'] | undefined;
};

export const keyOf = ({ projectId, runId, approvalId }: ApprovalKey): string =>
  JSON.stringify([projectId, runId, approvalId]);

export function sendDecision(
  client: RunwireClient,
  { projectId, runId, approvalId }: ApprovalKey,
  input: DecisionInput,
): Promise<Standing> {
  const key = { projectId, runId, approvalId, seenSeq: input.seenSeq };
  return input.decision === 'granted'
    ? client.approval.grant.mutate({ ...key, comment: input.comment })
    : client.approval.deny.mutate({ ...key, reason: input.reason });
}

/** Returns an approval after the user's decision, until the server's own view of it arrives. */
export const decided = (approval: ListedApproval, standing: Standing): ListedApproval => ({
  ...approval,
  ...standing,
  canDecide: false,
  cannotDecide: standing.status === 'pending' ? 'already_approved' : 'decided',
});

export const inboxApprovalOf = (
  approval: ListedApproval,
  deciding: Decision['decision'] | undefined,
): InboxApproval => ({
  ...approval,
  grantsGiven: approval.decisions.filter(({ decision }) => decision === 'granted').length,
  deciding,
});

/** Whether an approval is in a box, as far as the server's answer states it: of `asked`, the open ones alone. */
export function isInBox({ status, canDecide, cannotDecide }: ListedApproval, box: ApprovalBox): boolean {
  if (box === 'mine') return canDecide;
  if (box === 'asked') return cannotDecide === 'asked_by_you';
  return box === 'expired' ? status === 'expired' : status === 'granted' || status === 'denied';
}

/** Orders approvals as the server orders a box; undefined: without a box. */
export function compareIn(box: ApprovalBox | undefined): (a: ListedApproval, b: ListedApproval) => number {
  const bySeq = (a: ListedApproval, b: ListedApproval) => a.order.seq - b.order.seq;
  const byText = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  if (box === 'mine') return (a, b) => byText(a.expiresAt ?? '~', b.expiresAt ?? '~') || bySeq(a, b);
  if (box === 'decided' || box === 'expired') {
    return (a, b) => byText(b.decidedAt ?? '', a.decidedAt ?? '') || bySeq(b, a);
  }
  return (a, b) => bySeq(b, a);
}
