import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { signToken } from '../../server/auth/tokens.ts';
import { cliPath, runCli, startServing } from '../support/cli-harness.ts';
import { secret, temporaryFolder } from '../support/harness.ts';
import { afterStart, exec, inTurns } from './setup.ts';

test('[X4] token prints a token that the local server accepts; without one, commands use the secret of its folder', async () => {
  using folder = temporaryFolder();
  const cwd = folder.path;
  const none = await runCli(['token', '--sub', 'bo', '--projects', 'demo', '--roles', 'viewer'], { cwd });
  expect([none.code, none.stdout]).toEqual([1, '']);
  expect(none.stderr).toMatch(/^runwire: UNAUTHENTICATED: no secret at .*auth-secret: start the server there/);
  expect(existsSync(join(cwd, 'data'))).toBe(false);

  const { url } = await startServing(cliPath, ['serve'], { cwd, env: { PORT: '0' } });
  expect(statSync(join(cwd, 'data/auth-secret')).mode & 0o777).toBe(0o600);
  const args = ['token', '--sub', 'bo', '--projects', 'demo,p2', '--roles', 'viewer,producer', '--ttl', '90s'];
  const { code, stdout, stderr } = await runCli(args, { cwd });
  expect(code).toBe(0);
  expect(stderr.split('\n')).toEqual([
    expect.stringMatching(/^runwire: the id of this token \(jti\) is [-0-9a-f]{36}$/),
    'runwire: for a person, the sign-in link is http://127.0.0.1:3001/login?token=<this token>',
    '',
  ]);
  const answer = await fetch(`${url}/trpc/auth.me`, { headers: { authorization: `Bearer ${stdout.trim()}` } });
  const { result } = (await answer.json()) as { result: { data: { expiresAt: string } } };
  expect(result.data).toMatchObject({ sub: 'bo', projects: ['demo', 'p2'], roles: ['viewer', 'producer'] });
  const claims = JSON.parse(Buffer.from(stdout.split('.')[1] ?? '', 'base64url').toString()) as Record<string, number>;
  expect((claims.exp as number) - (claims.iat as number)).toBe(90);

  const local = { cwd, env: { PORT: new URL(url).port } };
  expect(afterStart((await runCli([...exec, '--run', 'r1', '--', 'true'], local)).stderr)).toBe('');
  const tail = await runCli(['tail', '--run', 'r1', '--from', 'start', '--until-end', '--json'], local);
  expect([tail.code, tail.stdout.trim().split('\n').length]).toEqual([0, 5]);
});

test('[A51] token --run prints a token of one run and a link to its page, and needs exactly one project', async () => {
  using folder = temporaryFolder();
  const cwd = folder.path;
  const { url } = await startServing(cliPath, ['serve'], { cwd, env: { PORT: '0' } });
  const args = (projects: string, run: string) => {
    return ['token', '--sub', 'bo', '--projects', projects, '--roles', 'viewer', '--run', run];
  };
  const { code, stdout, stderr } = await runCli(args('demo', 'r/1'), { cwd });
  expect([code, stderr.includes('&return=%2Fruns%2Fdemo%2Fr%252F1\n')]).toEqual([0, true]);
  const answer = await fetch(`${url}/trpc/auth.me`, { headers: { authorization: `Bearer ${stdout.trim()}` } });
  expect(await answer.json()).toMatchObject({ result: { data: { projects: ['demo'], runId: 'r/1' } } });
  for (const [projects, run] of [
    ['demo,trials', 'r1'],
    ['*', 'r1'],
    ['demo', '*'],
  ] as const) {
    const refused = await runCli(args(projects, run), { cwd });
    expect([refused.code, refused.stdout], `${projects} ${run}`).toEqual([2, '']);
  }
});

test('[X4] login prints a link that signs in to the local server, and says why it cannot', async () => {
  using folder = temporaryFolder();
  const cwd = folder.path;
  const none = await runCli(['login'], { cwd });
  expect([none.code, none.stdout]).toEqual([1, '']);
  expect(none.stderr).toMatch(/no secret at .*auth-secret: start the server there/);
  const { url } = await startServing(cliPath, ['serve'], { cwd, env: { PORT: '0' } });
  const { code, stdout } = await runCli(['login'], { cwd, env: { PORT: new URL(url).port } });
  expect(code).toBe(0);
  expect(stdout.startsWith(`${url}/login?token=`)).toBe(true);
  const opened = await fetch(stdout.trim(), { redirect: 'manual', headers: { accept: 'text/html' } });
  expect([opened.status, opened.headers.get('location')]).toEqual([303, '/']);
  expect(opened.headers.get('set-cookie')).toMatch(/^runwire_/);
  const elsewhere = await runCli(['login', '--url', 'wss://runs.example.org/ws'], { cwd });
  expect(elsewhere.stdout).toMatch(/^https:\/\/runs\.example\.org\/login\?token=/);
  const oidc = { OIDC_ISSUER: 'https://id.example.org', OIDC_CLIENT_ID: 'a', OIDC_CLIENT_SECRET: 'b' };
  const refused = await runCli(['login'], { cwd, env: oidc });
  expect([refused.code, refused.stderr.includes('set AUTH_SECRET')]).toEqual([1, true]);
});

test('[A11] token revoke makes the server refuse a token by its id, or all of a subject; also after a restart', async () => {
  using folder = temporaryFolder();
  const cwd = folder.path;
  let { child, url } = await startServing(cliPath, ['serve'], { cwd, env: { PORT: '0' } });
  const local = { cwd, env: { PORT: new URL(url).port } };
  const make = async (sub: string) => {
    const { stdout, stderr } = await runCli(['token', '--sub', sub, '--projects', '*', '--roles', 'admin'], { cwd });
    return { token: stdout.trim(), jti: /\(jti\) is (\S+)/.exec(stderr)?.[1] ?? '' };
  };
  const statusOf = async ({ token }: { token: string }) =>
    (await fetch(`${url}/trpc/auth.me`, { headers: { authorization: `Bearer ${token}` } })).status;
  const [lost, kept, eves] = [await make('ada'), await make('ada'), await make('eve')];
  expect(await runCli(['token', 'revoke', lost.jti], local)).toMatchObject({
    code: 0,
    stdout: 'revoked: the server now refuses a token with this id, if there is one\n',
    stderr: '',
  });
  expect(await runCli(['token', 'revoke', '--sub', 'eve'], local)).toMatchObject({
    code: 0,
    stdout: 'revoked: the server now refuses the tokens of this subject up to now, if any\n',
  });
  expect([await statusOf(lost), await statusOf(kept), await statusOf(eves)]).toEqual([401, 200, 401]);
  const byViewer = await signToken(
    { secret: readFileSync(join(cwd, 'data/auth-secret'), 'utf8').trim() },
    { sub: 'bo', projects: ['*'], roles: ['viewer'], ttlSeconds: 60 },
  );
  const refused = await runCli(['token', 'revoke', kept.jti, '--token', byViewer], local);
  expect(refused).toMatchObject({ code: 1, stderr: 'runwire: FORBIDDEN: not allowed: revoke\n' });

  child.process.kill('SIGKILL');
  await child.ended;
  ({ child, url } = await startServing(cliPath, ['serve'], { cwd, env: { PORT: '0' } }));
  expect([await statusOf(lost), await statusOf(kept), await statusOf(eves)]).toEqual([401, 200, 401]);
});

test('[X4] a locally signed token is never sent to another machine', async () => {
  using folder = temporaryFolder();
  const needed =
    'runwire: --token or RUNWIRE_TOKEN is required for a server on another machine: a locally signed token is for the local server only\n';
  const environments: Record<string, string>[] = [
    {},
    { AUTH_SECRET: secret },
    { AUTH_SECRET: secret, RUNWIRE_URL: 'http://10.0.0.1:3001' },
    { AUTH_SECRET: secret, HOST: 'runwire.example' },
  ];
  const results = await inTurns(4, environments, (env) => {
    const isNamed = env.RUNWIRE_URL !== undefined || env.HOST !== undefined;
    const url = isNamed ? [] : ['--url', 'https://runwire.example'];
    return runCli([...exec, ...url, '--', 'touch', 'ran'], { cwd: folder.path, env });
  });
  expect(results).toEqual(environments.map(() => ({ code: 2, signal: null, stdout: '', stderr: needed })));
  expect(existsSync(join(folder.path, 'ran'))).toBe(false);
});
