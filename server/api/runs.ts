import { z } from 'zod';
import * as field from '../../shared/fields.ts';
import type { EventOf, Registry } from '../../shared/registry.ts';
import { runStatuses } from '../../shared/run.ts';
import { waitsFor } from '../approvals/rules.ts';
import { projectsFor, searchableProjects } from '../auth/permissions.ts';
import { resolveRun } from '../auth/resolve-run.ts';
import type { Log, Scope } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { cursorAt } from '../event-log/cursor.ts';
import { positionOfRunSeq } from '../event-log/run-position.ts';
import { pageInput, periodInput, runInput, typesInput } from './inputs.ts';
import { cursorOfRun, nextCursor, positionOf, runKeyOf } from './pagination.ts';
import type { Procedure } from './trpc.ts';

export type RunParts<R extends Registry> = { registry: R; log: Log & Pick<EventLog, 'runs' | 'integrity'> };

/** Maximum number of reads of the log for one page of `run.history`. A read takes at most 5 ms. */
const MAX_READS = 20;
const MAX_BUCKETS = 500;
/** A page of `run.history` ends when its events have this much JSON. */
const MAX_BYTES = 1 << 20;

/** zod drops the key `__proto__` of a record: the filter would then match every run. No run has such a label. */
const labelsInput = z
  .custom<Record<string, string>>((value) => value === null || !Object.hasOwn(Object(value), '__proto__'))
  .pipe(z.record(z.string().max(100), z.string().max(200)));

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
            labels: labelsInput.optional(),
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
          projects: projectsFor(principal, 'read'),
          after: runKeyOf(cursor),
          hasPending: needsMyDecision ? (approval) => waitsFor(principal, approval) : undefined,
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
          projects: searchableProjects(principal, projectId) ?? 'all',
          since,
          until: until ?? new Date().toISOString(),
          buckets,
          user: principal.sub,
          signal,
        }),
      ),

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
      .query(
        async ({ ctx: { principal, signal }, input: { cursor, direction: _, types, fromRunSeq, limit, ...run } }) => {
          const caller = { user: principal.sub, signal };
          const scope: Scope = { kind: 'run', ...(await resolveRun(log.runs, principal, run, signal)) };
          let after =
            (await positionOf(cursor, log)) ??
            (fromRunSeq === 1 ? 0 : await positionOfRunSeq(log, scope, fromRunSeq, caller));
          const events: EventOf<R>[] = [];
          let bytes = 0;
          // `log.read` may return fewer events than its limit: read on to a full page, to the head of the log, or to the end of
          // the budget.
          for (
            let reads = 0;
            events.length < limit && after < log.head && reads < MAX_READS && bytes < MAX_BYTES;
            reads++
          ) {
            const rest = { ...caller, scope, after, limit: limit - events.length };
            const page = await log.read(types ? { ...rest, types: new Set<string>(types) } : rest);
            for (const record of page.records) {
              events.push(record.event as EventOf<R>);
              bytes += record.json.length;
            }
            after = page.scannedTo;
          }
          return { events, ...(await nextCursor(log, after < log.head ? after : undefined)) };
        },
      ),
  };
}
