import { scopeId } from '../../shared/fields.ts';
import type { OidcSettings } from './oidc-options.ts';
import { everyProject, type Principal, principalSchema, type Role, roles } from './principal.ts';

/** The user that a provider's claims state. */
export type OidcUser = Pick<Principal, 'sub' | 'projects' | 'roles' | 'name'>;

type Claims = Readonly<Record<string, unknown>>;

/** More projects than this are ignored: every check of a permission looks through them. */
const MAX_PROJECTS = 1_000;
const MAX_NAME_CHARS = 200;

/** Whether a claim of the user may be missing in `claims` and be in the answer of the provider's userinfo endpoint. */
export const isIncomplete = (claims: Claims, { projectsClaim, rolesClaim }: OidcSettings): boolean =>
  [projectsClaim, rolesClaim].some((name) => claimOf(claims, name) === undefined) || nameOf(claims) === undefined;

/**
 * Returns the user; undefined if `sub` cannot be a user id of Runwire. Projects and roles are lists, or texts with blanks or
 * commas between the values. Values that are no id of a project, or no role, are left out.
 */
export function userOf(claims: Claims, { projectsClaim, rolesClaim }: OidcSettings): OidcUser | undefined {
  const sub = principalSchema.shape.sub.safeParse(claims.sub);
  if (!sub.success) return undefined;
  const isProject = (value: string) => value === everyProject || scopeId().safeParse(value).success;
  const projects = [...new Set(valuesOf(claimOf(claims, projectsClaim)).filter(isProject))].slice(0, MAX_PROJECTS);
  const named = new Set(valuesOf(claimOf(claims, rolesClaim)));
  const name = nameOf(claims);
  return {
    sub: sub.data,
    projects: projects.includes(everyProject) ? [everyProject] : projects,
    roles: roles.filter((role): role is Role => named.has(role)),
    ...(name === undefined ? {} : { name }),
  };
}

/** The claim with this name, or else at this path. A name may have dots itself, as `https://example.org/roles` has. */
function claimOf(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  return name
    .split('.')
    .reduce<unknown>(
      (value, key) =>
        typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? (value as Claims)[key] : undefined,
      claims,
    );
}

function valuesOf(claim: unknown): string[] {
  if (typeof claim === 'string') return claim.split(/[\s,]+/).filter((value) => value !== '');
  return Array.isArray(claim) ? claim.filter((value) => typeof value === 'string') : [];
}

/** The name to show, without control characters and marks that turn the direction of a text. */
export function nameOf(claims: Claims): string | undefined {
  const claim = [claims.name, claims.preferred_username].find(
    (value) => typeof value === 'string' && value.trim() !== '',
  );
  if (typeof claim !== 'string') return undefined;
  const name = claim
    .toWellFormed()
    .replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069\s]+/gu, ' ')
    .trim()
    .slice(0, MAX_NAME_CHARS);
  return name === '' ? undefined : name.toWellFormed();
}
