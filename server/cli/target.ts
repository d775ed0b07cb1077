import { existsSync, readFileSync } from 'node:fs';
import type { Agent } from 'node:http';
import { InvalidArgumentError, Option } from 'commander';
import type { TokenSource } from '../../client/connection/token-cache.ts';
import { RunwireError } from '../../shared/errors.ts';
import { roles } from '../auth/principal.ts';
import { signToken, type TokenOptions } from '../auth/tokens.ts';
import { type Config, isLoopback, loadConfig, readEnvironment, secretPath } from '../config.ts';
import { isPostgresUrl } from '../event-log/database-url.ts';
import { UsageError } from './errors.ts';
import { routeThroughProxy } from './proxy.ts';

export type TargetOptions = { url?: string; token?: string };

/** The URL of a server, a token for it, and the agent for WebSockets if a proxy is between. */
export type Target = { url: string; token: TokenSource; agent: Agent | undefined };

export const urlOption = () =>
  new Option('--url <url>', 'URL of the server (default: RUNWIRE_URL, or the local server)').argParser(parseUrl);
export const tokenOption = () =>
  new Option('--token <token>', 'token for the server (default: RUNWIRE_TOKEN, or one signed with the local secret)');

/** Lifetime of the tokens that commands sign for themselves. */
const LOCAL_TOKEN_SECONDS = 3_600;

/**
 * Finds the URL and the token: in the options, then in the environment, then in the configuration of the local server,
 * which the `.env` of this folder sets. That configuration is read only if the URL or the token is missing. The client
 * replaces a locally signed token before it expires.
 */
export async function targetOf(options: TargetOptions): Promise<Target> {
  const target = findTarget(options);
  return { ...target, agent: await routeThroughProxy(target.url) };
}

function findTarget(options: TargetOptions): Pick<Target, 'url' | 'token'> {
  const environment = readEnvironment();
  const token = options.token ?? environment.RUNWIRE_TOKEN;
  const url = urlOf(options, environment);
  if (token !== undefined) return { url, token };
  // A locally signed token has every role in every project: it must not leave this machine.
  if (!isLoopback(new URL(url).hostname.replace(/^\[|\]$/g, ''))) {
    throw new UsageError(
      '--token or RUNWIRE_TOKEN is required for a server on another machine: a locally signed token is for the local server only',
    );
  }
  const config = localConfig(environment);
  return {
    url,
    token: () =>
      signToken(signingOptions(environment, config), {
        sub: 'local',
        projects: ['*'],
        roles,
        ttlSeconds: LOCAL_TOKEN_SECONDS,
      }),
  };
}

/** Returns the URL of the server: of the options, of the environment, or of the local server. */
export function urlOf({ url }: Pick<TargetOptions, 'url'>, environment = readEnvironment()): string {
  const named = url ?? environment.RUNWIRE_URL;
  return named === undefined ? localUrl(localConfig(environment)) : namedUrl(named);
}

/** Returns the URL for a browser: without `/ws`, and with the scheme of HTTP. */
export const httpUrlOf = (url: string): string => url.replace(/^ws/, 'http').replace(/(?:\/ws)?\/*$/, '');

/** Returns the secret, issuer and audience of the local server. Throws `UNAUTHENTICATED` if it has no secret yet. */
export function localSigning(): TokenOptions {
  const environment = readEnvironment();
  return signingOptions(environment, localConfig(environment));
}

function signingOptions(environment: Record<string, string>, config: Config): TokenOptions {
  if (config.authJwksUrl !== undefined) {
    const message = 'AUTH_JWKS_URL is set, so the issuer signs the tokens: pass one with --token or RUNWIRE_TOKEN';
    throw new RunwireError('UNAUTHENTICATED', message);
  }
  if (config.oidcIssuer !== undefined && environment.AUTH_SECRET === undefined) {
    const message = 'OIDC_ISSUER is set without AUTH_SECRET, so the server accepts no signed token: set AUTH_SECRET';
    throw new RunwireError('UNAUTHENTICATED', message);
  }
  return {
    secret: environment.AUTH_SECRET ?? readSecret(config.databaseUrl),
    issuer: config.authIssuer,
    audience: config.authAudience,
  };
}

// The placeholder keeps `loadConfig` from creating a secret: only a server may create it.
export const localConfig = (environment: Record<string, string> = readEnvironment()): Config =>
  loadConfig({ AUTH_SECRET: environment.AUTH_JWKS_URL === undefined ? 'x'.repeat(32) : undefined, ...environment });

function readSecret(databaseUrl: string): string {
  if (isPostgresUrl(databaseUrl)) {
    const message = 'DATABASE_URL is a PostgreSQL database, and its servers have no secret of this machine';
    throw new RunwireError('UNAUTHENTICATED', `${message}: set AUTH_SECRET or RUNWIRE_TOKEN`);
  }
  const path = secretPath(databaseUrl);
  if (existsSync(path)) return readFileSync(path, 'utf8').trim();
  throw new RunwireError(
    'UNAUTHENTICATED',
    `no secret at ${path}: start the server there, or set DATABASE_URL, AUTH_SECRET or RUNWIRE_TOKEN`,
  );
}

function localUrl({ host, port }: Config): string {
  if (port === 0) throw new UsageError('--url or RUNWIRE_URL is required: PORT is 0');
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

function namedUrl(value: string): string {
  try {
    return parseUrl(value);
  } catch {
    throw new UsageError('RUNWIRE_URL: must be a URL such as http://127.0.0.1:3001');
  }
}

function parseUrl(value: string): string {
  const isUrl = URL.canParse(value) && /^(https?|wss?):$/.test(new URL(value).protocol);
  if (!isUrl) throw new InvalidArgumentError('Must be a URL such as http://127.0.0.1:3001.');
  return value;
}
