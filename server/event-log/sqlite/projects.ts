import type { Slice } from '../../slices.ts';
import type { ProjectRuns, RunStore } from '../contract/runs.ts';
import type { LogStatements } from './statements.ts';

/** Maximum count of running runs of a project. */
const MAX_RUNNING = 10_000;

/** Finds each project by a seek in the index of projects, and counts its running runs in the index of open runs. */
export async function projectsWithRuns(
  { statements, slice }: { statements: LogStatements; slice: Slice },
  query: Parameters<RunStore['projects']>[0],
): Promise<ProjectRuns[]> {
  const { limit } = query;
  const found: ProjectRuns[] = [];
  const named = query.projects === 'all' ? undefined : [...query.projects].sort();
  let last = '';
  const next = (): string | undefined => {
    if (!named) return (statements.nextProject.get(last) as { project_id: string | null }).project_id ?? undefined;
    for (let id = named.shift(); id !== undefined; id = named.shift()) if (statements.hasRuns.get(id)) return id;
    return undefined;
  };
  let isDone = false;
  while (!isDone && found.length < limit) {
    await slice((deadline) => {
      do {
        const projectId = next();
        if (projectId === undefined) {
          isDone = true;
          return;
        }
        const { running } = statements.countRunning.get(projectId, MAX_RUNNING) as { running: number };
        found.push({ projectId, running });
        last = projectId;
      } while (found.length < limit && performance.now() < deadline);
    }, query);
  }
  return found;
}
