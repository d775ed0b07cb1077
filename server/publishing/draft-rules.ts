import { isSameRequest } from '../../shared/approval-fold.ts';
import { RunwireError } from '../../shared/errors.ts';
import { RESERVED_ID } from '../../shared/protocol.ts';
import type { RunRows } from '../../shared/run.ts';
import type { Batch, ReadyDraft } from '../event-log/contract/log.ts';

type RequestDraft = ReadyDraft & Parameters<typeof isSameRequest>[1];

/**
 * Returns the check of a publisher's drafts. The log calls it inside the transaction, so it covers drafts that race. It
 * refuses:
 *
 * - event ids that the server uses for its own events;
 * - a second request of an approval with other terms or from another actor: its publisher would take the outcome of the
 *   first request for its own;
 * - from producers, decisions of approvals that Runwire decides or that another actor requested.
 */
export function draftCheck({
  actor,
  isTrusted,
}: {
  actor: string;
  isTrusted?: boolean | undefined;
}): NonNullable<Batch['check']> {
  return (rows, draft: ReadyDraft & { approvalId?: string }) => {
    if (draft.eventId.startsWith(RESERVED_ID)) {
      throw new RunwireError('FORBIDDEN', `event ids with the prefix ${RESERVED_ID} are reserved`, { path: 'eventId' });
    }
    if (draft.type === 'governance.required') checkRequest(rows, draft as RequestDraft, actor);
    else if (!isTrusted && (draft.type === 'approval.granted' || draft.type === 'approval.denied')) {
      checkDecision(rows, draft.approvalId, actor);
    }
  };
}

function checkRequest(rows: RunRows, draft: RequestDraft & { approvalId?: string }, actor: string): void {
  const known = rows.approval(draft.approvalId ?? '');
  if (!known || isSameRequest(known, draft, actor)) return;
  const message = 'the run has another request with this approvalId: request the approval under another one';
  throw new RunwireError('APPROVAL_ID_TAKEN', message, { path: 'approvalId' });
}

function checkDecision(rows: RunRows, approvalId: string | undefined, actor: string): void {
  const known = rows.approval(approvalId ?? '');
  if (!known) return;
  const { authority, requestActor } = known;
  if (authority === 'producer' && requestActor === actor) return;
  const message =
    authority === 'producer'
      ? 'only the actor that requested this approval may publish its decision'
      : 'this approval is decided in Runwire, not by a producer';
  throw new RunwireError('FORBIDDEN', message, { path: 'approvalId' });
}
