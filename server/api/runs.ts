import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import * as field from '../../shared/fields.ts';
import type { EventOf, Registry } from '../../shared/registry.ts';
import { runStatuses } from '../../shared/run.ts';
import { waitsFor } from '../approvals/rules.ts';
import { can } from '../auth/permissions.ts';
import { resolveRun } from '../auth/resolve-run.ts';
import type { Log, Scope } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { cursorAt } from '../event-log/cursor.ts';
import { positionOfRunSeq } from '../event-log/run-position.ts';
import { pageInput, periodInput, runInput, typesInput } from './inputs.ts';
import { cursorOfRun, nextCursor, positionOf, runKeyOf } from './pagination.ts';
import type { Procedure } from './trpc.ts';

export type RunParts<R extends Registry> = { registry: R; log: Log & Pick<EventLog, 'runs'> };

/** The procedures `run.get`, `run.list` and `run.history`. */
export function runProcedures<R extends Registry>(procedure: Procedure, { registry, log }: RunParts<R>) {
  return {
    get: procedure.input(z.strictObject(runInput)).query(async ({ ctx, input }) => {
      const { projectId, runId } = await resolveRun(log.runs, ctx.principal, input);
      const found = await log.runs.get(projectId, runId);
      if (!found) throw new RunwireError('RUN_NOT_FOUND', 'no such run');
      return { run: found.run, cursor: await cursorAt(log, found.position) };
    }),

    list: procedure
      .input(
        z
          .strictObject({
            projectId: field.scopeId().optional(),
            status: z.array(z.enum(runStatuses)).max(runStatuses.length).optional(),
            labels: z.record(z.string().max(100), z.string().max(200)).optional(),
            text: z.string().max(200).optional(),
            ...periodInput,
            needsMyDecision: z.boolean().optional(),
            ...pageInput,
          })
          .prefault({}),
      )
      .query(async ({ ctx: { principal, signal }, input: { cursor, direction: _, needsMyDecision, ...query } }) => {
        const { projectId } = query;
        // An unreadable project is not scanned: the time of a scan would show how many runs it has.
        if (projectId !== undefined && !can(principal, 'read', { projectId })) {
          return { runs: [], position: await cursorAt(log, log.head) };
        }
        const page = await log.runs.list({
          ...query,
          signal,
          canRead: (projectId) => can(principal, 'read', { projectId }),
          after: runKeyOf(cursor),
          hasPending: needsMyDecision ? (approval) => waitsFor(principal, approval) : undefined,
        });
        return {
          runs: page.runs,
          ...(page.next ? { nextCursor: cursorOfRun(page.next) } : {}),
          position: await cursorAt(log, page.position),
        };
      }),

    history: procedure
      .input(
        z.strictObject({
          ...runInput,
          types: typesInput(registry),
          /**
           * The number (`runSeq`) of the event with which the first page starts; 1 is the first event of the run. Later
           * pages start at their cursor.
           */
          fromRunSeq: z.int().positive().default(1),
          ...pageInput,
        }),
      )
      .query(async ({ ctx, input: { cursor, direction: _, types, fromRunSeq, limit, ...run } }) => {
        const scope: Scope = { kind: 'run', ...(await resolveRun(log.runs, ctx.principal, run)) };
        let after =
          (await positionOf(cursor, log)) ?? (fromRunSeq === 1 ? 0 : await positionOfRunSeq(log, scope, fromRunSeq));
        const events: EventOf<R>[] = [];
        // `log.read` may return fewer events than its limit: read on to a full page, or to the head of the log.
        while (events.length < limit && after < log.head && !ctx.signal?.aborted) {
          const rest = { scope, after, limit: limit - events.length };
          const page = await log.read(types ? { ...rest, types: new Set<string>(types) } : rest);
          for (const record of page.records) events.push(record.event as EventOf<R>);
          after = page.scannedTo;
        }
        return { events, ...(await nextCursor(log, events.length < limit ? undefined : after)) };
      }),
  };
}
