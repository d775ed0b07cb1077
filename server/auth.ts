import { randomBytes, randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import { RunwireError } from '../shared/errors.ts';
import * as field from '../shared/text.ts';

/** Who calls, and what they may do. */

export const roles = ['viewer', 'approver', 'producer', 'admin'] as const;
export type Role = (typeof roles)[number];

export type Principal = {
  /** Subject of the token: the user id in events. */
  sub: string;
  /** Project ids, or `['*']` for all. */
  projects: readonly string[];
  roles: readonly Role[];
  /** Unix ms; absent for a principal that server code made itself. */
  expiresAtMs?: number;
};

/** Turns a token into a principal; throws `UNAUTHENTICATED`. */
export type Authenticate = (token: string) => Promise<Principal>;

/**
 * What there is to do, each with the roles that allow it; the table stands in SPEC.md (A3). All but `stats` concern a
 * project.
 */
const allowed = {
  read: ['viewer', 'approver', 'admin'],
  publish: ['producer', 'admin'],
  decide: ['approver'],
  stats: ['admin'],
} as const satisfies Record<string, readonly Role[]>;
export type Action = keyof typeof allowed;

/** `requiredRole`: that of an approval, which alone may `decide` it; default `approver`. */
export type Resource = { projectId?: string; requiredRole?: string };

/** Whether a principal may do something, on a project where the action concerns one. The only place that decides. */
export function can(principal: Principal, action: Action, resource: Resource = {}): boolean {
  const { projectId, requiredRole } = resource;
  const sufficient: readonly string[] =
    action === 'decide' && requiredRole !== undefined ? [requiredRole] : allowed[action];
  if (!principal.roles.some((role) => sufficient.includes(role))) return false;
  return projectId === undefined || principal.projects.includes('*') || principal.projects.includes(projectId);
}

/** Equal for principals who may read the same. */
export function readKey(principal: Principal): string {
  if (!can(principal, 'read')) return '';
  return JSON.stringify(principal.projects.includes('*') ? '*' : [...principal.projects].sort());
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
});

export type TokenOptions = { secret: string; issuer?: string | undefined; audience?: string | undefined };
export type Claims = { sub: string; projects: readonly string[]; roles: readonly Role[]; ttlSeconds: number };

/** Checks HS256 tokens signed with a secret: signature, expiry, issuer and audience where set, and the claims. */
export function hs256({ secret, issuer, audience }: TokenOptions): Authenticate {
  const key = secretKey(secret);
  return async (token) => {
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms: ['HS256'],
        requiredClaims: ['exp'],
        ...(issuer === undefined ? {} : { issuer }),
        ...(audience === undefined ? {} : { audience }),
      });
      const { sub, projects, roles, exp } = claimsSchema.parse(payload);
      return { sub, projects, roles, expiresAtMs: exp * 1000 };
    } catch {
      throw new RunwireError('UNAUTHENTICATED', 'the token is missing, malformed, forged or expired');
    }
  };
}

/** Signs an HS256 token that {@link hs256} with the same options accepts. */
export function signToken({ secret, issuer, audience }: TokenOptions, claims: Claims): Promise<string> {
  const token = new SignJWT({ projects: [...claims.projects], roles: [...claims.roles] })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(claims.sub)
    .setJti(randomUUID())
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

/** Whether a browser at `origin` may call a server that was addressed as `host`; an absent Origin is no browser's. */
export function isAllowedOrigin(
  origin: string | undefined,
  host: string | undefined,
  allowedOrigins: readonly string[],
): boolean {
  if (origin === undefined) return true;
  if (allowedOrigins.includes(origin)) return true;
  try {
    return Boolean(host) && new URL(origin).host === host;
  } catch {
    return false; // `null` of a sandboxed page, for one.
  }
}
