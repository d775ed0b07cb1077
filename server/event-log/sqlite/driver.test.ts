import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { sqliteDrivers } from './driver.ts';

test('[K2] node:sqlite is taken where it works, else the package; loading it prints no warning, and hides no other', async () => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const isBuiltIn = major >= 24 || (major === 22 && minor >= 16);
  expect(sqliteDrivers().includes('node:sqlite')).toBe(isBuiltIn);
  const script = `
    import { openSqlite, sqliteDriver } from '${new URL('./driver.ts', import.meta.url).pathname}';
    process.emitWarning('before', 'ExperimentalWarning');
    const db = openSqlite(':memory:');
    console.log(sqliteDriver(), db.prepare('SELECT 1 AS one').get().one);
    process.emitWarning('SQLite of another', 'ExperimentalWarning');
  `;
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', script],
    { cwd: new URL('../../..', import.meta.url).pathname, env: { ...process.env, NODE_OPTIONS: '' } },
  );
  expect(stdout).toMatch(isBuiltIn ? /^node:sqlite 1\n$/ : /@photostructure.sqlite\S* 1\n$/);
  const warnings = stderr.split('\n').filter((line) => line.includes('ExperimentalWarning'));
  expect(warnings).toEqual([expect.stringContaining('before'), expect.stringContaining('SQLite of another')]);
});
