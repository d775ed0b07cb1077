import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import { foldOf } from '../../shared/event-table.ts';
import type { Registry } from '../../shared/registry.ts';
import { resolveRun } from '../auth/resolve-run.ts';
import { hasReached } from '../event-log/current.ts';
import { cursorAt, decodeCursor } from '../event-log/cursor.ts';
import { opaqueCursor, runInput } from './inputs.ts';
import { cursorOfRow, cursorOfView, rowOf, viewKeyOf } from './pagination.ts';
import { PastRuns } from './past-runs.ts';
import type { RunParts } from './runs.ts';
import type { Procedure } from './trpc.ts';

/** The procedures of `run` that return the state of one run: now, or after one of its events. */
export function runStateProcedures<R extends Registry>(procedure: Procedure, { registry, log }: RunParts<R>) {
  const pastRuns = new PastRuns(log, foldOf(registry) as never);
  return {
    /**
     * Returns a run. The stages, artifacts and approvals of a large run come in pages: while a page has a `nextCursor`,
     * the client requests the next one, and merges the pages (`mergeRunPages` of shared/run-pages.ts).
     *
     * With `atLeast`, a cursor of a subscription, the run includes every event up to it: the call waits if another node has
     * given the cursor. Throws `UNAVAILABLE` if this takes too long, or the log has no such position.
     */
    get: procedure
      .input(z.strictObject({ ...runInput, atLeast: opaqueCursor.optional(), cursor: opaqueCursor.nullish() }))
      .query(async ({ ctx: { principal, signal }, input: { cursor, atLeast, ...run } }) => {
        const after = viewKeyOf(cursor);
        if (atLeast !== undefined) {
          const { epoch, seq } = decodeCursor(atLeast, 'atLeast');
          const isReached = epoch === log.epoch && (await hasReached(log, seq));
          if (!isReached) throw new RunwireError('UNAVAILABLE', 'this server does not have the position of `atLeast`');
        }
        const { projectId, runId } = await resolveRun(log.runs, principal, run, signal);
        const found = await log.runs.get(projectId, runId, { user: principal.sub, signal, after });
        if (!found) throw new RunwireError('RUN_NOT_FOUND', 'no such run');
        return {
          run: found.run,
          cursor: await cursorAt(log, found.position),
          ...(found.next ? { nextCursor: cursorOfView(found.next) } : {}),
        };
      }),

    /** Returns a run as it was just after one of its events, in pages as `get`. */
    at: procedure
      .input(z.strictObject({ ...runInput, runSeq: z.int().positive(), cursor: opaqueCursor.nullish() }))
      .query(async ({ ctx: { principal, signal }, input: { cursor, runSeq, ...named } }) => {
        const run = await resolveRun(log.runs, principal, named, signal);
        const caller = { user: principal.sub, signal };
        const { next, ...page } = await pastRuns.at(run, runSeq, rowOf(cursor), caller);
        return { ...page, ...(next === undefined ? {} : { nextCursor: cursorOfRow(next) }) };
      }),
  };
}
