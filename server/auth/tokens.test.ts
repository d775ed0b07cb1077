import { createHmac } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { base64url, SignJWT, UnsecuredJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { secret, temporaryFolder, tokenFor } from '../../tests/support/harness.ts';
import { localSecret } from './local-secret.ts';
import { type Action, can } from './permissions.ts';
import { type Role, roles } from './principal.ts';
import { hs256, signToken } from './tokens.ts';

const key = new TextEncoder().encode(secret);
const claims = { projects: ['demo'], roles: ['viewer'] };
const inAnHour = Math.floor(Date.now() / 1000) + 3_600;
const sign = (alg: string, payload: object, by: Uint8Array = key) =>
  new SignJWT({ sub: 'ada', exp: inAnHour, ...claims, ...payload }).setProtectedHeader({ alg }).sign(by);

const header = (json: string) => Buffer.from(json, 'latin1').toString('base64url');
/** Returns a valid token, but with another text of the header. */
const signed = async (head: string) => {
  const text = `${head}.${(await tokenFor()).split('.')[1]}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
};

/** An HS256 token is verified at once: a refusal is thrown. */
const verified = async (options: Parameters<typeof hs256>[0], token: string) => hs256(options)(token);

describe('tokens', () => {
  test('[A1] a token signed with the secret gives the subject, the projects and the roles', async () => {
    const token = await signToken({ secret }, { sub: 'ada', projects: ['demo'], roles: ['viewer'], ttlSeconds: 60 });
    const principal = await hs256({ secret })(token);
    expect(principal).toMatchObject({ sub: 'ada', projects: ['demo'], roles: ['viewer'] });
    expect(principal.expiresAtMs).toBeGreaterThan(Date.now());
  });

  const forgeries: Record<string, () => Promise<string> | string> = {
    'an empty token': () => '',
    'a text that is no token': () => 'CANARY',
    'three empty parts': () => '..',
    'a token of another secret': () => tokenFor({ secret: 'another secret that is also long enough' }),
    'an expired token': () => tokenFor({ ttlSeconds: -10 }),
    'alg none': () => new UnsecuredJWT({ sub: 'ada', exp: inAnHour, ...claims }).encode(),
    'HS512 with the right secret': () => sign('HS512', {}),
    'HS384 with the right secret': () => sign('HS384', {}),
    'not yet valid': () => sign('HS256', { nbf: inAnHour - 60 }),
    'without an expiry': () => new SignJWT({ sub: 'ada', ...claims }).setProtectedHeader({ alg: 'HS256' }).sign(key),
    'an expiry that is text': async () => {
      const payload = base64url.encode(JSON.stringify({ sub: 'ada', exp: 'never', ...claims }));
      return `${(await tokenFor()).split('.')[0]}.${payload}.${(await tokenFor()).split('.')[2]}`;
    },
    'without a subject': () => sign('HS256', { sub: undefined }),
    'an empty subject': () => sign('HS256', { sub: '' }),
    'an unknown role': () => sign('HS256', { roles: ['root'] }),
    'roles that are no list': () => sign('HS256', { roles: 'admin' }),
    'no projects': () => sign('HS256', { projects: undefined }),
    'another payload under the same signature': async () => {
      const [header, , signature] = (await tokenFor({ roles: ['viewer'] })).split('.');
      const payload = base64url.encode(
        JSON.stringify({ sub: 'eve', exp: inAnHour, projects: ['*'], roles: ['admin'] }),
      );
      return `${header}.${payload}.${signature}`;
    },
    'a header with an extension that must be understood': () =>
      new SignJWT({ sub: 'ada', exp: inAnHour, ...claims })
        .setProtectedHeader({ alg: 'HS256', crit: ['b64'], b64: true })
        .sign(key),
    'a header with padding': () => signed(`${header('{"alg":"HS256"}')}=`),
    'a header with a character outside of base64url': () => signed(`${header('{"alg":"HS256"}')}!`),
    'a header that is not UTF-8': () => signed(header('{"alg":"HS256","x":"\xff"}')),
    'a fourth part': async () => `${await tokenFor()}.`,
    'a signature with padding': async () => `${await tokenFor()}=`,
    'a signature cut short': async () => (await tokenFor()).slice(0, -4),
  };
  test.each(Object.entries(forgeries))(
    '[A1] %s is refused with the same error as every other bad token',
    async (_name, forge) => {
      await expect(verified({ secret }, await forge())).rejects.toMatchObject({
        code: 'UNAUTHENTICATED',
        message: 'the token is missing, malformed, forged or expired',
      });
    },
  );

  test('[A1] issuer and audience are checked if they are set', async () => {
    const options = { secret, issuer: 'https://id.example.org', audience: 'runwire' };
    const good = await signToken(options, { sub: 'ada', projects: [], roles: [], ttlSeconds: 60 });
    await expect(verified(options, good)).resolves.toMatchObject({ sub: 'ada' });
    await expect(verified({ ...options, issuer: 'https://other.example.org' }, good)).rejects.toThrow();
    await expect(verified({ ...options, audience: 'other' }, good)).rejects.toThrow();
    await expect(verified(options, await tokenFor())).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  test('[A53] signToken refuses claims that a server would refuse, by the name of the field, and has a lifetime of an hour', async () => {
    const claims = { sub: 'ada', projects: ['demo'], roles: ['viewer'] as Role[] };
    const { expiresAtMs = 0 } = await hs256({ secret })(await signToken({ secret }, claims));
    expect(Math.abs(expiresAtMs - Date.now() - 3_600_000)).toBeLessThan(60_000);
    for (const [field, values] of Object.entries({
      sub: [undefined, 5, '', 'server'],
      projects: [undefined, 'demo', [5]],
      roles: [undefined, 'viewer', ['root']],
      runId: [5, 'a b'],
      jti: [5],
      ttlSeconds: ['1h', Number.NaN, null],
    })) {
      for (const value of values) {
        const signed = signToken({ secret }, { ...claims, [field]: value });
        const refusal = { code: 'INVALID_INPUT', path: expect.stringMatching(`^${field}`) };
        await expect(signed, field).rejects.toMatchObject(refusal);
      }
    }
    await expect(signToken({ secret }, undefined as never)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });

  test('[A1] a secret shorter than the hash is refused when the server starts', () => {
    expect(() => hs256({ secret: 'short' })).toThrow('at least 32 bytes');
    expect(() => hs256({ secret: undefined as never })).toThrow('at least 32 bytes');
    expect(() => hs256({ secret: 7 as never })).toThrow('at least 32 bytes');
  });
});

describe('permissions', () => {
  const spec = readFileSync(new URL('../../SPEC.md', import.meta.url), 'utf8');
  const table = [...spec.matchAll(/^\| `(\w+)`[^|]*\|(.+)\|$/gm)].map(([, action, cells]) => ({
    action: action as Action,
    allowed: (cells as string).split('|').map((cell) => cell.trim() === 'yes'),
  }));
  const columns: Role[] = ['viewer', 'approver', 'producer', 'admin'];

  test('[A3] the table in SPEC.md has every role and every action', () => {
    expect([...roles]).toEqual(columns);
    const actions = ['read', 'publish', 'decide', 'revoke', 'stats', 'verify', 'erase', 'audit', 'clock', 'webhooks'];
    expect(table.map(({ action }) => action)).toEqual(actions);
  });

  const cells = table.flatMap(({ action, allowed }) => columns.map((role, i) => ({ action, role, is: allowed[i] })));
  test.each(cells)('[A3] $role, $action: $is', ({ action, role, is }) => {
    const principal = { sub: 'ada', projects: ['demo'], roles: [role] };
    expect(can(principal, action, { projectId: 'demo' })).toBe(is);
    expect(can(principal, action)).toBe(is);
    expect(can(principal, action, { projectId: 'other' })).toBe(false);
    expect(can({ ...principal, projects: ['*'] }, action, { projectId: 'other' })).toBe(is);
    expect(can({ ...principal, projects: [] }, action, { projectId: 'demo' })).toBe(false);
    expect(can({ ...principal, roles: [] }, action, { projectId: 'demo' })).toBe(false);
  });

  test('[A3] several roles permit the actions of each; a project id is matched exactly, not as a pattern', () => {
    const principal = { sub: 'ada', projects: ['de*', 'demo'], roles: ['viewer', 'producer'] as Role[] };
    expect(can(principal, 'read', { projectId: 'demo' }) && can(principal, 'publish', { projectId: 'demo' })).toBe(
      true,
    );
    expect(can(principal, 'read', { projectId: 'den' })).toBe(false);
    expect(can(principal, 'read', { projectId: 'Demo' })).toBe(false);
  });
});

describe('the local secret', () => {
  test('[A7] is created once, has at least 32 bytes, and only its owner can read it', () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'data', 'auth-secret');
    const made = localSecret(path);
    expect(Buffer.byteLength(made)).toBeGreaterThanOrEqual(32);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(localSecret(path)).toBe(made);
    expect(localSecret(join(folder.path, 'other', 'auth-secret'))).not.toBe(made);
  });

  test('[A7] has its file mode regardless of the umask', () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'auth-secret');
    mkdirSync(folder.path, { recursive: true });
    chmodSync(folder.path, 0o777);
    localSecret(path);
    expect(statSync(path).mode & 0o077).toBe(0);
  });
});
