import { compact, type Envelope } from './fold-registers.ts';
import type { Approval, Decision, RunRows } from './run.ts';
import { addToCounts, required } from './run-fold.ts';
import { isSameUser } from './user-ids.ts';

/** The fold of approvals. Unlike the rest of the fold (`run-fold.ts`), it depends on the order of `seq`. */

/** The fields of a request that decide what is asked, and which decisions count. */
type RequestFields = Pick<
  Approval,
  'title' | 'reason' | 'stageId' | 'requestedBy' | 'approvers' | 'expiresAt' | 'evidence'
> & {
  requiredApprovals?: number | undefined;
  requiredRole?: string | undefined;
  authority?: 'runwire' | 'producer' | undefined;
};
type RequestEvent = Envelope & RequestFields & { approvalId: string };

const termsOf = (request: RequestFields, requestActor: string) => ({
  title: request.title,
  reason: request.reason,
  stageId: request.stageId,
  requestedBy: request.requestedBy,
  requestActor,
  approvers: request.approvers,
  requiredApprovals: request.requiredApprovals ?? 1,
  requiredRole: request.requiredRole ?? 'approver',
  expiresAt: request.expiresAt,
  evidence: request.evidence,
  authority: request.authority ?? ('runwire' as const),
});

/** Whether a request of an actor has the terms of an approval that was requested before. */
export function isSameRequest(approval: Approval, request: RequestFields, actor: string): boolean {
  const terms = Object.entries(termsOf(request, actor));
  return terms.every(([name, value]) => JSON.stringify(value) === JSON.stringify(approval[name as keyof Approval]));
}

/** governance.required: of several requests with the same approval id, only the first counts. */
export function foldRequest(rows: RunRows, event: RequestEvent): void {
  const before = rows.approval(event.approvalId);
  if (before && before.order.seq !== event.seq) return;
  const { approvalId, timestamp: requestedAt } = event;
  const { status = 'pending', decisions = [], decidedAt } = before ?? {};
  rows.putApproval(
    compact<Approval>({
      approvalId,
      status,
      decisions,
      requestedAt,
      decidedAt,
      ...termsOf(event, event.actor),
      order: { seq: event.seq },
    }),
  );
  if (!before) addToCounts(required(rows.header()), { approvalsPending: 1 });
}

type DecisionEvent = Envelope & DecisionFields & { approvalId: string };
type DecisionFields = {
  type: string;
  actor: string;
  timestamp: string;
  decidedBy: string;
  comment?: string | undefined;
  reason?: string | undefined;
  expired?: boolean | undefined;
  seenSeq?: number | undefined;
  seenRunSeq?: number | undefined;
};

/**
 * approval.granted and approval.denied. An approval is granted after `requiredApprovals` grants, and denied after one
 * denial. Later decisions do not change a decided approval. A decision that was logged before its request is ignored.
 * So is its tombstone, which has the `seq` of the decision but may be folded after the request.
 */
export function foldDecision(rows: RunRows, event: DecisionEvent): void {
  const approval = rows.approval(event.approvalId);
  if (!approval || event.seq < approval.order.seq) return;
  const decision = decisionOf(event);
  const isSame = (known: Decision) =>
    known.decidedBy === decision.decidedBy && known.decision === decision.decision && known.at === decision.at;
  if (event.erased && approval.decisions.some(isSame)) {
    const decisions = approval.decisions.map((known) => (isSame(known) ? decision : known));
    rows.putApproval({ ...approval, decisions });
    return;
  }
  if (approval.status !== 'pending') return;
  const after = afterDecision(approval, event);
  if (after === approval) return;
  rows.putApproval(after);
  if (after.status !== 'pending') addToCounts(required(rows.header()), { approvalsPending: -1 });
}

function decisionOf({ type, actor, timestamp: at, ...event }: DecisionFields): Decision {
  const { decidedBy, comment, reason, seenSeq, seenRunSeq } = event;
  const decision = type === 'approval.granted' ? 'granted' : 'denied';
  const publisher = actor === decidedBy ? undefined : actor;
  return compact({ decidedBy, actor: publisher, decision, at, comment, reason, seenSeq, seenRunSeq });
}

/** Whether a user has granted a pending approval. */
export const hasGranted = ({ decisions }: Approval, user: string): boolean =>
  decisions.some(({ decidedBy }) => isSameUser(decidedBy, user));

/** Returns a pending approval with a decision added. A second grant by the same user changes nothing. */
export function afterDecision(approval: Approval, event: DecisionFields): Approval {
  const isGrant = event.type === 'approval.granted';
  if (isGrant && hasGranted(approval, event.decidedBy)) return approval;
  const decisions = [...approval.decisions, decisionOf(event)];
  if (isGrant && decisions.length < approval.requiredApprovals) return { ...approval, decisions };
  const status = isGrant ? 'granted' : event.expired ? 'expired' : 'denied';
  return { ...approval, decisions, status, decidedAt: event.timestamp };
}
