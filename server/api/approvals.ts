import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import * as field from '../../shared/fields.ts';
import { approvalStatuses, type ListedApproval } from '../../shared/run.ts';
import type { Approvals } from '../approvals/approvals.ts';
import type { Principal } from '../auth/principal.ts';
import { resolveRun } from '../auth/resolve-run.ts';
import type { StoredApproval } from '../event-log/contract/approvals.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { cursorAt } from '../event-log/cursor.ts';
import { pageInput, runInput } from './inputs.ts';
import { nextCursor, positionOf } from './pagination.ts';
import type { Procedure } from './trpc.ts';

export type ApprovalParts = { log: Log & Pick<EventLog, 'runs'>; approvals: Approvals };

const status = z.enum(approvalStatuses);
const approvalInput = { ...runInput, approvalId: field.id() };

/** The procedures `approval.list`, `approval.get`, `approval.grant` and `approval.deny`. */
export function approvalProcedures(procedure: Procedure, { log, approvals }: ApprovalParts) {
  const listed = (principal: Principal, stored: StoredApproval): ListedApproval => {
    const { projectId, runId, approval } = stored;
    return { projectId, runId, ...approval, canDecide: approvals.canDecide(principal, stored) };
  };
  return {
    /** `position` is a cursor: the list contains every change up to it. A subscription after it delivers the later ones. */
    list: procedure
      .input(
        z
          .strictObject({
            status: z.union([status, z.array(status).max(approvalStatuses.length)]).optional(),
            projectId: field.scopeId().optional(),
            needsMyDecision: z.boolean().optional(),
            ...pageInput,
          })
          .prefault({}),
      )
      .query(async ({ ctx: { principal, signal }, input: { status, projectId, needsMyDecision, cursor, limit } }) => {
        const position = await cursorAt(log, log.head);
        const page = await approvals.list(principal, {
          status: typeof status === 'string' ? [status] : status,
          projectId,
          needsMyDecision,
          after: await positionOf(cursor, log),
          limit,
          signal,
        });
        return {
          approvals: page.approvals.map((stored) => listed(principal, stored)),
          ...(await nextCursor(log, page.next)),
          position,
        };
      }),

    get: procedure
      .input(z.strictObject(approvalInput))
      .query(async ({ ctx: { principal, signal }, input: { approvalId, ...run } }) => {
        const key = { ...(await resolveRun(log.runs, principal, run, signal)), approvalId };
        const stored = await approvals.get(key, { user: principal.sub, signal });
        if (!stored) throw new RunwireError('APPROVAL_NOT_FOUND', 'no such approval');
        return listed(principal, stored);
      }),

    grant: procedure
      .input(z.strictObject({ ...approvalInput, comment: field.message().optional() }))
      .mutation(async ({ ctx: { principal }, input: { approvalId, comment, ...run } }) =>
        approvals.grant(principal, { ...(await resolveRun(log.runs, principal, run)), approvalId }, comment),
      ),

    deny: procedure
      .input(z.strictObject({ ...approvalInput, reason: field.message() }))
      .mutation(async ({ ctx: { principal }, input: { approvalId, reason, ...run } }) =>
        approvals.deny(principal, { ...(await resolveRun(log.runs, principal, run)), approvalId }, reason),
      ),
  };
}
