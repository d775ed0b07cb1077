import { existsSync, readFileSync } from 'node:fs';
import { InvalidArgumentError, Option } from 'commander';
import type { TokenSource } from '../../client/connection/token-cache.ts';
import { RunwireError } from '../../shared/errors.ts';
import { roles } from '../auth/principal.ts';
import { signToken, type TokenOptions } from '../auth/tokens.ts';
import { type Config, isLoopback, loadConfig, readEnvironment, secretPath } from '../config.ts';
import { UsageError } from './errors.ts';

export type TargetOptions = { url?: string; token?: string };

/** A server and a token it should accept. */
export type Target = { url: string; token: TokenSource };

export const urlOption = () =>
  new Option('--url <url>', 'the server; default RUNWIRE_URL, else the local one').argParser(parseUrl);
export const tokenOption = () =>
  new Option(
    '--token <token>',
    'the token; default RUNWIRE_TOKEN, else, for a local server, one signed with its secret',
  );

/** How long the tokens that the commands sign for themselves are good for. */
const LOCAL_TOKEN_SECONDS = 3_600;

/**
 * Finds the server and the token: from options, environment, or what the server of this folder has left there, whose
 * configuration is looked at only where one of them is missing. A token that is signed here is signed anew when it is
 * about to expire.
 */
export function targetOf(options: TargetOptions): Target {
  const environment = readEnvironment();
  const named = options.url ?? environment.RUNWIRE_URL;
  const token = options.token ?? environment.RUNWIRE_TOKEN;
  const url = named === undefined ? localUrl(localConfig(environment)) : namedUrl(named);
  if (token !== undefined) return { url, token };
  // What is signed here is good for everything, and must not leave this machine.
  if (!isLoopback(new URL(url).hostname.replace(/^\[|\]$/g, ''))) {
    throw new UsageError('--token or RUNWIRE_TOKEN is needed for a server elsewhere: none is signed here for it');
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

/** What the local server checks tokens with. Throws `UNAUTHENTICATED` when it has made no secret yet. */
export function localSigning(): TokenOptions {
  const environment = readEnvironment();
  return signingOptions(environment, localConfig(environment));
}

function signingOptions(environment: Record<string, string>, config: Config): TokenOptions {
  if (config.authJwksUrl !== undefined) {
    const message = 'AUTH_JWKS_URL is set, and tokens are its issuer’s to make: pass one by --token or RUNWIRE_TOKEN';
    throw new RunwireError('UNAUTHENTICATED', message);
  }
  return {
    secret: environment.AUTH_SECRET ?? readSecret(secretPath(config.databaseUrl)),
    issuer: config.authIssuer,
    audience: config.authAudience,
  };
}

// A stand-in keeps loadConfig from making a secret: only a server makes one.
const localConfig = (environment: Record<string, string>): Config =>
  loadConfig({ AUTH_SECRET: environment.AUTH_JWKS_URL === undefined ? 'x'.repeat(32) : undefined, ...environment });

function readSecret(path: string): string {
  if (existsSync(path)) return readFileSync(path, 'utf8').trim();
  throw new RunwireError(
    'UNAUTHENTICATED',
    `no secret at ${path}: start the server there, or set DATABASE_URL as it has it, AUTH_SECRET or RUNWIRE_TOKEN`,
  );
}

function localUrl({ host, port }: Config): string {
  if (port === 0) throw new UsageError('--url or RUNWIRE_URL is needed: PORT is 0');
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

function namedUrl(value: string): string {
  try {
    return parseUrl(value);
  } catch {
    throw new UsageError('RUNWIRE_URL: must be an address such as http://127.0.0.1:3001');
  }
}

function parseUrl(value: string): string {
  const isAddress = URL.canParse(value) && /^(https?|wss?):$/.test(new URL(value).protocol);
  if (!isAddress) throw new InvalidArgumentError('Must be an address such as http://127.0.0.1:3001.');
  return value;
}
