import { isStorable } from '../../../shared/issues.ts';
import { MAX_OPEN } from '../bounds.ts';
import type { ProjectRuns, RunStore } from '../contract/runs.ts';
import type { PostgresDatabase } from './database.ts';

/** Projects that one statement counts: each may have 10,000 running runs. */
const PROJECTS_AT_ONCE = 20;

export const PROJECT_STATEMENTS = {
  // Each step seeks the next project in the index.
  next: `WITH RECURSIVE p AS (
      (SELECT project_id FROM runs WHERE project_id > $1 ORDER BY project_id LIMIT 1)
      UNION ALL
      SELECT (SELECT project_id FROM runs WHERE project_id > p.project_id ORDER BY project_id LIMIT 1)
      FROM p WHERE p.project_id IS NOT NULL
    )
    SELECT project_id FROM p WHERE project_id IS NOT NULL LIMIT $2`,
  among: `SELECT p.project_id FROM unnest($1::text[]) WITH ORDINALITY AS p (project_id, n)
    CROSS JOIN LATERAL (SELECT 1 FROM runs WHERE project_id = p.project_id LIMIT 1) r ORDER BY p.n LIMIT $2`,
  running: `SELECT p.project_id, r.running FROM unnest($1::text[]) WITH ORDINALITY AS p (project_id, n)
    CROSS JOIN LATERAL (
      SELECT count(*) AS running FROM (
        SELECT 1 FROM runs WHERE project_id = p.project_id AND status NOT IN ('completed', 'failed') AND status = 'running'
        LIMIT $2
      ) o
    ) r ORDER BY p.n`,
};

/** Finds each project by a seek in the index of projects, and counts its running runs in the index of open runs. */
export async function projectsWithRuns(
  database: PostgresDatabase,
  { projects, limit, ...caller }: Parameters<RunStore['projects']>[0],
): Promise<ProjectRuns[]> {
  const { next, among, running } = PROJECT_STATEMENTS;
  const named = projects === 'all' ? undefined : [...new Set(projects.filter(isStorable))].sort();
  const found = await database.read<{ project_id: string }>(
    named
      ? { name: 'projectsAmongNamed', text: among, values: [named, limit] }
      : { name: 'projects', text: next, values: ['', limit] },
    caller,
  );
  const counted: ProjectRuns[] = [];
  for (let from = 0; from < found.length; from += PROJECTS_AT_ONCE) {
    const ids = found.slice(from, from + PROJECTS_AT_ONCE).map((row) => row.project_id);
    const rows = await database.read<{ project_id: string; running: number }>(
      { name: 'running', text: running, values: [ids, MAX_OPEN] },
      caller,
    );
    counted.push(...rows.map((row) => ({ projectId: row.project_id, running: row.running })));
  }
  return counted;
}
