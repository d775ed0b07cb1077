import { RunwireError } from '../../shared/errors.ts';
import type { RunStore } from '../event-log/contract/runs.ts';
import { searchableProjects } from './permissions.ts';
import type { Principal } from './principal.ts';

/**
 * Finds the project of a run that a request names by its id alone. Only projects that the principal may read are searched:
 * the answer, and the time that it takes, must not depend on the others.
 */

/**
 * The project of the only run with this id that the principal may read; without a principal, all projects are searched.
 * Undefined when there is none. Throws `RUN_AMBIGUOUS` when several projects have one.
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

/** The only run with this id that a principal may read. Throws `RUN_NOT_FOUND` and `RUN_AMBIGUOUS`. */
export async function resolveRun(
  runs: Pick<RunStore, 'projectsOf'>,
  principal: Principal,
  { runId, projectId }: { runId: string; projectId?: string | undefined },
): Promise<{ projectId: string; runId: string }> {
  const found = await projectOfRun(runs, runId, principal, projectId);
  if (found === undefined) throw new RunwireError('RUN_NOT_FOUND', 'no such run');
  return { projectId: found, runId };
}
