import { RunwireError } from '../../shared/errors.ts';
import type { RunStore } from '../event-log/contract/runs.ts';
import type { Caller } from '../slices.ts';
import { searchableProjects } from './permissions.ts';
import type { Principal } from './principal.ts';

/**
 * Searches the projects in `among` (undefined: all projects) for a run with this id. Returns its project, or undefined if no
 * project has such a run. Throws `RUN_AMBIGUOUS` if several have one.
 *
 * For a request of a client, `among` must be the result of {@link searchableProjects}: the answer and its response time
 * must not depend on projects that the client may not read.
 */
export async function projectOfRun(
  runs: Pick<RunStore, 'projectsOf'>,
  runId: string,
  among: readonly string[] | undefined,
  caller?: Caller,
): Promise<string | undefined> {
  const projects = await runs.projectsOf(runId, among, caller);
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
  signal?: Caller['signal'],
): Promise<{ projectId: string; runId: string }> {
  const among = searchableProjects(principal, { projectId, runId });
  const found = await projectOfRun(runs, runId, among, { user: principal.sub, signal });
  if (found === undefined) throw new RunwireError('RUN_NOT_FOUND', 'no such run');
  return { projectId: found, runId };
}
