import { RunwireError } from '../../shared/errors.ts';
import { everyProject, type Principal, type Role } from './principal.ts';

/**
 * What there is to do, each with the roles that allow it; the table stands in SPEC.md (A3). All but `stats` and `verify`
 * concern a project, and `revoke` {@link everyProject}: a token is not of one.
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
} as const satisfies Record<string, readonly Role[]>;
export type Action = keyof typeof allowed;
/** `requiredRole`: that of an approval, which alone may `decide` it; default `approver`. */
export type Resource = { projectId?: string | undefined; requiredRole?: string | undefined };
/** Whether a principal may do something, on a project where the action concerns one. The only place that decides. */
export function can(principal: Principal, action: Action, resource: Resource = {}): boolean {
  const { projectId, requiredRole } = resource;
  const sufficient: readonly string[] =
    action === 'decide' && requiredRole !== undefined ? [requiredRole] : allowed[action];
  if (!principal.roles.some((role) => sufficient.includes(role))) return false;
  return projectId === undefined || principal.projects.includes(everyProject) || principal.projects.includes(projectId);
}

/** Whether one has every project that the other has; what has not said who it is may have any. */
export function coversProjects({ projects }: Principal, other: Principal | undefined): boolean {
  return projects.includes(everyProject) || (other?.projects.every((id) => projects.includes(id)) ?? false);
}

/** The projects on which a principal may do something. */
export function projectsFor(principal: Principal, action: Action): readonly string[] | 'all' {
  if (!can(principal, action)) return [];
  return principal.projects.includes(everyProject) ? 'all' : [...new Set(principal.projects)];
}

/**
 * The projects to look for something in that a principal may read, be it one that is named; undefined for all. What is
 * not looked for in others takes as long there as where there is nothing.
 */
export function searchableProjects(principal: Principal, projectId: string | undefined): readonly string[] | undefined {
  if (projectId !== undefined) return can(principal, 'read', { projectId }) ? [projectId] : [];
  const projects = projectsFor(principal, 'read');
  return projects === 'all' ? undefined : projects;
}

/** Equal for principals who may read the same. */
export function readKey(principal: Principal): string {
  if (!can(principal, 'read')) return '';
  return JSON.stringify(principal.projects.includes(everyProject) ? everyProject : [...principal.projects].sort());
}

/** Throws `FORBIDDEN` where {@link can} says no. */
export function requirePermission(principal: Principal, action: Action, resource: { projectId?: string } = {}): void {
  if (!can(principal, action, resource)) throw new RunwireError('FORBIDDEN', `not allowed: ${action}`);
}
