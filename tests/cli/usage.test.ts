import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCli } from '../support/cli-harness.ts';
import { temporaryFolder } from '../support/harness.ts';
import { exec, inTurns } from './setup.ts';

test('[X5] wrong usage exits 2 and names the cause; nothing is run', async () => {
  using folder = temporaryFolder();
  const cwd = folder.path;
  const touch = ['--', 'touch', 'ran'];
  const wrongs = [
    [],
    ['bogus'],
    ['exec', ...touch],
    ['exec', '--project', 'p', ...touch],
    ['exec', '--project', 'not an id', '--name', 'n', ...touch],
    [...exec],
    [...exec, '--'],
    [...exec, '--stage', 'a', '--stage', 'b', 'touch ran'],
    [...exec, '--stage', 'a', 'touch ran', '--stage', 'b'],
    [...exec, '--stage', 'a', '--stage'],
    [...exec, '--stage=a', 'touch ran'],
    [...exec, '--stage', 'a\u0007', 'touch ran'],
    [...exec, '--stage', 'a', 'touch ran', ...touch],
    [...exec, 'touch', 'ran'],
    [...exec, '--label', 'novalue', ...touch],
    [...exec, '--run', 'é', ...touch],
    [...exec, '--url', 'localhost', ...touch],
    ['tail', '--until-end'],
    ['tail', '--from', 'yesterday'],
    ['tail', '--bogus'],
    ['publish'],
    ['publish', 'a', 'b'],
    ['token', '--sub', 'a', '--projects', 'p'],
    ['token', '--sub', 'a', '--projects', 'p', '--roles', 'king'],
    ['token', '--sub', 'a', '--projects', 'p', '--roles', 'viewer', '--ttl', '1w'],
    ['token', '--sub', 'a', '--projects', 'p,', '--roles', 'viewer'],
    ['erase', '--seq', '1'],
    ['erase', '--reason', 'r'],
    ['erase', '--event-id', 'e', '--reason', 'r'],
    ['erase', '--seq', '1', '--event-id', 'e', '--project', 'p', '--reason', 'r'],
    ['token', 'revoke'],
    ['token', 'revoke', ''],
    ['token', 'revoke', 'id', '--sub', 'a'],
  ];
  const results = await inTurns(4, wrongs, (args) => runCli(args, { cwd }));
  for (const [index, { code, stdout, stderr }] of results.entries()) {
    expect([wrongs[index], code, stdout]).toEqual([wrongs[index], 2, '']);
    expect(stderr).toMatch(/^(runwire|error|Usage): /);
    expect(stderr).not.toMatch(/^ {4}at /m);
  }
  expect(existsSync(join(cwd, 'ran'))).toBe(false);
});

test('[X5] help and version exit 0', async () => {
  using folder = temporaryFolder();
  const asked = [
    ['--help'],
    ['help'],
    ['--version'],
    ...['serve', 'exec', 'tail', 'publish', 'token'].map((name) => [name, '--help']),
    ['token', 'revoke', '--help'],
  ];
  const results = await inTurns(4, asked, (args) => runCli(args, { cwd: folder.path }));
  expect(results.map(({ code, stderr }) => [code, stderr])).toEqual(asked.map(() => [0, '']));
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  expect(results[2]?.stdout).toBe(`${version}\n`);
  for (const name of ['serve', 'exec', 'tail', 'publish', 'token'])
    expect(results[0]?.stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
});

test('[M40] commands for files name what a log in PostgreSQL uses instead, and not its URL', async () => {
  using folder = temporaryFolder();
  const DATABASE_URL = 'postgres://ada:CANARY@127.0.0.1:1/runs';
  const options = { cwd: folder.path, env: { DATABASE_URL } };
  const [backup, restore, verify, token, help] = await Promise.all([
    runCli(['backup', 'b'], options),
    runCli(['restore', 'b'], options),
    runCli(['verify', '--database', DATABASE_URL], options),
    runCli(['token', '--sub', 'a', '--projects', 'p', '--roles', 'viewer'], options),
    runCli(['serve', '--help'], options),
  ]);
  expect([backup.code, restore.code, verify.code, token.code, help.code]).toEqual([2, 2, 1, 1, 0]);
  expect(backup.stderr).toContain('pg_basebackup');
  expect(restore.stderr).toContain('restore PostgreSQL with its own tools');
  expect(verify.stderr).toContain('UNAVAILABLE');
  expect(token.stderr).toContain('set AUTH_SECRET or RUNWIRE_TOKEN');
  expect(help.stdout).toContain('REDIS_URL');
  for (const { stdout, stderr } of [backup, restore, verify, token, help])
    expect(stdout + stderr).not.toContain('CANARY');
});
