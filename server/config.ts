import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { z } from 'zod';
import { RunwireError } from '../shared/errors.ts';
import { describeIssue } from '../shared/issues.ts';
import { isKeysUrl } from './auth/jwks.ts';
import { localSecret } from './auth/local-secret.ts';
import { isIssuerUrl, isScopes, type OidcOptions } from './auth/oidc-options.ts';
import { databasePath, isPostgresUrl } from './event-log/database-url.ts';
import { isOrigin } from './http/origins.ts';
import { isNetwork } from './http/trusted-proxies.ts';
import { defaultLimits, type Limits, problemOfLimit, problemOfNumber } from './limits.ts';
import { isAllowEntry } from './webhooks/addresses.ts';

/**
 * Reads the server's configuration from environment variables and `.env`. Only `main.ts` and the CLI use this module: a
 * program that uses the library passes options.
 */

const list = z.string().transform((value) =>
  value
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
);

/** A number of days as text. Blanks are no number: `Number(' ')` is 0. */
const days = z
  .string()
  .transform((value) => (value.trim() === '' ? Number.NaN : Number(value)))
  .superRefine((value, context) => {
    const message = problemOfNumber('Days', value);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });

/** Whether a text is a URL of Redis. */
const isRedisUrl = (text: string): boolean =>
  URL.canParse(text) && /^rediss?:$/.test(new URL(text).protocol) && new URL(text).hostname !== '';

/** Whether a text is an http or https URL without credentials, query and fragment. */
function isWebAddress(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, search, hash } = new URL(text);
  return /^https?:$/.test(protocol) && [username, password, search, hash].every((part) => part === '');
}

const environmentSchema = z.object({
  PORT: z.string().trim().min(1).pipe(z.coerce.number<string>().int().min(0).max(65_535)).default(3001),
  HOST: z.string().min(1).default('127.0.0.1'),
  DATABASE_URL: z.string().default('file:./data/runwire.db'),
  REDIS_URL: z
    .string()
    .refine(isRedisUrl, { error: 'must be a URL such as redis://host:6379 or rediss://user:password@host:6379' })
    .optional(),
  AUDIT_KEY: z.string().optional(),
  AUTH_SECRET: z.string().min(32, { error: 'must have at least 32 characters' }).optional(),
  AUTH_JWKS_URL: z.string().refine(isKeysUrl, { error: 'must be an http or https URL without credentials' }).optional(),
  AUTH_ISSUER: z.string().optional(),
  AUTH_AUDIENCE: z.string().optional(),
  OIDC_ISSUER: z
    .string()
    .refine(isIssuerUrl, {
      error: 'must be an https URL without credentials, query and fragment; http on this machine',
    })
    .optional(),
  OIDC_CLIENT_ID: z.string().optional(),
  OIDC_CLIENT_SECRET: z.string().optional(),
  OIDC_PROJECTS_CLAIM: z.string().optional(),
  OIDC_ROLES_CLAIM: z.string().optional(),
  OIDC_SCOPES: z.string().refine(isScopes, { error: 'must have the scope openid' }).optional(),
  ALLOWED_ORIGINS: list
    .refine((origins) => origins.every(isOrigin), { error: 'must be origins such as https://app.example.org' })
    .optional(),
  TRUSTED_PROXIES: list
    .refine((proxies) => proxies.every(isNetwork), { error: 'must be IP addresses, or networks such as 10.0.0.0/8' })
    .optional(),
  PUBLIC_URL: z
    .string()
    .refine(isWebAddress, { error: 'must be an address such as https://runs.example.org' })
    .optional(),
  WEBHOOK_ALLOW: list
    .refine((entries) => entries.every(isAllowEntry), {
      error: 'must be host names, IP addresses, or networks such as 10.0.0.0/8',
    })
    .optional(),
  RETENTION_DAYS: days.optional(),
  RETENTION_RUNS_DAYS: days.optional(),
  PHI_POLICY: z.enum(['reject', 'redact', 'off']).default('reject'),
  PHI_ALLOW: list.optional(),
  // Not in the documentation: only a fallback in case `direct` fails, see `RunServerOptions.delivery`.
  DELIVERY: z.enum(['direct', 'iterator']).default('direct'),
  COMPRESSION: z
    .enum(['true', 'false'])
    .default('false')
    .transform((value) => value === 'true'),
  NODE_ENV: z.string().optional(),
});

export type Config = OidcOptions & {
  port: number;
  host: string;
  databaseUrl: string;
  redisUrl?: string | undefined;
  auditKey?: string | undefined;
  /** One of `authSecret` and `authJwksUrl` is set, or with `oidcIssuer` possibly none. */
  authSecret?: string | undefined;
  authJwksUrl?: string | undefined;
  authIssuer?: string | undefined;
  authAudience?: string | undefined;
  allowedOrigins: string[];
  trustedProxies: string[];
  publicUrl?: string | undefined;
  webhookAllow: string[];
  retentionDays?: number | undefined;
  retentionRunsDays?: number | undefined;
  phiPolicy: 'reject' | 'redact' | 'off';
  phi?: { allow: string[] } | undefined;
  delivery: 'direct' | 'iterator';
  compression: boolean;
  limits: Partial<Limits>;
  /**
   * Whether `authSecret` comes from the file in the data folder, because the environment names neither a secret nor
   * keys. Any user of this machine with access to that folder can sign in.
   */
  isLocalSecret: boolean;
};

/** Variables that only a log in PostgreSQL uses. Elsewhere they are an error: the operator would assume that they work. */
const ofManyServers = ['REDIS_URL', 'AUDIT_KEY'] as const;

/** Returns the variables of `process.env` and, if not set there, of the folder's `.env`. Leaves out empty values. */
export function readEnvironment(folder = process.cwd()): Record<string, string> {
  const path = join(folder, '.env');
  const file = existsSync(path) ? parseEnv(readFileSync(path, 'utf8')) : {};
  const merged = { ...file, ...process.env };
  return Object.fromEntries(Object.entries(merged).filter((entry): entry is [string, string] => Boolean(entry[1])));
}

/** Converts environment variables to a configuration. Throws `INVALID_INPUT` with the name of an invalid variable. */
export function loadConfig(environment: Record<string, string | undefined>): Config {
  const parsed = environmentSchema.safeParse(environment);
  if (!parsed.success) {
    const [first] = parsed.error.issues;
    const { path, message } = first ? describeIssue(first) : { path: '', message: 'invalid' };
    throw new RunwireError('INVALID_INPUT', `${path}: ${message}`, { path });
  }
  const values = parsed.data;
  const unused = isPostgresUrl(values.DATABASE_URL) ? undefined : ofManyServers.find((name) => values[name]);
  if (unused !== undefined) {
    const message = `${unused}: needs a DATABASE_URL that begins with postgres://`;
    throw new RunwireError('INVALID_INPUT', message, { path: unused });
  }
  if (values.RETENTION_RUNS_DAYS !== undefined && values.RETENTION_DAYS === undefined) {
    const message = 'RETENTION_RUNS_DAYS: needs RETENTION_DAYS, since only runs without events are removed';
    throw new RunwireError('INVALID_INPUT', message, { path: 'RETENTION_RUNS_DAYS' });
  }
  return {
    port: values.PORT,
    host: values.HOST,
    databaseUrl: values.DATABASE_URL,
    redisUrl: values.REDIS_URL,
    auditKey: values.AUDIT_KEY,
    ...trustOf(values),
    ...oidcOf(values),
    authIssuer: values.AUTH_ISSUER,
    authAudience: values.AUTH_AUDIENCE,
    allowedOrigins: values.ALLOWED_ORIGINS ?? [],
    trustedProxies: values.TRUSTED_PROXIES ?? [],
    publicUrl: values.PUBLIC_URL,
    webhookAllow: values.WEBHOOK_ALLOW ?? [],
    retentionDays: values.RETENTION_DAYS,
    retentionRunsDays: values.RETENTION_RUNS_DAYS,
    phiPolicy: values.PHI_POLICY,
    ...(values.PHI_ALLOW === undefined ? {} : { phi: { allow: values.PHI_ALLOW } }),
    delivery: values.DELIVERY,
    compression: values.COMPRESSION,
    limits: limitsIn(environment),
  };
}

/**
 * Reads the limits (`limits.ts`) from variables such as `LIMIT_MESSAGE_BYTES`. Throws for an unknown variable
 * `LIMIT_…`: if it were ignored, the operator would assume that the limit applies.
 */
function limitsIn(environment: Record<string, string | undefined>): Partial<Limits> {
  const names = Object.keys(defaultLimits) as (keyof Limits)[];
  const byVariable = new Map(names.map((name) => [limitVariable(name), name]));
  const limits: Partial<Limits> = {};
  for (const [variable, text] of Object.entries(environment)) {
    if (!variable.startsWith('LIMIT_') || !text) continue;
    const name = byVariable.get(variable);
    const value = Number(text);
    const problem = problemOfLimit(name ?? variable, value);
    if (problem !== undefined) throw new RunwireError('INVALID_INPUT', `${variable}: ${problem}`, { path: variable });
    if (name) limits[name] = value;
  }
  return limits;
}

export const limitVariable = (name: string): string => `LIMIT_${name.replace(/[A-Z]/g, '_$&').toUpperCase()}`;

function trustOf(
  values: z.output<typeof environmentSchema>,
): Pick<Config, 'authSecret' | 'authJwksUrl' | 'isLocalSecret'> {
  const { AUTH_SECRET: authSecret, AUTH_JWKS_URL: authJwksUrl } = values;
  if (authSecret !== undefined && authJwksUrl !== undefined) {
    throw new RunwireError('INVALID_INPUT', 'AUTH_JWKS_URL: set either AUTH_SECRET or AUTH_JWKS_URL, not both', {
      path: 'AUTH_JWKS_URL',
    });
  }
  if (authSecret !== undefined) return { authSecret, isLocalSecret: false };
  if (authJwksUrl !== undefined) return { authJwksUrl, isLocalSecret: false };
  // Users sign in at the provider: no secret on the disk, and no link with every right.
  if (values.OIDC_ISSUER !== undefined) return { isLocalSecret: false };
  if (isPostgresUrl(values.DATABASE_URL)) {
    const message =
      'AUTH_SECRET or AUTH_JWKS_URL is required with a log in PostgreSQL, unless OIDC_ISSUER is set: the servers that share the log must share it, and a secret file is of one machine';
    throw new RunwireError('INVALID_INPUT', message, { path: 'AUTH_SECRET' });
  }
  if (values.NODE_ENV === 'production' || !isLoopback(values.HOST)) {
    const message =
      'AUTH_SECRET or AUTH_JWKS_URL is required in production, and with a HOST other than loopback, unless OIDC_ISSUER is set';
    throw new RunwireError('INVALID_INPUT', message, { path: 'AUTH_SECRET' });
  }
  return { authSecret: localSecret(secretPath(values.DATABASE_URL)), isLocalSecret: true };
}

const oidcVariables = ['OIDC_ISSUER', 'OIDC_CLIENT_ID', 'OIDC_CLIENT_SECRET'] as const;

function oidcOf(values: z.output<typeof environmentSchema>): OidcOptions {
  const isSet = Object.entries(values).some(([name, value]) => name.startsWith('OIDC_') && value !== undefined);
  const missing = oidcVariables.find((name) => values[name] === undefined);
  if (!isSet) return {};
  if (missing !== undefined) {
    const message = `${missing}: ${oidcVariables.join(', ')} belong together, and the other OIDC_ variables need them`;
    throw new RunwireError('INVALID_INPUT', message, { path: missing });
  }
  return {
    oidcIssuer: values.OIDC_ISSUER,
    oidcClientId: values.OIDC_CLIENT_ID,
    oidcClientSecret: values.OIDC_CLIENT_SECRET,
    oidcProjectsClaim: values.OIDC_PROJECTS_CLAIM,
    oidcRolesClaim: values.OIDC_ROLES_CLAIM,
    oidcScopes: values.OIDC_SCOPES,
  };
}

export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);

/** Path of the file with the local secret (`auth/local-secret.ts`), in the folder of the database. */
export const secretPath = (databaseUrl: string): string => join(dataFolder(databaseUrl), 'auth-secret');

function dataFolder(databaseUrl: string): string {
  const path = databasePath(databaseUrl);
  return path === ':memory:' ? resolve('data') : dirname(path);
}
