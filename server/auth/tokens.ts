import { createHmac, createSecretKey, type KeyObject, randomUUID, timingSafeEqual } from 'node:crypto';
import { decodeProtectedHeader, errors, type JWTPayload, type JWTVerifyOptions, UnsecuredJWT } from 'jose';
import { z } from 'zod';
import { objectOf, RunwireError } from '../../shared/errors.ts';
import { describeIssue } from '../../shared/issues.ts';
import { nameOf } from './oidc-claims.ts';
import { fitsRun, LATEST_MS, type Principal, principalSchema, type Role, type Verify } from './principal.ts';
import { verifiedOnce } from './verified-tokens.ts';

const { sub, projects, roles, runId, jti } = principalSchema.shape;
/** Seconds. A larger number, such as one in milliseconds, would be no date, and no integer that a store returns unchanged. */
const numericDate = z
  .number()
  .nonnegative()
  .max(LATEST_MS / 1000);
const claimsSchema = z
  .object({
    sub,
    projects,
    roles,
    runId,
    jti,
    exp: numericDate,
    iat: numericDate.optional(),
    nbf: numericDate.optional(),
  })
  .refine(fitsRun, { path: ['runId'] });

/** Maximum length of a token, whichever way it is sent. Node accepts 16 KiB of HTTP headers together. */
export const MAX_TOKEN_CHARS = 12_288;

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
  /** Lifetime in seconds. Default 3,600. */
  ttlSeconds?: number;
  /** The only run that the token is for, in its only project. Default: all runs of `projects`. */
  runId?: string;
  /** Id of the token. Default: a random UUID. */
  jti?: string;
};

/** Returns a function that verifies HS256 tokens: signature, expiry and claims, and if set, issuer and audience. */
export function hs256({ secret, ...checks }: TokenOptions): Verify {
  const key = secretKey(secret);
  const options = verifyOptions(['HS256'], checks);
  const verify = (token: string) => {
    try {
      return principalOf(claimsOf(token, key, options), checks);
    } catch (error) {
      throw refusalOf(error, checks);
    }
  };
  return verifiedOnce(verify, () => key);
}

/** Headers of tokens: `{"alg":"none"}` and `{"alg":"HS256"}`. */
const UNSECURED = 'eyJhbGciOiJub25lIn0';
const SIGNED = 'eyJhbGciOiJIUzI1NiJ9';

/** jose computes an HMAC on another thread, which takes ten times as long. It encodes and checks the claims alone. */
const signatureOf = (text: string, key: KeyObject): string =>
  createHmac('sha256', key).update(text).digest('base64url');

/** Verifies the signature of an HS256 token. Returns its claims, which jose checks as those of an unsecured token. */
function claimsOf(token: string, key: KeyObject, options: JWTVerifyOptions): JWTPayload {
  const [header = '', payload = '', signature = '', ...rest] = token.split('.', 4);
  // Compared as text, because a decoder accepts several texts for the same bytes.
  const actual = Buffer.from(signature);
  const expected = Buffer.from(signatureOf(`${header}.${payload}`, key));
  if (rest.length > 0 || actual.length !== expected.length || !timingSafeEqual(actual, expected)) throw badToken();
  const { alg, crit } = decodeProtectedHeader(token);
  if (alg !== 'HS256' || crit !== undefined) throw badToken();
  return UnsecuredJWT.decode(`${UNSECURED}.${payload}.`, options).payload;
}

/** `claim` is the name of the invalid claim of a token with a valid signature; `cause` that it has expired. */
export const badToken = (claim?: string, cause?: errors.JWTExpired): RunwireError =>
  new RunwireError('UNAUTHENTICATED', 'the token is missing, malformed, forged or expired', { path: claim, cause });

/** When the token of an error with a valid signature expired, in Unix ms; undefined if it was refused for another reason. */
export function expiredAtMs(error: unknown): number | undefined {
  const cause = error instanceof RunwireError ? error.cause : undefined;
  return cause instanceof errors.JWTExpired && cause.payload.exp !== undefined ? cause.payload.exp * 1000 : undefined;
}

/** Returns the error for a token that did not verify. jose checks the signature first, and the claims after it. */
export function refusalOf(error: unknown, { onBadClaim }: TokenChecks): RunwireError {
  if (error instanceof RunwireError) return error;
  if (error instanceof errors.JWTExpired) return badToken(undefined, error);
  if (!(error instanceof errors.JWTClaimValidationFailed)) return badToken();
  onBadClaim?.(error.claim);
  return badToken(error.claim);
}

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
    const claim = String(parsed.error.issues[0]?.path[0]);
    onBadClaim?.(claim);
    throw badToken(claim);
  }
  const { sub, projects, roles, runId, exp, iat, jti } = parsed.data;
  const name = nameOf(payload);
  if (exp * 1000 <= Date.now()) throw badToken();
  return {
    sub,
    projects,
    roles,
    ...(runId === undefined ? {} : { runId }),
    ...(name === undefined ? {} : { name }),
    expiresAtMs: exp * 1000,
    ...(jti === undefined ? {} : { jti }),
    ...(iat === undefined ? {} : { issuedAtMs: iat * 1000 }),
  };
}

const signedSchema = z
  .object({ sub, projects, roles, runId, jti, ttlSeconds: z.number().optional() })
  .refine(fitsRun, { path: ['runId'], error: 'needs exactly one project' });

/**
 * Signs an HS256 token. `hs256` with the same options accepts it. Rejects with `INVALID_INPUT` and the path of the field
 * for claims that it would refuse, such as a `runId` with several projects.
 */
export async function signToken(options: TokenOptions, claims: Claims): Promise<string> {
  const { secret, issuer, audience } = objectOf(options, 'options');
  const issue = signedSchema.safeParse(objectOf(claims, 'claims')).error?.issues[0];
  if (issue) {
    const { path, message } = describeIssue(issue);
    throw new RunwireError('INVALID_INPUT', `${path || 'the claims'}: ${message}`, path ? { path } : {});
  }
  const { projects, roles, runId, ttlSeconds = 3_600 } = claims;
  const token = new UnsecuredJWT({
    projects: [...projects],
    roles: [...roles],
    ...(runId === undefined ? {} : { runId }),
  })
    .setSubject(claims.sub)
    .setJti(claims.jti ?? randomUUID())
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + ttlSeconds);
  if (issuer !== undefined) token.setIssuer(issuer);
  if (audience !== undefined) token.setAudience(audience);
  const text = `${SIGNED}.${token.encode().split('.')[1]}`;
  return `${text}.${signatureOf(text, secretKey(secret))}`;
}

/** Encodes a secret. RFC 7518 requires a key at least as long as the hash (32 bytes). */
function secretKey(secret: string): KeyObject {
  // A variable that is not set gives undefined.
  const bytes = Buffer.from(typeof secret === 'string' ? secret : '');
  if (bytes.length < 32) throw new RunwireError('INVALID_INPUT', 'AUTH_SECRET must have at least 32 bytes');
  return createSecretKey(bytes);
}
