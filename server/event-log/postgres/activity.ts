import { isStorable } from '../../../shared/issues.ts';
import type { RunStatus } from '../../../shared/run.ts';
import type { RunActivity } from '../../../shared/run-activity.ts';
import { ActivityCounts } from '../activity-counts.ts';
import { MAX_COUNTED, MAX_OPEN } from '../bounds.ts';
import type { ActivityQuery } from '../contract/runs.ts';
import type { PostgresDatabase } from './database.ts';
import { type Key, Keyset, type Order } from './keyset.ts';

/** Projects of which one statement counts the open runs: each may have 10,000. */
const PROJECTS_AT_ONCE = 20;

export const COUNTED: Order = {
  name: 'countRuns',
  table: 'runs',
  at: 'created_at',
  num: 'row_id',
  columns: `status, status = 'failed' AND coalesce(state::json #>> '{error,code}', '') = 'CANCELLED' AS is_cancelled`,
};

// The first condition is that of the index, the second a search in it.
const OPEN = `status NOT IN ('completed', 'failed') AND status IN ('created', 'running', 'waiting')`;
export const OPEN_STATEMENTS = {
  all: `SELECT status, count(*) AS count FROM (SELECT status FROM runs WHERE ${OPEN} AND project_id > '' LIMIT $1) o
    GROUP BY status`,
  ofProjects: `SELECT o.status, count(*) AS count FROM unnest($2::text[]) AS p (project_id)
    CROSS JOIN LATERAL (SELECT status FROM runs WHERE ${OPEN} AND project_id = p.project_id LIMIT $1) o GROUP BY o.status`,
};

/** Counts the runs of a period by reading the index of creation times, and the open runs by an index of their own. */
export async function activityOf(database: PostgresDatabase, query: ActivityQuery): Promise<RunActivity> {
  const { since, until, ...caller } = query;
  const projects = query.projects === 'all' ? query.projects : query.projects.filter(isStorable);
  const counts = new ActivityCounts(query);
  const keys = new Keyset<Key & { status: RunStatus; is_cancelled: boolean }>({
    ...{ database, order: COUNTED, projects, caller },
    start: { at: until, num: 0 },
    firstRows: 1_024,
  });
  let counted = 0;
  let isDone = counts.isEmpty;
  while (!isDone && counted < MAX_COUNTED) {
    const rows = await keys.next();
    const ofPeriod = rows?.filter(({ at }) => at >= since) ?? [];
    for (const { at, status, is_cancelled } of ofPeriod) counts.addCreated(at, is_cancelled ? 'cancelled' : status);
    counted += ofPeriod.length;
    isDone = ofPeriod.length < (rows?.length ?? 1);
  }
  const batches = projects === 'all' ? [undefined] : inBatches(projects);
  for (const batch of batches) {
    const rows = await database.read<{ status: RunStatus; count: number }>(
      batch
        ? { name: 'openOfProjects', text: OPEN_STATEMENTS.ofProjects, values: [MAX_OPEN, batch] }
        : { name: 'open', text: OPEN_STATEMENTS.all, values: [MAX_OPEN] },
      caller,
    );
    for (const { status, count } of rows) counts.addOpen(status, count);
  }
  return counts.result(isDone);
}

function inBatches(projects: readonly string[]): string[][] {
  const batches: string[][] = [];
  for (let from = 0; from < projects.length; from += PROJECTS_AT_ONCE) {
    batches.push(projects.slice(from, from + PROJECTS_AT_ONCE));
  }
  return batches;
}
