import { z } from 'zod';
import * as field from '../../shared/fields.ts';
import type { AccessLogger } from '../audit/access-logger.ts';
import { type Audit, MAX_CHECKPOINTS } from '../audit/audit.ts';
import { projectsFor, requirePermission } from '../auth/permissions.ts';
import { resolveRun } from '../auth/resolve-run.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { msOf, opaqueCursor, pageInput, periodInput, runInput } from './inputs.ts';
import { cursorOfEntry, entryOf } from './pagination.ts';
import type { Procedure } from './trpc.ts';

export type AuditParts = { log: Log & Pick<EventLog, 'runs' | 'integrity'>; audit: Audit; access: AccessLogger };

/** Records of erasures that one call looks at: about 2 ms of work. */
const MAX_ERASURES = 500;

const keptCheckpoint = z.strictObject({ seq: z.int().nonnegative(), hash: z.string().regex(/^[0-9a-f]{64}$/) });

/** The procedures of `audit`. */
export function auditProcedures(procedure: Procedure, { log, audit, access }: AuditParts) {
  return {
    verify: procedure
      .input(z.strictObject({ checkpoints: z.array(keptCheckpoint).max(MAX_CHECKPOINTS).optional() }).prefault({}))
      .query(({ ctx: { principal, signal }, input: { checkpoints } }) =>
        audit.verify(principal, { checkpoints, signal }),
      ),

    /** For every reader of the run. */
    run: procedure
      .input(z.strictObject({ ...runInput, cursor: opaqueCursor.nullish() }))
      .query(async ({ ctx: { principal, signal }, input: { cursor, ...named } }) => {
        const caller = { user: principal.sub, signal };
        const run = await resolveRun(log.runs, principal, named, signal);
        const after = entryOf(cursor, log) ?? 0;
        const { erasures, next } = await log.integrity.erasuresOf({ ...caller, ...run, after, limit: MAX_ERASURES });
        return {
          record: audit.state(),
          erasures,
          ...(next === undefined ? {} : { nextCursor: cursorOfEntry(next, log) }),
        };
      }),

    checkpoint: procedure.query(({ ctx: { principal } }) => audit.checkpoint(principal)),

    erase: procedure
      .meta({ accessLog: 'output' }) // The input has only the event's position; the result has the project and the run.
      .input(z.strictObject({ seq: z.int().positive(), reason: field.message() }))
      .mutation(({ ctx: { principal }, input }) => audit.erase(principal, input)),

    confirmClock: procedure
      .input(z.strictObject({ now: field.instant() }))
      .mutation(({ ctx: { principal }, input }) => audit.confirmClock(principal, input)),

    /**
     * Returns entries of the access log (`audit/access-logger.ts`) for the projects of the caller's token, newest
     * first. Entries without a project are returned only if the token covers all projects (`['*']`).
     */
    access: procedure
      .input(
        z
          .strictObject({
            sub: field.id().optional(),
            action: z.string().max(100).optional(),
            projectId: field.scopeId().optional(),
            runId: field.scopeId().optional(),
            outcome: z.string().max(100).optional(),
            ...periodInput,
            ...pageInput,
          })
          .prefault({}),
      )
      .query(async ({ ctx: { principal, signal }, input: { since, until, cursor, direction: _, ...query } }) => {
        requirePermission(principal, 'audit');
        const { entries, next } = await access.list({
          ...query,
          projects: projectsFor(principal, 'audit'),
          sinceMs: msOf(since),
          untilMs: msOf(until),
          before: entryOf(cursor, log),
          user: principal.sub,
          signal,
        });
        return { entries, ...(next === undefined ? {} : { nextCursor: cursorOfEntry(next, log) }) };
      }),
  };
}
