import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import * as field from '../../shared/fields.ts';
import { approvalBoxes, approvalStatuses } from '../../shared/run.ts';
import type { Approvals } from '../approvals/approvals.ts';
import { resolveRun } from '../auth/resolve-run.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { cursorAt } from '../event-log/cursor.ts';
import { pageInput, runInput } from './inputs.ts';
import { nextCursor, positionOf } from './pagination.ts';
import type { Procedure } from './trpc.ts';

export type ApprovalParts = { log: Log & Pick<EventLog, 'runs'>; approvals: Approvals };

const status = z.enum(approvalStatuses);
const approvalInput = { ...runInput, approvalId: field.id() };
const seenInput = { seenSeq: z.int().nonnegative().optional() };

/** The procedures `approval.list`, `approval.get`, `approval.grant` and `approval.deny`. */
export function approvalProcedures(procedure: Procedure, { log, approvals }: ApprovalParts) {
  return {
    /** `position` is a cursor: the list contains every change up to it. A subscription after it delivers the later ones. */
    list: procedure
      .input(
        z
          .strictObject({
            box: z.enum(approvalBoxes).optional(),
            status: z.union([status, z.array(status).max(approvalStatuses.length)]).optional(),
            projectId: field.scopeId().optional(),
            ...pageInput,
          })
          .refine(({ box, status }) => box === undefined || status === undefined, {
            error: 'a box has its own states: leave status out',
            path: ['status'],
          })
          .prefault({}),
      )
      .query(async ({ ctx: { principal, signal }, input: { box, status, projectId, cursor, limit } }) => {
        const position = await cursorAt(log, log.head);
        const page = await approvals.list(principal, {
          box,
          status: typeof status === 'string' ? [status] : status,
          projectId,
          after: await positionOf(cursor, log),
          limit,
          signal,
        });
        const isFirst = box !== undefined && cursor == null;
        return {
          approvals: page.approvals.map((stored) => approvals.listed(principal, stored)),
          ...(await nextCursor(log, page.next)),
          position,
          ...(isFirst ? { counts: await approvals.counts(principal, { projectId, signal }) } : {}),
        };
      }),

    get: procedure
      .input(z.strictObject(approvalInput))
      .query(async ({ ctx: { principal, signal }, input: { approvalId, ...run } }) => {
        const key = { ...(await resolveRun(log.runs, principal, run, signal)), approvalId };
        const stored = await approvals.get(key, { user: principal.sub, signal });
        if (!stored) throw new RunwireError('APPROVAL_NOT_FOUND', 'no such approval');
        return approvals.listed(principal, stored);
      }),

    grant: procedure
      .input(z.strictObject({ ...approvalInput, ...seenInput, comment: field.message().optional() }))
      .mutation(async ({ ctx: { principal }, input: { approvalId, comment, seenSeq, ...run } }) => {
        const key = { ...(await resolveRun(log.runs, principal, run)), approvalId };
        return approvals.grant(principal, key, { comment, seenSeq });
      }),

    deny: procedure
      .input(z.strictObject({ ...approvalInput, ...seenInput, reason: field.message() }))
      .mutation(async ({ ctx: { principal }, input: { approvalId, reason, seenSeq, ...run } }) => {
        const key = { ...(await resolveRun(log.runs, principal, run)), approvalId };
        return approvals.deny(principal, key, { reason, seenSeq });
      }),
  };
}
