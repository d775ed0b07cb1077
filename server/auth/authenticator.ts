import type { Logger } from 'pino';
import { RunwireError } from '../../shared/errors.ts';
import type { Registry } from '../../shared/registry.ts';
import type { RunServerOptions } from '../run-server.ts';
import { jwks } from './jwks.ts';
import type { Authenticate } from './principal.ts';
import { hs256, type TokenChecks } from './tokens.ts';

export function authenticatorOf<R extends Registry>(options: RunServerOptions<R>, logger: Logger): Authenticate {
  const { authenticate, authSecret: secret, authJwksUrl: url } = options;
  if (authenticate) return authenticate;
  if (secret !== undefined && url !== undefined) {
    throw new RunwireError('INVALID_INPUT', 'only one of authSecret and authJwksUrl may be given', {
      path: 'authJwksUrl',
    });
  }
  const toldAt = new Map<string, number>();
  const checks: TokenChecks = {
    issuer: options.authIssuer,
    audience: options.authAudience,
    onBadClaim: (claim) => {
      if (performance.now() - (toldAt.get(claim) ?? Number.NEGATIVE_INFINITY) < CLAIM_INTERVAL_MS) return;
      toldAt.set(claim, performance.now());
      logger.warn({ claim }, 'a token was refused whose signature is good: a claim is missing, or not as it has to be');
    },
  };
  if (secret !== undefined) return hs256({ secret, ...checks });
  if (url !== undefined) return jwks({ url, logger, ...checks });
  throw new RunwireError('INVALID_INPUT', 'createRunServer needs authSecret, authJwksUrl or authenticate', {
    path: 'authSecret',
  });
}

/** How often the log is told of one and the same claim of tokens. */
export const CLAIM_INTERVAL_MS = 60000;
