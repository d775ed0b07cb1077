import { objectOf, RunwireError } from '../../shared/errors.ts';
import { isSameUser } from '../../shared/user-ids.ts';
import type { Decider } from '../event-log/contract/decider.ts';
import { everyProject, type Principal, type Role, SYSTEM } from './principal.ts';

/**
 * The roles that permit each action; the same table is in SPEC.md (A3). Every action except `stats`, `verify`,
 * `audit` and `webhooks` concerns a project. `revoke` and `clock` require access to all projects ({@link everyProject}): a token may be
 * valid in several, and all have one clock.
 */
export const allowed = {
  read: ['viewer', 'approver', 'admin'],
  publish: ['producer', 'admin'],
  decide: ['approver'],
  revoke: ['admin'],
  stats: ['admin'],
  verify: ['admin'],
  erase: ['admin'],
  audit: ['admin'],
  clock: ['admin'],
  webhooks: ['admin'],
} as const satisfies Record<string, readonly Role[]>;
/** What a principal may be allowed to do. */
export type Action = keyof typeof allowed;
/** The actions of a principal of one run. All others concern more than the run. */
const ofRun: ReadonlySet<Action> = new Set(['read', 'publish', 'decide']);

/**
 * The object of an action: a run, or without `runId` the whole project, or without both any. `requiredRole` is the only role that
 * may decide an approval; default `approver`.
 */
export type Resource = {
  projectId?: string | undefined;
  runId?: string | undefined;
  requiredRole?: string | undefined;
};

/**
 * Whether a principal may perform an action, on a run or a project if one is given. Every permission check calls this. Throws
 * `INVALID_INPUT` for an unknown action.
 */
export function can(principal: Principal, action: Action, resource: Resource = {}): boolean {
  const { projectId, runId, requiredRole } = objectOf(resource, 'resource');
  if (!Object.hasOwn(allowed, action)) {
    throw new RunwireError('INVALID_INPUT', 'action: must be an action', { path: 'action' });
  }
  const sufficient: readonly string[] =
    action === 'decide' && requiredRole !== undefined ? [requiredRole] : allowed[action];
  if (!objectOf(principal, 'principal').roles.some((role) => sufficient.includes(role))) return false;
  if (principal.runId !== undefined && !ofRun.has(action)) return false;
  if (projectId === undefined) return true;
  if (principal.runId !== undefined && principal.runId !== runId) return false;
  return principal.projects.includes(everyProject) || principal.projects.includes(projectId);
}

/** Returns a principal as the rules of decisions see it at an instant (Unix ms). */
export function deciderOf(principal: Principal, nowMs: number): Decider {
  const { sub, roles, projects, runId } = principal;
  return {
    sub,
    // Expiries are the decisions of this actor: a principal of server code with the same name decides nothing.
    roles: isSameUser(sub, SYSTEM) ? [] : roles.filter((requiredRole) => can(principal, 'decide', { requiredRole })),
    projects: projects.includes(everyProject) ? 'all' : projects,
    runId,
    nowMs,
  };
}

/**
 * Whether the projects of a principal, or its run, include all projects of another one. `other` is undefined for an
 * unauthenticated connection, which only `['*']` covers.
 */
export function coversProjects(
  { projects, runId }: Principal,
  other: Pick<Principal, 'projects' | 'runId'> | undefined,
): boolean {
  if (runId !== undefined && runId !== other?.runId) return false;
  return projects.includes(everyProject) || (other?.projects.every((id) => projects.includes(id)) ?? false);
}

/**
 * The projects on which a principal may perform an action: with `runId`, on the run of that id, and otherwise on the whole
 * project. A principal of one run has no whole project.
 */
export function projectsFor(principal: Principal, action: Action, runId?: string): readonly string[] | 'all' {
  if (!can(principal, action)) return [];
  if (principal.runId !== undefined && principal.runId !== runId) return [];
  return principal.projects.includes(everyProject) ? 'all' : [...new Set(principal.projects)];
}

/**
 * Returns the projects to search, for the run `runId` if it is given: only `projectId` if it is given, or none if the
 * principal may not read it; otherwise all that the principal may read. Undefined means every project. Unreadable projects
 * are never searched, so response times do not depend on their content.
 */
export function searchableProjects(
  principal: Principal,
  { projectId, runId }: Pick<Resource, 'projectId' | 'runId'>,
): readonly string[] | undefined {
  if (projectId !== undefined) return can(principal, 'read', { projectId, runId }) ? [projectId] : [];
  const projects = projectsFor(principal, 'read', runId);
  return projects === 'all' ? undefined : projects;
}

/**
 * Returns what a list over several runs may contain: the projects, or `projectId` alone, that the principal may read, and for
 * a principal of one run only this run.
 */
export function listScope(
  principal: Principal,
  projectId?: string,
): { projects: readonly string[] | 'all'; runId: string | undefined } {
  const { runId } = principal;
  return { projects: searchableProjects(principal, { projectId, runId }) ?? 'all', runId };
}

/** Returns a key that is equal for principals that may read the same projects, or the same run. */
export function readKey(principal: Principal): string {
  if (!can(principal, 'read')) return '';
  const { projects, runId } = principal;
  return JSON.stringify([projects.includes(everyProject) ? everyProject : [...projects].sort(), runId]);
}

/** Throws `FORBIDDEN` unless {@link can} permits the action. */
export function requirePermission(principal: Principal, action: Action, resource: Resource = {}): void {
  if (!can(principal, action, resource)) throw new RunwireError('FORBIDDEN', `not allowed: ${action}`);
}
