import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import * as field from '../../shared/fields.ts';
import type { DraftOf, EventOf, Registry } from '../../shared/registry.ts';
import { can } from '../auth/permissions.ts';

import type { Log } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { hasReached } from '../event-log/current.ts';
import type { PublishGateway } from '../publishing/gateway.ts';
import { pageInput } from './inputs.ts';
import { nextCursor, positionOf } from './pagination.ts';
import { searchFilter, searchQueryOf } from './search-filter.ts';
import type { Procedure } from './trpc.ts';

export type EventParts<R extends Registry> = {
  registry: R;
  log: Log & Pick<EventLog, 'search' | 'runs'>;
  gateway: PublishGateway<R>;
};

/** The procedures `event.publish`, `event.get`, `event.search` and `event.facets`. */
export function eventProcedures<R extends Registry>(procedure: Procedure, { registry, log, gateway }: EventParts<R>) {
  const filter = searchFilter(registry);
  return {
    publish: procedure
      .meta({ accessLog: 'errors' })
      .input(
        z.strictObject({
          // Not `z.array`, which copies an array of any length: the gateway counts the drafts first.
          events: z.custom<DraftOf<R>[]>((value) => Array.isArray(value) && value.length > 0),
          onPhi: z.enum(['reject', 'redact']).optional(),
        }),
      )
      .mutation(async ({ ctx: { principal }, input: { events, onPhi } }) => {
        const { accepted, duplicates, seq } = await gateway.publish(principal, events, onPhi);
        return { accepted, duplicates, seq };
      }),

    /**
     * Returns one event, by its position or by its id. Throws `EVENT_NOT_FOUND`, also for an event that the caller may not
     * read.
     */
    get: procedure
      .meta({ accessLog: 'output' }) // The input may have only the position; the result has the project and the run.
      .input(
        z.union([
          z.strictObject({ seq: z.int().positive() }),
          z.strictObject({ projectId: field.scopeId(), eventId: field.id() }),
        ]),
      )
      .query(async ({ ctx: { principal, signal }, input }) => {
        const seqOf = ({ projectId, eventId }: { projectId: string; eventId: string }) =>
          // A principal of one run looks in its project: the run of the event is checked below.
          can(principal, 'read', { projectId, runId: principal.runId }) ? log.seqOf(projectId, eventId) : undefined;
        const seq = 'seq' in input ? input.seq : await seqOf(input);
        const caller = { user: principal.sub, signal };
        const isThere = seq !== undefined && (await hasReached(log, seq));
        const read = () => log.read({ ...caller, scope: { kind: 'all' }, after: (seq ?? 0) - 1, limit: 1 });
        let page = isThere ? await read() : undefined;
        while (page && page.erasures < log.erasures) page = await read();
        const record = page?.records[0];
        if (record?.seq !== seq || !record || !can(principal, 'read', record)) {
          throw new RunwireError('EVENT_NOT_FOUND', 'no such event, or not readable');
        }
        return record.event as EventOf<R>;
      }),

    /**
     * Searches the text of events, newest first.
     *
     * - `text` contains words and quoted phrases. An event must contain all of them, regardless of case and diacritics.
     *   The last word also matches longer words that begin with it.
     * - `since` and `until` compare with `recordedAt`, the time at which the server logged the event.
     * - The search index may be 1 s behind the log.
     * - Each page scans a bounded part of the index, so a page may have fewer events than `limit`, or none. The client
     *   continues while the result has a `nextCursor`. `searchedTo` is then the time that the search has come to.
     * - `runs` has the names of the runs of the events.
     * - A project that does not exist, or that the caller may not read, gives no events and no error.
     */
    search: procedure
      .input(z.strictObject({ ...filter, ...pageInput }).prefault({}))
      .query(async ({ ctx: { principal, signal }, input: { cursor, direction: _, limit, ...input } }) => {
        const query = searchQueryOf(principal, input);
        const page = await log.search.find({ ...query, limit, before: await positionOf(cursor, log), signal });
        const records = page.records.filter((record) => can(principal, 'read', record));
        const searchedTo: { searchedTo?: string } =
          page.searchedToMs === undefined ? {} : { searchedTo: new Date(page.searchedToMs).toISOString() };
        const keys = new Map(records.map(({ projectId, runId }) => [`${projectId} ${runId}`, { projectId, runId }]));
        const found = [...keys.values()];
        const names = await log.runs.namesOf(found, { user: principal.sub, signal });
        const runs: { runs?: { projectId: string; runId: string; name: string }[] } =
          found.length === 0 ? {} : { runs: found.map((run, index) => ({ ...run, name: names[index] ?? run.runId })) };
        return {
          events: records.map((record) => record.event as EventOf<R>),
          ...runs,
          ...(await nextCursor(log, page.next)),
          ...searchedTo,
        };
      }),

    /**
     * Counts the events that `event.search` finds with the same filter, by type, project, publisher and hour. An answer counts
     * at most 10,000 events, and a bounded part of the index. The sum of all answers, up to the one without a `nextCursor`,
     * counts every event once.
     */
    facets: procedure
      .input(z.strictObject({ ...filter, cursor: pageInput.cursor }).prefault({}))
      .query(async ({ ctx: { principal, signal }, input: { cursor, ...input } }) => {
        const query = searchQueryOf(principal, input);
        const before = await positionOf(cursor, log);
        const { tally, next } = await log.search.count({ ...query, limit: MAX_COUNTED, before, signal });
        const hours = [...tally.hours].sort(([a], [b]) => a - b);
        return {
          total: tally.total,
          types: mostFirst(tally.types),
          projects: mostFirst(tally.projects),
          actors: mostFirst(tally.actors),
          hours: hours.map(([atMs, count]) => ({ at: new Date(atMs).toISOString(), count })),
          ...(await nextCursor(log, next)),
        };
      }),
  };
}

/** Maximum number of events that an answer of `event.facets` counts. */
const MAX_COUNTED = 10_000;

const mostFirst = (counts: ReadonlyMap<string, number>) =>
  [...counts]
    .map(([value, count]) => ({ value, count }))
    .sort((a, b) => b.count - a.count || (a.value < b.value ? -1 : 1));
