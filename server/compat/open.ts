import { randomBytes } from 'node:crypto';
import pino from 'pino';
import { type CompatEvents, compatEvents } from '../../shared/compat-events.ts';
import { COMPAT_PROJECT, claimsOf, runForUser } from '../../shared/compat-names.ts';
import { RunwireError } from '../../shared/errors.ts';
import { createAuthenticator } from '../auth/authenticator.ts';
import { type Authenticate, everyProject, type Verify } from '../auth/principal.ts';
import { loadConfig, readEnvironment } from '../config.ts';
import { openRunServer, type RunServer } from '../run-server.ts';

/** Opens the server below the former names, from the environment. */

/** Events that a server keeps in memory, without `DATABASE_URL`: those of the last hour. */
const KEPT_DAYS = 1 / 24;

/** Throws `INVALID_INPUT` at once for an environment that cannot work. */
export function openFromEnvironment(): Promise<RunServer<CompatEvents>> {
  const environment = readEnvironment();
  const databaseUrl = environment.DATABASE_URL ?? 'memory:';
  const isSecured = ['AUTH_SECRET', 'AUTH_JWKS_URL', 'OIDC_ISSUER'].some((name) => environment[name] !== undefined);
  if (!isSecured && environment.NODE_ENV === 'production') {
    const message =
      'in production, set AUTH_SECRET or AUTH_JWKS_URL: the former system believed the user that a page named (docs/migrating.md)';
    throw new RunwireError('INVALID_INPUT', message, { path: 'AUTH_SECRET' });
  }
  if (environment.REDIS_URL !== undefined && environment.DATABASE_URL === undefined) {
    const message =
      'REDIS_URL needs a DATABASE_URL that begins with postgres://: servers share a log, and not only messages (docs/migrating.md)';
    throw new RunwireError('INVALID_INPUT', message, { path: 'REDIS_URL' });
  }
  if (!isSecured) {
    console.warn(
      '[WebSocketManager] without AUTH_SECRET every client of this machine may name any user; a proxy may make other machines its clients',
    );
  }
  // Without keys the configuration would make a secret of this machine. Here no token is signed, so it has a random one.
  const secret = isSecured ? {} : { AUTH_SECRET: randomBytes(32).toString('base64url') };
  const config = loadConfig({ ...environment, ...secret, DATABASE_URL: databaseUrl });
  const logger = pino({ level: 'warn' });
  const authenticate = isSecured ? withOwnMessages(createAuthenticator(config, logger)) : believed;
  return openRunServer<CompatEvents>({
    ...config,
    ...{ authSecret: undefined, authJwksUrl: undefined, authenticate, logger, events: compatEvents },
    retentionDays: config.retentionDays ?? (databaseUrl === 'memory:' ? KEPT_DAYS : undefined),
    onlyThisMachine: !isSecured,
  });
}

/** The user that a page names, as in the former system. {@link openFromEnvironment} lets only this machine connect then. */
const believed: Authenticate = async (token) => {
  const claims = claimsOf(token);
  if (!claims) throw new RunwireError('UNAUTHENTICATED', 'set AUTH_SECRET to use tokens');
  return { sub: claims.userId ?? 'anonymous', projects: [everyProject], roles: ['viewer'] };
};

/** Adds the projects of what is sent to all and to the user to the projects of a token. */
function withOwnMessages(authenticate: Verify): Authenticate {
  return async (token) => {
    const principal = await authenticate(token);
    if (principal.runId !== undefined || principal.projects.includes(everyProject)) return principal;
    const own = [COMPAT_PROJECT, runForUser(principal.sub).projectId];
    return { ...principal, projects: [...principal.projects, ...own] };
  };
}
