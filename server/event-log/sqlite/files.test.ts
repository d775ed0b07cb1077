import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { foldEvent } from '../../../shared/events.ts';
import { temporaryFolder } from '../../../tests/support/harness.ts';
import { append, draft, readAll, upTo } from '../conformance/kit.ts';
import { PRAGMAS, requireWal } from './database.ts';
import { openSqlite, sqliteDriver } from './driver.ts';
import { openSqliteLog, type SqliteOptions } from './log.ts';
import { migrations } from './schema.ts';

function newPath(): string {
  const folder = temporaryFolder();
  onTestFinished(() => folder[Symbol.dispose]());
  return join(folder.path, 'data', 'runwire.db');
}

/** The problems that a log has reported and not taken back, and a way to wait for them. */
function keptHealth() {
  const problems = new Map<string, string>();
  let changed: () => void = () => undefined;
  const health: NonNullable<SqliteOptions['health']> = {
    note: () => undefined,
    report: (condition, problem) => {
      if (problem) problems.set(condition, problem.message);
      else problems.delete(condition);
      changed();
    },
  };
  const until = async (holds: () => boolean) => {
    while (!holds()) await new Promise<void>((resolve) => (changed = resolve));
  };
  return { health, problems, until };
}

async function open(path: string, options: Partial<SqliteOptions> = {}) {
  const log = await openSqliteLog({ path, fold: foldEvent, ...options });
  onTestFinished(() => log.close());
  return log;
}

/** Overwrites the page in which the most events of the file are. */
function damage(path: string): void {
  const db = openSqlite(path);
  const { page } = db
    .prepare(
      `SELECT pageno AS page FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1 OFFSET 5`,
    )
    .get() as { page: number };
  db.close();
  const file = openSync(path, 'r+');
  writeSync(file, Buffer.alloc(4_096, 0xff), 0, 4_096, (page - 1) * 4_096);
  closeSync(file);
}

test('[L34] a log that cannot be opened is reported with its path and the cause', async () => {
  const path = newPath();
  mkdirSync(dirname(path));
  const [file, folder, garbage, key] = ['file', 'folder', 'garbage.db', 'key'].map((name) =>
    join(dirname(path), name),
  ) as [string, string, string, string];
  writeFileSync(file, '');
  mkdirSync(folder);
  writeFileSync(garbage, Buffer.alloc(10_000, 'no database '));
  mkdirSync(key);
  writeFileSync(join(key, 'audit.key'), 'nonsense');
  for (const [place, cause] of [
    [join(file, 'below.db'), 'EEXIST'],
    [folder, 'EISDIR'],
    [garbage, 'the database file is damaged: stop the server and restore a backup (file is not a database)'],
    [join(key, 'runwire.db'), 'the key file must contain an Ed25519 key'],
  ] as const) {
    const error = (await open(place).catch((error: unknown) => error)) as Error;
    expect(error.message).toContain(`cannot open the event log ${place}: `);
    expect(error.message).toContain(cause);
  }
});

test('[L34] the process prints the path and the cause of a failed start, and exits with 1', () => {
  const path = newPath();
  mkdirSync(path, { recursive: true });
  const tsx = import.meta.resolve('tsx');
  const main = new URL('../../main.ts', import.meta.url).pathname;
  const env = { PATH: process.env.PATH, PORT: '0', AUTH_SECRET: 'a'.repeat(32), DATABASE_URL: `file:${path}` };
  const { status, stderr } = spawnSync(process.execPath, ['--import', tsx, main], {
    env,
    cwd: dirname(path),
    encoding: 'utf8',
  });
  expect(stderr).toContain(`runwire: cannot open the event log ${path}: EISDIR`);
  expect(status).toBe(1);
});

test('[L17] a second server is refused by a symbolic link of the database, or of its folder', async () => {
  const path = newPath();
  await open(path);
  const [other, folder] = [join(dirname(path), '..', 'other'), join(dirname(path), '..', 'link')];
  mkdirSync(other);
  symlinkSync(path, join(other, 'runwire.db'));
  symlinkSync(dirname(path), folder);
  for (const link of [join(other, 'runwire.db'), join(folder, basename(path))]) {
    await expect(open(link)).rejects.toThrow('another runwire server has this database open');
  }
});

test('[L17] a second server that is refused leaves the locks of the first one in place', async () => {
  const path = newPath();
  await open(path);
  await expect(open(path)).rejects.toThrow('another runwire server');
  const attempts = `
    const { DatabaseSync } = require(process.argv[1]);
    for (const [file, sql] of [['-lock', 'BEGIN EXCLUSIVE'], ['', 'PRAGMA journal_mode = DELETE']]) {
      try {
        new DatabaseSync(process.argv[2] + file, { timeout: 0 }).exec(sql);
        console.log('not locked: ' + file);
      } catch (error) {
        console.log(error.message);
      }
    }`;
  const driver = sqliteDriver();
  const { stdout } = spawnSync(process.execPath, ['--eval', attempts, driver, path], { encoding: 'utf8' });
  expect(stdout).toBe('database is locked\ndatabase is locked\n');
});

test('[L17] a database file with a second hard link is refused', async () => {
  const path = newPath();
  await (await open(path)).close();
  const link = `${path}.link`;
  linkSync(path, link);
  for (const name of [path, link]) await expect(open(name)).rejects.toThrow('has a second hard link');
  unlinkSync(link);
  await open(path);
});

test('[L17] a lock is taken again after its file was removed, and one that another server has taken is a problem', async () => {
  const path = newPath();
  const { health, problems, until } = keptHealth();
  const log = await open(path, { health });
  const before = statSync(`${path}-lock`).ino;
  unlinkSync(`${path}-lock`);
  await until(() => statSync(`${path}-lock`, { throwIfNoEntry: false }) !== undefined);
  expect(statSync(`${path}-lock`).ino === before && problems.size > 0).toBe(false);
  await expect(open(path)).rejects.toThrow('another runwire server');
  expect(problems.size).toBe(0);

  unlinkSync(`${path}-lock`);
  const taken = openSqlite(`${path}-lock`);
  taken.exec('BEGIN EXCLUSIVE');
  await until(() => problems.has('database_file'));
  expect(problems.get('database_file')).toContain('another runwire server');
  await expect(append(log, draft('run.started'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  taken.close();
  await until(() => problems.size === 0);
  expect(await append(log, draft('run.started'))).toMatchObject([{ seq: 1 }]);
});

test.each(['', '-wal'])(
  '[L35] with its file %j removed or replaced, a log refuses events until the file is back',
  async (suffix) => {
    const path = newPath();
    const { health, problems, until } = keptHealth();
    const log = await open(path, { health });
    await append(log, draft('run.started'));
    const file = `${path}${suffix}`;
    renameSync(file, `${file}.away`);
    const refused = { code: 'UNAVAILABLE', message: expect.stringContaining('was removed or replaced') };
    for (const _ of upTo(3)) await expect(append(log, draft('run.started'))).rejects.toMatchObject(refused);
    await until(() => problems.has('database_file'));
    expect(problems.get('database_file')).not.toContain(path); // `/readyz` shows it without a token.
    copyFileSync(`${file}.away`, file);
    await expect(append(log, draft('run.started'))).rejects.toMatchObject(refused);
    renameSync(`${file}.away`, file);
    await until(() => problems.size === 0);
    expect(await append(log, draft('run.started'))).toMatchObject([{ seq: 2 }]);
  },
);

test.each(['removed', 'a link to itself'])(
  '[L35] with the folder of the database %s, a log refuses events as `UNAVAILABLE` until the folder is back',
  async (kind) => {
    const path = newPath();
    const { health, problems, until } = keptHealth();
    const log = await open(path, { health });
    await append(log, draft('run.started'));
    const folder = dirname(path);
    renameSync(folder, `${folder}.away`);
    if (kind !== 'removed') symlinkSync(basename(folder), folder);
    const refused = { code: 'UNAVAILABLE', message: expect.stringContaining('was removed or replaced') };
    await until(() => problems.has('database_file')); // The lock file has been looked for too.
    await expect(append(log, draft('run.started'))).rejects.toMatchObject(refused);
    expect(problems.get('database_file')).not.toContain(folder);
    if (kind !== 'removed') unlinkSync(folder);
    renameSync(`${folder}.away`, folder);
    await until(() => problems.size === 0);
    expect(await append(log, draft('run.started'))).toMatchObject([{ seq: 2 }]);
  },
);

test('[L20] the files of a database that was put back are made private', async () => {
  const path = newPath();
  const log = await open(path);
  await append(log, draft('run.started'));
  await log.close();
  chmodSync(path, 0o644);
  await append(await open(path), draft('run.started'));
  for (const suffix of ['', '-wal', '-shm']) expect(statSync(`${path}${suffix}`).mode & 0o077, suffix).toBe(0);
});

test('[L36] a damaged page refuses the reads that need it as INTERNAL, is reported, and leaves other reads and commits alone', async () => {
  const path = newPath();
  const message = 'm'.repeat(500);
  let log = await open(path);
  await append(log, ...upTo(400).map(() => draft('stage.progress', { stageId: 's', message })));
  await append(log, draft('run.started', { runId: 'good' }));
  await log.close();
  damage(path);
  const { health, problems } = keptHealth();
  log = await open(path, { health });
  await expect(readAll(log, { scope: { kind: 'run', projectId: 'p', runId: 'r' } })).rejects.toMatchObject({
    code: 'INTERNAL',
    message: 'a part of the log is damaged',
  });
  expect([...problems.keys()]).toContain('database_damage');
  expect(await append(log, draft('run.started', { runId: 'good' }))).toMatchObject([{ runSeq: 2 }]);
  expect(await readAll(log, { scope: { kind: 'run', projectId: 'p', runId: 'good' }, after: 400 })).toHaveLength(2);
});

test('[L37] a file system without a WAL is refused', () => {
  const path = newPath();
  mkdirSync(dirname(path));
  const db = openSqlite(`file:${path}?vfs=unix-dotfile`); // Without shared memory, as some network file systems.
  onTestFinished(() => db.close());
  db.exec(PRAGMAS);
  expect(() => requireWal(db as never)).toThrow('does not support the WAL');
});

test('[L37] a WAL that another reader has let grow is short again after it has left', async () => {
  const path = newPath();
  let walBytes = 0;
  const log = await open(path, { onSizes: (sizes) => ({ walBytes } = sizes) });
  expect(walBytes).toBeGreaterThan(0);
  const message = 'm'.repeat(2_000);
  const fill = async (batches: number) => {
    for (const _ of upTo(batches)) {
      await append(log, ...upTo(500).map((n) => draft('stage.progress', { stageId: `s${n}`, message })));
    }
  };
  const reader = openSqlite(path, { readOnly: true });
  reader.exec('BEGIN');
  reader.prepare('SELECT count(*) FROM events').get();
  await fill(20);
  const size = () => statSync(`${path}-wal`).size;
  expect(size()).toBeGreaterThan(24 * 1024 * 1024);
  reader.exec('COMMIT');
  reader.close();
  while (size() > 20 * 1024 * 1024) await fill(1);
  expect(readFileSync(path).length).toBeGreaterThan(0);
});

test('[G23] rows of artifacts in a file of an older release get the position of the event that set them', async () => {
  const path = newPath();
  const log = await openSqliteLog({ path, fold: foldEvent });
  const artifact = (artifactId: string, second: number, eventId: string) =>
    draft('artifact.created', { artifactId, name: 'n', eventId, timestamp: new Date(second * 1_000).toISOString() });
  await append(log, artifact('a', 1, 'e 1'), artifact('b', 1, 'e 2'), artifact('a', 2, 'e 3'), artifact('b', 0, 'e 4'));
  const seqs = async (of: typeof log) =>
    (await of.runs.get('p', 'r'))?.run.artifacts.map(({ artifactId, order }) => [artifactId, order.seq]).sort();
  const before = await seqs(log);
  expect(before).toEqual([
    ['a', 3],
    ['b', 2],
  ]);
  await log.close();
  const db = openSqlite(path);
  db.exec(`UPDATE artifacts SET state = json_remove(state, '$.order.seq')`);
  for (const migration of migrations) {
    const update = typeof migration === 'string' ? migration.indexOf('UPDATE artifacts') : -1;
    if (update >= 0) db.exec((migration as string).slice(update));
  }
  db.close();
  expect(await seqs(await open(path))).toEqual(before);
});
