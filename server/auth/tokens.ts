import { randomUUID } from 'node:crypto';
import { type JWTPayload, type JWTVerifyOptions, jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import * as field from '../../shared/fields.ts';
import { type Authenticate, type Principal, type Role, roles } from './principal.ts';

const claimsSchema = z.object({
  sub: field.id(), // The `actor` of published events.
  projects: z.array(z.string()),
  roles: z.array(z.enum(roles)),
  exp: z.number(),
  iat: z.number().optional(),
  jti: field.id().optional(),
});

/** How far the issuer's clock may be ahead: a token is valid this long before its `nbf`, and never after its `exp`. */
const CLOCK_TOLERANCE_SECONDS = 5;

export type TokenChecks = {
  issuer?: string | undefined;
  audience?: string | undefined;
  /** Called when a token has a valid signature but a missing or invalid claim, with the name of that claim. */
  onBadClaim?: ((claim: string) => void) | undefined;
};

export type TokenOptions = TokenChecks & { secret: string };
export type Claims = {
  sub: string;
  projects: readonly string[];
  roles: readonly Role[];
  ttlSeconds: number;
  /** Id of the token. Default: a random UUID. */
  jti?: string;
};

/** Returns a function that verifies HS256 tokens: signature, expiry and claims, and if set, issuer and audience. */
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

/** Converts the claims of a token with a valid signature. Throws `UNAUTHENTICATED` if they are invalid or expired. */
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

/** Signs an HS256 token. {@link hs256} with the same options accepts it. */
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

/** Encodes a secret. RFC 7518 requires a key at least as long as the hash (32 bytes). */
function secretKey(secret: string): Uint8Array {
  const key = new TextEncoder().encode(secret);
  if (key.length < 32) throw new RunwireError('INVALID_INPUT', 'AUTH_SECRET must have at least 32 bytes');
  return key;
}
