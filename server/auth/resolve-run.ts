import { RunwireError } from '../../shared/errors.ts';
import type { RunStore } from '../event-log/contract/runs.ts';
import { searchableProjects } from './permissions.ts';
import type { Principal } from './principal.ts';

/**
 * Finds the project of a run if a request names the run by its id alone. Only projects that the principal may read are
 * searched: the answer and its response time must not depend on other projects.
 */

/**
 * Returns the project of the only run with this id that the principal may read; undefined if there is none. Without a
 * principal, all projects are searched. Throws `RUN_AMBIGUOUS` if several projects have such a run.
 */
export async function projectOfRun(
  runs: Pick<RunStore, 'projectsOf'>,
  runId: string,
  principal?: Principal,
  projectId?: string,
): Promise<string | undefined> {
  const projects = await runs.projectsOf(runId, principal && searchableProjects(principal, projectId));
  if (projects.length > 1) {
    throw new RunwireError('RUN_AMBIGUOUS', 'several projects have a run with this id', { path: 'projectId' });
  }
  return projects[0];
}

/** Returns the only run with this id that a principal may read. Throws `RUN_NOT_FOUND` and `RUN_AMBIGUOUS`. */
export async function resolveRun(
  runs: Pick<RunStore, 'projectsOf'>,
  principal: Principal,
  { runId, projectId }: { runId: string; projectId?: string | undefined },
): Promise<{ projectId: string; runId: string }> {
  const found = await projectOfRun(runs, runId, principal, projectId);
  if (found === undefined) throw new RunwireError('RUN_NOT_FOUND', 'no such run');
  return { projectId: found, runId };
}
