import type { Logger } from 'pino';
import { RunwireError } from '../../shared/errors.ts';
import { jwks } from './jwks.ts';
import { type OidcOptions, oidcSettingsOf } from './oidc-options.ts';
import { type Authenticate, type Principal, principalSchema, type Verify } from './principal.ts';
import { badToken, hs256, type TokenChecks } from './tokens.ts';

/**
 * How a server checks tokens, and how users sign in. Exactly one of `authSecret`, `authJwksUrl` and `authenticate` is required.
 * With OpenID Connect it may be one of the first two, for tokens of programs, or none.
 */
export type AuthOptions = OidcOptions & {
  /** Secret that signs the tokens (HS256), at least 32 bytes. */
  authSecret?: string | undefined;
  /** URL of the issuer's public keys (JWKS). */
  authJwksUrl?: string | undefined;
  /** Converts a token to a principal. Throws a `RunwireError` `UNAUTHENTICATED` to refuse the token. */
  authenticate?: Authenticate;
  /** Required `iss` claim. Default: any. */
  authIssuer?: string | undefined;
  /** Required `aud` claim. Default: any. */
  authAudience?: string | undefined;
};

/** The same invalid claim is logged at most once in this time: clients may send any number of such tokens. */
const CLAIM_LOG_INTERVAL_MS = 60_000;

/** Returns the function that checks tokens. Throws `INVALID_INPUT` for missing or contradictory options. */
export function createAuthenticator(options: AuthOptions, logger: Logger): Verify {
  const { authenticate, authSecret: secret, authJwksUrl: url } = options;
  const isOidc = oidcSettingsOf(options) !== undefined;
  if (isOidc && authenticate) {
    const message = 'not together with authenticate: the application that checks the tokens signs its users in';
    throw new RunwireError('INVALID_INPUT', message, { path: 'oidcIssuer' });
  }
  const loggedAt = new Map<string, number>();
  const warn = (claim: string, message: string) => {
    if (performance.now() - (loggedAt.get(claim) ?? Number.NEGATIVE_INFINITY) < CLAIM_LOG_INTERVAL_MS) return;
    loggedAt.set(claim, performance.now());
    logger.warn({ claim }, message);
  };
  if (authenticate) {
    return async (token) =>
      checkedPrincipal(await authenticate(token), (claim) =>
        warn(claim, 'refused a principal that `authenticate` returned: a field is missing or invalid'),
      );
  }
  if (secret !== undefined && url !== undefined) {
    throw new RunwireError('INVALID_INPUT', 'set either authSecret or authJwksUrl, not both', { path: 'authJwksUrl' });
  }
  const checks: TokenChecks = {
    issuer: options.authIssuer,
    audience: options.authAudience,
    onBadClaim: (claim) => warn(claim, 'refused a token with a valid signature: a claim is missing or invalid'),
  };
  if (secret !== undefined) return hs256({ secret, ...checks });
  if (url !== undefined) return jwks({ url, logger, ...checks });
  if (isOidc) {
    logger.warn('neither AUTH_SECRET nor AUTH_JWKS_URL is set: users can sign in, and no program can send a token');
    return async () => {
      throw badToken();
    };
  }
  throw new RunwireError(
    'INVALID_INPUT',
    'createRunServer requires authSecret, authJwksUrl, oidcIssuer or authenticate',
    {
      path: 'authSecret',
    },
  );
}

/**
 * Checks what a custom `authenticate` has returned, as the claims of a token are checked. Throws `INTERNAL` if it is no
 * principal, which is a defect of `authenticate`, and `UNAUTHENTICATED` if a field is invalid.
 */
function checkedPrincipal(value: unknown, onBadClaim: (claim: string) => void): Principal {
  const { sub, projects, roles } = (value ?? {}) as Partial<Principal>;
  if (typeof sub !== 'string' || sub === '' || !Array.isArray(projects) || !Array.isArray(roles)) {
    throw new RunwireError('INTERNAL', 'authenticate did not return a principal');
  }
  const parsed = principalSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const claim = String(parsed.error.issues[0]?.path[0]);
  onBadClaim(claim);
  throw badToken(claim);
}
