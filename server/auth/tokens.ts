import { randomBytes, randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type JWTPayload, type JWTVerifyOptions, jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import * as field from '../../shared/fields.ts';

/** Who calls, and what they may do. */

export const roles = ['viewer', 'approver', 'producer', 'admin'] as const;
export type Role = (typeof roles)[number];

export type Principal = {
  /** Subject of the token: the user id in events. */
  sub: string;
  /** Project ids, or `['*']` for all. */
  projects: readonly string[];
  roles: readonly Role[];
  /** Id of the token, by which it can be revoked. */
  jti?: string | undefined;
  /** Unix ms. A token without it does not outlive a revocation of its subject. */
  issuedAtMs?: number | undefined;
  /** Unix ms; absent for what never expires, as a principal that server code made itself. */
  expiresAtMs?: number | undefined;
};

/** Turns a token into a principal; throws `UNAUTHENTICATED`, or `UNAVAILABLE` where it cannot tell now. */
export type Authenticate = (token: string) => Promise<Principal>;

/**
 * What there is to do, each with the roles that allow it; the table stands in SPEC.md (A3). All but `stats` and `verify`
 * concern a project, and `revoke` {@link everyProject}: a token is not of one.
 */
const allowed = {
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
export type Resource = { projectId?: string; requiredRole?: string };

/** As a resource, what only `projects: ['*']` covers. */
export const everyProject = '*';

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
export function readableAmong(principal: Principal, projectId: string | undefined): readonly string[] | undefined {
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
export function demand(principal: Principal, action: Action, resource: { projectId?: string } = {}): void {
  if (!can(principal, action, resource)) throw new RunwireError('FORBIDDEN', `not allowed: ${action}`);
}

const claimsSchema = z.object({
  sub: field.id(), // It becomes the `actor` of events.
  projects: z.array(z.string()),
  roles: z.array(z.enum(roles)),
  exp: z.number(),
  iat: z.number().optional(),
  jti: field.id().optional(),
});

/** How far the issuer's clock may be ahead: a token is good so long before its `nbf`; after `exp` it never is. */
const CLOCK_TOLERANCE_SECONDS = 5;

export type TokenChecks = {
  issuer?: string | undefined;
  audience?: string | undefined;
  /** Told which claim of a token, whose signature is good, is missing or is not as it has to be. */
  onBadClaim?: ((claim: string) => void) | undefined;
};
export type TokenOptions = TokenChecks & { secret: string };
export type Claims = {
  sub: string;
  projects: readonly string[];
  roles: readonly Role[];
  ttlSeconds: number;
  /** Default a UUID. */
  jti?: string;
};

/** Checks HS256 tokens signed with a secret: signature, expiry, issuer and audience where set, and the claims. */
export function hs256({ secret, ...checks }: TokenOptions): Authenticate {
  const key = secretKey(secret);
  return async (token) => {
    try {
      return principalOf((await jwtVerify(token, key, verifyOptions(['HS256'], checks))).payload, checks);
    } catch {
      throw badToken();
    }
  };
}

export const badToken = (): RunwireError =>
  new RunwireError('UNAUTHENTICATED', 'the token is missing, malformed, forged or expired');

export const verifyOptions = (algorithms: string[], { issuer, audience }: TokenChecks): JWTVerifyOptions => ({
  algorithms,
  clockTolerance: CLOCK_TOLERANCE_SECONDS,
  ...(issuer === undefined ? {} : { issuer }),
  ...(audience === undefined ? {} : { audience }),
});

/** Who holds a token with a good signature. Throws when its claims do not say so, or when it has expired. */
export function principalOf(payload: JWTPayload, { onBadClaim }: TokenChecks): Principal {
  const parsed = claimsSchema.safeParse(payload);
  if (!parsed.success) {
    onBadClaim?.(String(parsed.error.issues[0]?.path[0]));
    throw badToken();
  }
  const { sub, projects, roles, exp, iat, jti } = parsed.data;
  if (exp * 1000 <= Date.now()) throw badToken();
  return {
    sub,
    projects,
    roles,
    expiresAtMs: exp * 1000,
    ...(jti === undefined ? {} : { jti }),
    ...(iat === undefined ? {} : { issuedAtMs: iat * 1000 }),
  };
}

/** Signs an HS256 token that {@link hs256} with the same options accepts. */
export function signToken({ secret, issuer, audience }: TokenOptions, claims: Claims): Promise<string> {
  const token = new SignJWT({ projects: [...claims.projects], roles: [...claims.roles] })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(claims.sub)
    .setJti(claims.jti ?? randomUUID())
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + claims.ttlSeconds);
  if (issuer !== undefined) token.setIssuer(issuer);
  if (audience !== undefined) token.setAudience(audience);
  return token.sign(secretKey(secret));
}

/** RFC 7518 asks for a key as long as the hash. */
function secretKey(secret: string): Uint8Array {
  const key = new TextEncoder().encode(secret);
  if (key.length < 32) throw new RunwireError('INVALID_INPUT', 'AUTH_SECRET must have at least 32 bytes');
  return key;
}

/** Reads the secret of a data folder; makes it, readable by its owner alone, where there is none. */
export function localSecret(path: string): string {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  try {
    writeFileSync(path, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  chmodSync(path, 0o600);
  return readFileSync(path, 'utf8').trim();
}
