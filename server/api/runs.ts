import { z } from 'zod';
import * as field from '../../shared/fields.ts';
import type { Registry } from '../../shared/registry.ts';
import { runStatuses } from '../../shared/run.ts';
import { deciderOf, listScope, searchableProjects } from '../auth/permissions.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { cursorAt } from '../event-log/cursor.ts';
import { labelsInput, pageInput, periodInput } from './inputs.ts';
import { cursorOfRun, runKeyOf } from './pagination.ts';
import { runEventProcedures } from './run-events.ts';
import type { Procedure } from './trpc.ts';

export type RunParts<R extends Registry> = { registry: R; log: Log & Pick<EventLog, 'runs' | 'integrity'> };

const MAX_BUCKETS = 500;

/** The procedures of `run` that return lists: of runs, of events, of numbers. */
export function runProcedures<R extends Registry>(procedure: Procedure, { registry, log }: RunParts<R>) {
  return {
    list: procedure
      .input(
        z
          .strictObject({
            projectId: field.scopeId().optional(),
            status: z.array(z.enum(runStatuses)).max(runStatuses.length).optional(),
            cancelled: z.boolean().optional(),
            labels: labelsInput(z.string().max(100), z.string().max(200)).optional(),
            text: z.string().max(200).optional(),
            ...periodInput,
            needsMyDecision: z.boolean().optional(),
            ...pageInput,
          })
          .prefault({}),
      )
      .query(async ({ ctx: { principal, signal }, input: { cursor, direction: _, needsMyDecision, ...query } }) => {
        const page = await log.runs.list({
          ...query,
          user: principal.sub,
          signal,
          ...listScope(principal),
          after: runKeyOf(cursor),
          decider: needsMyDecision ? deciderOf(principal, log.now()) : undefined,
        });
        return {
          runs: page.runs,
          ...(page.next ? { nextCursor: cursorOfRun(page.next) } : {}),
          position: await cursorAt(log, page.position),
        };
      }),

    /**
     * Counts runs by status: those created in a period, in equal parts of it, and all that have not ended. It counts at most
     * 20,000 runs of the period, the newest, and 10,000 open runs of a project.
     */
    activity: procedure
      .input(
        z.strictObject({
          projectId: field.scopeId().optional(),
          since: field.instant(),
          until: field.instant().optional(),
          buckets: z.int().positive().max(MAX_BUCKETS),
        }),
      )
      .query(({ ctx: { principal, signal }, input: { projectId, since, until, buckets } }) =>
        log.runs.activity({
          projects: searchableProjects(principal, { projectId }) ?? 'all',
          since,
          until: until ?? new Date().toISOString(),
          buckets,
          user: principal.sub,
          signal,
        }),
      ),

    ...runEventProcedures(procedure, { registry, log }),
  };
}
