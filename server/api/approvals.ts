import { z } from 'zod';
import * as field from '../../shared/fields.ts';
import { type Approval, approvalStatuses } from '../../shared/run.ts';
import type { Approvals } from '../approvals/approvals.ts';
import { resolveRun } from '../auth/resolve-run.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { pageInput, runInput } from './inputs.ts';
import { nextCursor, positionOf } from './pagination.ts';
import type { Procedure } from './trpc.ts';

export type ApprovalParts = { log: Log & Pick<EventLog, 'runs'>; approvals: Approvals };

/** An approval, and the ids of its project and run. */
export type ListedApproval = Approval & { projectId: string; runId: string };

const status = z.enum(approvalStatuses);
const approvalInput = { ...runInput, approvalId: field.id() };

/** The procedures `approval.list`, `approval.grant` and `approval.deny`. */
export function approvalProcedures(procedure: Procedure, { log, approvals }: ApprovalParts) {
  return {
    list: procedure
      .input(
        z
          .strictObject({
            status: z.union([status, z.array(status).max(approvalStatuses.length)]).optional(),
            ...pageInput,
          })
          .prefault({}),
      )
      .query(async ({ ctx: { principal, signal }, input: { status, cursor, limit } }) => {
        const page = await approvals.list(principal, {
          status: typeof status === 'string' ? [status] : status,
          after: await positionOf(cursor, log),
          limit,
          signal,
        });
        return {
          approvals: page.approvals.map(
            ({ projectId, runId, approval }): ListedApproval => ({ projectId, runId, ...approval }),
          ),
          ...(await nextCursor(log, page.next)),
        };
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
