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
