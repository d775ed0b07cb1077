import { RunwireError } from '../../shared/errors.ts';
import type { RunStore } from '../event-log/contract/runs.ts';
import { searchableProjects } from './permissions.ts';
import type { Principal } from './principal.ts';

/** The only run of an id that a principal may read. Throws `RUN_NOT_FOUND`; `RUN_AMBIGUOUS` where projects share it. */
export async function resolveRun(
  runs: RunStore,
  principal: Principal,
  { runId, projectId }: { runId: string; projectId?: string | undefined },
): Promise<{ projectId: string; runId: string }> {
  const readable = await runs.projectsOf(runId, searchableProjects(principal, projectId));
  if (readable.length > 1) {
    throw new RunwireError('RUN_AMBIGUOUS', 'several projects have a run with this id', { path: 'projectId' });
  }
  const [found] = readable;
  if (found === undefined) throw new RunwireError('RUN_NOT_FOUND', 'no such run');
  return { projectId: found, runId };
}
