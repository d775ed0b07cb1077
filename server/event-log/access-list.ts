import type { AccessEntry } from '../../shared/audit.ts';
import type { AccessPage, AccessQuery } from './contract/access.ts';
import type { Projects } from './contract/search.ts';
import { NewestFirstSteps, type Sources } from './newest-first.ts';
import { type Awaitable, resultOf, type Steps } from './steps.ts';

/** The list of access entries, for any store with ids in the order of writing and times that never decrease. */

/** Maximum number of rows that one call reads. */
const MAX_ROWS = 50_000;

export type AccessRow = {
  id: number;
  at_ms: number;
  sub: string | null;
  action: string;
  project_id: string | null;
  run_id: string | null;
  outcome: string;
  via: AccessEntry['via'];
  detail: string | null;
  count: number;
};

export interface AccessTables {
  /** Returns the id of the first entry at an instant (Unix ms) or after it; undefined if there is none. */
  firstSince(ms: number): Awaitable<number | undefined>;
  /** Returns sources of the entries with `id >= low`: of each project through an index, or of the whole table. */
  sources(projects: Projects, low: number): Sources<AccessRow>;
}

export function* listAccess(
  tables: AccessTables,
  { projects, before, sinceMs, untilMs, limit, ...query }: AccessQuery,
): Steps<AccessPage> {
  const wantedProjects =
    query.projectId === undefined
      ? projects
      : projects === 'all' || projects.includes(query.projectId)
        ? [query.projectId]
        : [];
  const end = untilMs === undefined ? undefined : yield* resultOf(tables.firstSince(untilMs));
  const begin = sinceMs === undefined ? 0 : yield* resultOf(tables.firstSince(sinceMs));
  let position = Math.min(before ?? Number.MAX_SAFE_INTEGER, end ?? Number.MAX_SAFE_INTEGER);
  const sources = tables.sources(wantedProjects, begin ?? Number.MAX_SAFE_INTEGER);
  const rows = new NewestFirstSteps(sources, ({ id }) => id, position);
  const entries: AccessEntry[] = [];
  let read = 0;
  const isFull = () => entries.length >= limit || read >= MAX_ROWS;
  while (!isFull()) {
    const next = yield* rows.next();
    for (const row of next.rows) {
      if (isFull()) return { entries, next: position };
      position = row.id;
      read++;
      if (matches(row, query)) entries.push(toEntry(row));
    }
    if (next.known === undefined) return { entries };
    // All rows down to `known` have been returned: the next page can begin there.
    position = Math.min(position, next.known);
  }
  return { entries, next: position };
}

function matches(
  row: AccessRow,
  { sub, action, runId, outcome }: Pick<AccessQuery, 'sub' | 'action' | 'runId' | 'outcome'>,
) {
  return (
    (sub === undefined || row.sub === sub) &&
    (action === undefined || row.action === action) &&
    (runId === undefined || row.run_id === runId) &&
    (outcome === undefined || row.outcome === outcome)
  );
}

function toEntry({ at_ms, sub, action, project_id, run_id, outcome, via, detail, count }: AccessRow): AccessEntry {
  return {
    at: new Date(at_ms).toISOString(),
    sub,
    action,
    ...(project_id === null ? {} : { projectId: project_id }),
    ...(run_id === null ? {} : { runId: run_id }),
    outcome,
    via,
    ...(detail === null ? {} : { detail }),
    count,
  };
}
