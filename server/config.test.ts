import { generateKeyPairSync } from 'node:crypto';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { secret, temporaryFolder } from '../tests/support/harness.ts';
import { isLoopback, loadConfig, readEnvironment, secretPath } from './config.ts';
import { databasePath, logPlaceOf } from './event-log/database-url.ts';

describe('the secret', () => {
  test('[A7] on loopback the server creates its own secret, beside the database', () => {
    using folder = temporaryFolder();
    const databaseUrl = `file:${folder.path}/data/runwire.db`;
    const config = loadConfig({ DATABASE_URL: databaseUrl });
    expect(config.isLocalSecret).toBe(true);
    expect(statSync(join(folder.path, 'data', 'auth-secret')).mode & 0o777).toBe(0o600);
    expect(loadConfig({ DATABASE_URL: databaseUrl }).authSecret).toBe(config.authSecret);
    expect(secretPath(databaseUrl)).toBe(join(folder.path, 'data', 'auth-secret'));
  });

  test.each([
    { NODE_ENV: 'production' },
    { HOST: '0.0.0.0' },
    { HOST: '::' },
    { HOST: '10.0.0.7' },
    { HOST: 'runwire.example.org' },
    { HOST: '127.0.0.1.example.org' },
    { HOST: 'localhost.example.org' },
  ])('[A7] without AUTH_SECRET the configuration is refused with %o, and no secret is created', (environment) => {
    using folder = temporaryFolder();
    const databaseUrl = `file:${folder.path}/runwire.db`;
    expect(() => loadConfig({ ...environment, DATABASE_URL: databaseUrl })).toThrow(
      'AUTH_SECRET or AUTH_JWKS_URL is required',
    );
    expect(() => statSync(secretPath(databaseUrl))).toThrow();
    expect(loadConfig({ ...environment, DATABASE_URL: databaseUrl, AUTH_SECRET: secret })).toMatchObject({
      authSecret: secret,
      isLocalSecret: false,
    });
  });

  test('[A7] [A8] with AUTH_JWKS_URL no secret is created, with any HOST', () => {
    using folder = temporaryFolder();
    const databaseUrl = `file:${folder.path}/runwire.db`;
    const url = 'https://id.example.org/keys';
    for (const more of [{}, { NODE_ENV: 'production' }, { HOST: '0.0.0.0' }]) {
      const config = loadConfig({ DATABASE_URL: databaseUrl, AUTH_JWKS_URL: url, ...more });
      expect(config).toMatchObject({ authJwksUrl: url, isLocalSecret: false });
      expect(config.authSecret).toBeUndefined();
    }
    expect(() => statSync(secretPath(databaseUrl))).toThrow();
  });

  test('[A8] an invalid AUTH_JWKS_URL is refused, and so is one beside AUTH_SECRET', () => {
    expect(() => loadConfig({ AUTH_JWKS_URL: 'ftp://id.example.org' })).toThrow(/^AUTH_JWKS_URL: must be an http/);
    expect(() => loadConfig({ AUTH_JWKS_URL: 'https://id.example.org', AUTH_SECRET: secret })).toThrow(/not both/);
  });

  test('[A27] with OpenID Connect no secret is created, with any HOST, and tokens of programs are possible beside it', () => {
    using folder = temporaryFolder();
    const databaseUrl = `file:${folder.path}/runwire.db`;
    const oidc = { OIDC_ISSUER: 'https://id.example.org', OIDC_CLIENT_ID: 'app', OIDC_CLIENT_SECRET: 's' };
    for (const more of [{}, { NODE_ENV: 'production' }, { HOST: '0.0.0.0' }]) {
      const config = loadConfig({ DATABASE_URL: databaseUrl, ...oidc, ...more });
      expect(config).toMatchObject({ oidcIssuer: oidc.OIDC_ISSUER, oidcClientId: 'app', isLocalSecret: false });
      expect(config.authSecret).toBeUndefined();
    }
    expect(() => statSync(secretPath(databaseUrl))).toThrow();
    expect(loadConfig({ ...oidc, AUTH_SECRET: secret })).toMatchObject({ authSecret: secret, oidcClientId: 'app' });
    expect(loadConfig({ ...oidc, OIDC_ROLES_CLAIM: 'realm_access.roles' }).oidcRolesClaim).toBe('realm_access.roles');
    for (const name of Object.keys(oidc)) {
      expect(() => loadConfig({ AUTH_SECRET: secret, ...oidc, [name]: undefined })).toThrow(
        expect.objectContaining({ code: 'INVALID_INPUT', path: name }),
      );
    }
    expect(() => loadConfig({ AUTH_SECRET: secret, OIDC_PROJECTS_CLAIM: 'x' })).toThrow(/^OIDC_ISSUER: /);
  });

  test('[A7] a short AUTH_SECRET is refused with its name and without its value', () => {
    expect(() => loadConfig({ AUTH_SECRET: 'CANARY' })).toThrow(/^AUTH_SECRET: must be at least 32$/);
  });

  test('[A7] loopback is 127.0.0.0/8, ::1 and localhost', () => {
    expect(['127.0.0.1', '127.9.9.9', '::1', 'localhost'].every(isLoopback)).toBe(true);
    expect(['0.0.0.0', '128.0.0.1', '', '127.0.0.1.example.org', 'localhost.'].some(isLoopback)).toBe(false);
  });
});

describe('a log in PostgreSQL', () => {
  const { privateKey } = generateKeyPairSync('ed25519');
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const postgres = { DATABASE_URL: 'postgres://ada:CANARY@db.example.org/runs', AUTH_SECRET: secret };
  const refused = (path: string) =>
    expect.objectContaining({ code: 'INVALID_INPUT', path, message: expect.not.stringContaining('CANARY') });

  test('[M40] DATABASE_URL, REDIS_URL and AUDIT_KEY name the log, the backplane and the signing key', () => {
    const config = loadConfig({ ...postgres, REDIS_URL: 'rediss://:pw@r.example.org:6379', AUDIT_KEY: key });
    expect(config).toMatchObject({ redisUrl: 'rediss://:pw@r.example.org:6379', auditKey: key, isLocalSecret: false });
    for (const scheme of ['postgres', 'postgresql']) {
      const url = `${scheme}://ada@db.example.org/runs`;
      expect(logPlaceOf(url)).toEqual({ kind: 'postgres', url });
    }
  });

  test('[M40] AUTH_SECRET is required: the servers share it, and none of them makes a file with one', () => {
    const { DATABASE_URL } = postgres;
    expect(() => loadConfig({ DATABASE_URL })).toThrow(refused('AUTH_SECRET'));
    expect(loadConfig({ DATABASE_URL, AUTH_JWKS_URL: 'https://id.example.org/keys' }).authSecret).toBeUndefined();
  });

  test.each([
    ['REDIS_URL', 'http://CANARY.example.org'],
    ['REDIS_URL', 'redis://'],
    ['REDIS_URL', 'CANARY'],
  ])('[M40] %s=%j is refused with its name and without its value', (name, value) => {
    expect(() => loadConfig({ ...postgres, [name]: value })).toThrow(refused(name));
  });

  test.each([
    ['REDIS_URL', 'redis://CANARY'],
    ['AUDIT_KEY', key],
  ])('[M40] %s with a SQLite file is refused, as it would have no effect', (name, value) => {
    expect(() => loadConfig({ AUTH_SECRET: secret, [name]: value })).toThrow(refused(name));
  });
});

describe('the environment', () => {
  test('[A7] process.env overrides the .env of the folder, and empty values are absent', () => {
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, '.env'), 'RUNWIRE_TEST_A=file\nHOME=file\nAUTH_ISSUER=\n');
    const environment = readEnvironment(folder.path);
    expect(environment.RUNWIRE_TEST_A).toBe('file');
    expect(environment.HOME).toBe(process.env.HOME);
    expect(environment).not.toHaveProperty('AUTH_ISSUER');
  });

  test.each([
    ['PORT', 'CANARY'],
    ['PORT', '65536'],
    ['PORT', '-1'],
    ['PORT', '80.5'],
    ['RETENTION_DAYS', '0'],
    ['RETENTION_DAYS', 'CANARY'],
    ['PHI_POLICY', 'CANARY'],
    ['REDIS_URL', 'redis://CANARY'],
    ['AUTH_JWKS_URL', 'https://keys.example.org/CANARY'], // Beside a secret.
    ['AUTH_JWKS_URL', 'file:///CANARY'],
    ['AUTH_JWKS_URL', 'https://ada:CANARY@keys.example.org'],
    ['AUTH_JWKS_URL', 'CANARY'],
    ['OIDC_ISSUER', 'http://CANARY.example.org'],
    ['OIDC_ISSUER', 'https://ada:CANARY@id.example.org'],
    ['OIDC_ISSUER', 'CANARY'],
    ['OIDC_SCOPES', 'CANARY'],
  ])('[A7] %s=%s is refused with its name and without its value', (name, value) => {
    expect(() => loadConfig({ AUTH_SECRET: secret, [name]: value })).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT', path: name, message: expect.not.stringContaining('CANARY') }),
    );
  });

  test.each(['postgres://CANARY:CANARY@db:x/runs', 'mysql://ada:CANARY@db/runs', 'CANARY', ''])(
    '[A7] [M40] the database URL %j is refused without its value',
    (url) => {
      expect(() => databasePath(url)).toThrow(
        expect.objectContaining({ path: 'DATABASE_URL', message: expect.not.stringContaining('CANARY') }),
      );
    },
  );

  test('[A7] defaults and lists match the documented configuration', () => {
    expect(loadConfig({ AUTH_SECRET: secret })).toMatchObject({
      port: 3001,
      host: '127.0.0.1',
      databaseUrl: 'file:./data/runwire.db',
      allowedOrigins: [],
      phiPolicy: 'reject',
    });
    expect(
      loadConfig({ AUTH_SECRET: secret, ALLOWED_ORIGINS: ' https://a.example , https://b.example,' }).allowedOrigins,
    ).toEqual(['https://a.example', 'https://b.example']);
    expect(databasePath('memory:')).toBe(':memory:');
    expect(databasePath('file:///var/lib/runwire.db')).toBe('/var/lib/runwire.db');
  });

  test('[S9] PHI_ALLOW lists the fields that the guard skips', () => {
    const environment = { AUTH_SECRET: secret, PHI_ALLOW: 'labels.site, artifact.created:uri' };
    expect(loadConfig(environment).phi).toEqual({ allow: ['labels.site', 'artifact.created:uri'] });
    expect(loadConfig({ AUTH_SECRET: secret })).not.toHaveProperty('phi');
  });
});
