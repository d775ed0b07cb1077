import type { Logger } from 'pino';
import { RunwireError } from '../../shared/errors.ts';
import { jwks } from './jwks.ts';
import type { Authenticate } from './principal.ts';
import { hs256, type TokenChecks } from './tokens.ts';

/** How a server checks tokens. Exactly one of `authSecret`, `authJwksUrl` and `authenticate` is required. */
export type AuthOptions = {
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
export function createAuthenticator(options: AuthOptions, logger: Logger): Authenticate {
  const { authenticate, authSecret: secret, authJwksUrl: url } = options;
  if (authenticate) return authenticate;
  if (secret !== undefined && url !== undefined) {
    throw new RunwireError('INVALID_INPUT', 'set either authSecret or authJwksUrl, not both', { path: 'authJwksUrl' });
  }
  const loggedAt = new Map<string, number>();
  const checks: TokenChecks = {
    issuer: options.authIssuer,
    audience: options.authAudience,
    onBadClaim: (claim) => {
      if (performance.now() - (loggedAt.get(claim) ?? Number.NEGATIVE_INFINITY) < CLAIM_LOG_INTERVAL_MS) return;
      loggedAt.set(claim, performance.now());
      logger.warn({ claim }, 'refused a token with a valid signature: a claim is missing or invalid');
    },
  };
  if (secret !== undefined) return hs256({ secret, ...checks });
  if (url !== undefined) return jwks({ url, logger, ...checks });
  throw new RunwireError('INVALID_INPUT', 'createRunServer requires authSecret, authJwksUrl or authenticate', {
    path: 'authSecret',
  });
}
