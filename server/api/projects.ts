import { projectsFor } from '../auth/permissions.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { Procedure } from './trpc.ts';

export type ProjectParts = { log: Pick<EventLog, 'runs'> };

const MAX_PROJECTS = 1_000;

/** The procedure `project.list`. */
export function projectProcedures(procedure: Procedure, { log }: ProjectParts) {
  return {
    list: procedure.query(async ({ ctx: { principal, signal } }) => {
      const projects = projectsFor(principal, 'read');
      return { projects: await log.runs.projects({ projects, limit: MAX_PROJECTS, user: principal.sub, signal }) };
    }),
  };
}
