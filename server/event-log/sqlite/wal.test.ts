import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  open,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { foldEvent } from '../../../shared/events.ts';
import { temporaryFolder } from '../../../tests/support/harness.ts';
import type { Problem } from '../../health.ts';
import { append, draft } from '../conformance/kit.ts';
import { SqliteDatabase, transact } from './database.ts';
import { openSqlite, sqliteDriver } from './driver.ts';
import { openSqliteLog } from './log.ts';
import { Wal } from './wal.ts';

function newFolder(): string {
  const folder = temporaryFolder();
  onTestFinished(() => folder[Symbol.dispose]());
  return folder.path;
}

async function openLog(path = join(newFolder(), 'log.db')) {
  const problems: (Problem | undefined)[] = [];
  const health = {
    report: (condition: string, problem: Problem | undefined) => {
      if (condition === 'commit') problems.push(problem);
    },
    note: () => undefined,
  };
  const log = await openSqliteLog({ path, fold: foldEvent, health });
  onTestFinished(() => log.close());
  const delivered: number[] = [];
  log.subscribe((records) => delivered.push(...records.map(({ seq }) => seq)));
  const read = () => log.read({ scope: { kind: 'all' }, after: 0, limit: 100 });
  return { path, log, problems, delivered, read };
}

/** Keeps the threads in which Node.js calls the file system busy, until the returned function is called. */
async function blockThreads(): Promise<() => Promise<void>> {
  const folder = newFolder();
  const paths = Array.from({ length: Number(process.env.UV_THREADPOOL_SIZE ?? 4) }, (_, n) => join(folder, `${n}`));
  execFileSync('mkfifo', paths);
  // To open a FIFO waits until another opens its other end.
  const opened = paths.map(
    (path) =>
      new Promise<number>((resolve, reject) => open(path, 'r', (error, of) => (error ? reject(error) : resolve(of)))),
  );
  return async () => {
    for (const path of paths) closeSync(openSync(path, 'w'));
    for (const descriptor of await Promise.all(opened)) closeSync(descriptor);
  };
}

test('[L73] while a commit waits for a slow disk the event loop turns, and its events reach no listener and no reader', async () => {
  const { log, delivered, read } = await openLog();
  await append(log, draft('run.started'));
  vi.spyOn(Wal.prototype, 'isFast', 'get').mockReturnValue(false);
  onTestFinished(() => void vi.restoreAllMocks());
  const unblock = await blockThreads();
  const settled: string[] = [];
  const appended = append(log, draft('run.started')).then(() => settled.push('append'));
  await new Promise((resolve) => setImmediate(resolve));
  const page = read().then(() => settled.push('read'));
  for (let turn = 0; turn < 1_000; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect([settled, delivered, log.head]).toEqual([[], [1], 1]);
  await unblock();
  await Promise.all([appended, page]);
  expect([delivered, log.head]).toEqual([[1, 2], 2]);
  expect((await read()).records).toHaveLength(2);
});

test('[L73] a WAL is copied into the database file under constant load, and stays short', async () => {
  const { log, path } = await openLog();
  const sizes: number[] = [];
  const message = 'm'.repeat(2_000);
  for (let batch = 0; batch < 60; batch++) {
    const drafts = Array.from({ length: 500 }, (_, n) => draft('stage.progress', { stageId: `s${n}`, message }));
    await append(log, ...drafts);
    sizes.push(statSync(`${path}-wal`).size);
  }
  // More than 200 MB were written.
  expect(Math.max(...sizes)).toBeLessThan(48 * 1024 * 1024);
  expect(statSync(path).size).toBeGreaterThan(30 * 1024 * 1024);
  expect(await log.integrity.verify()).toMatchObject({ ok: true, to: 30_000 });
});

test('[L74] a close waits for the fsync in progress: a second fsync would not return its error', async () => {
  const { log } = await openLog();
  await append(log, draft('run.started'));
  vi.spyOn(Wal.prototype, 'isFast', 'get').mockReturnValue(false);
  onTestFinished(() => void vi.restoreAllMocks());
  const sync = vi.spyOn(Wal.prototype, 'sync');
  const unblock = await blockThreads();
  const settled: string[] = [];
  const appended = append(log, draft('run.started')).then(() => settled.push('append'));
  while (sync.mock.calls.length === 0) await new Promise((resolve) => setImmediate(resolve));
  const closed = log.close().then(() => settled.push('close'));
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
  const before = [...settled];
  await unblock();
  await Promise.all([appended, closed]);
  expect([before, settled]).toEqual([[], ['append', 'close']]);
});

test('[L73] the WAL stays short while writes add no events', async () => {
  const path = join(newFolder(), 'log.db');
  const database = new SqliteDatabase(path, () => undefined);
  onTestFinished(async () => {
    await database.wal?.close();
    database.close();
  });
  database.db.exec('CREATE TABLE filler (x)');
  for (let row = 0; row < 100; row++) {
    await database.write(() =>
      transact(database.db, 'NORMAL', () => database.db.exec('INSERT INTO filler VALUES (zeroblob(1000000))')),
    );
  }
  expect(statSync(`${path}-wal`).size).toBeLessThan(48 * 1024 * 1024);
});

test.each([true, false])(
  '[L74] after an fsync that failed (in the event loop: %j) the log refuses everything, until the database file has the events',
  async (isFast) => {
    vi.spyOn(Wal.prototype, 'isFast', 'get').mockReturnValue(isFast);
    onTestFinished(() => void vi.restoreAllMocks());
    const { path, log, problems, delivered, read } = await openLog();
    await append(log, draft('run.started', { eventId: 'a' }));
    closeSync(descriptorOf(`${path}-wal`)); // The next fsync fails.
    const second = draft('run.started', { eventId: 'b' });
    const refused = { code: 'UNAVAILABLE', message: expect.stringContaining('they may be in the log') };
    const waiting = expect(append(log, second)).rejects.toMatchObject(refused);
    await new Promise((resolve) => setImmediate(resolve));
    if (!isFast) await expect(append(log, draft('run.started', { eventId: 'c' }))).rejects.toMatchObject(refused);
    await waiting;
    const unavailable = { code: 'UNAVAILABLE', message: 'the event log waits for the disk' };
    await expect(read()).rejects.toMatchObject(unavailable);
    await expect(append(log, second)).rejects.toMatchObject(unavailable);
    expect(problems).toMatchObject([
      { message: expect.stringContaining('the disk or the file system reports an error') },
    ]);
    expect([delivered, log.head]).toEqual([[1], 1]);
    await vi.waitFor(() => expect(delivered).toEqual([1, 2]), { timeout: 60_000 });
    expect(problems.at(-1)).toBeUndefined();
    expect(await append(log, second)).toMatchObject([{ seq: 2, isDuplicate: true }]);
    expect((await read()).records).toHaveLength(2);
    expect(await append(log, draft('run.started', { eventId: 'd' }))).toMatchObject([{ seq: 3 }]);
  },
);

test('[L73] the WAL is found beside the database file, by a symbolic link too, and after a change of the working directory', async () => {
  const linked = await openLog();
  await linked.log.close();
  const link = join(newFolder(), 'link.db');
  symlinkSync(linked.path, link);
  const { log } = await openLog(link);
  expect(await append(log, draft('run.started'))).toMatchObject([{ seq: 1 }]);

  const folder = process.cwd();
  const { log: other } = await openLog(relative(folder, join(newFolder(), 'log.db')));
  process.chdir('/');
  onTestFinished(() => process.chdir(folder));
  expect(await append(other, draft('run.started'))).toMatchObject([{ seq: 1 }]);
});

test('[L75] events in the WAL of a server that was killed are in the database file before the log answers', async () => {
  const { log, path } = await openLog();
  await append(log, draft('run.started', { eventId: 'a' }));
  const [killed, alone] = [join(newFolder(), 'log.db'), join(newFolder(), 'log.db')];
  for (const suffix of ['', '-wal']) copyFileSync(path + suffix, killed + suffix);
  copyFileSync(join(dirname(path), 'audit.key'), join(dirname(killed), 'audit.key'));
  await openLog(killed);
  copyFileSync(killed, alone);
  copyFileSync(join(dirname(path), 'audit.key'), join(dirname(alone), 'audit.key'));
  const { read } = await openLog(alone);
  expect((await read()).records).toMatchObject([{ seq: 1 }]);
});

/** A WAL that is long enough to be copied. */
function newWal(driver = sqliteDriver()) {
  const path = join(newFolder(), 'log.db');
  const db = openSqlite(path);
  onTestFinished(() => db.close());
  db.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x)');
  for (let row = 0; row < 20; row++) db.exec('INSERT INTO t VALUES (zeroblob(1000000))');
  const checkpoint = () =>
    (db.prepare('PRAGMA wal_checkpoint(PASSIVE)').get() as { checkpointed: number }).checkpointed;
  const onFailure = (error: unknown) => expect.fail(String(error));
  const wal = new Wal({ path, checkpoint, onFailure, driver });
  onTestFinished(() => wal.close());
  return { wal, db, path: `${path}-wal`, databaseBytes: () => statSync(path).size };
}

test('[L74] the WAL is written again as it is, in steps', () => {
  const { wal, path } = newWal();
  const before = readFileSync(path);
  utimesSync(path, 1, 1);
  expect([...wal.rewrite()].length).toBeGreaterThan(50);
  expect(readFileSync(path).equals(before)).toBe(true);
  expect(statSync(path).mtimeMs).toBeGreaterThan(1_000);
});

test('[L73] each try in the event loop that took long doubles the time until the next, up to a minute', () => {
  const { wal } = newWal();
  let now = 1_000_000;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  onTestFinished(() => void vi.restoreAllMocks());
  /** Returns how long the disk is slow after an fsync of `ms`. */
  const slowAfter = (ms: number) => {
    vi.mocked(performance.now).mockImplementationOnce(() => now - ms);
    expect(wal.syncNow()).toBeUndefined();
    let slowMs = 0;
    while (!wal.isFast) {
      slowMs += 1_000;
      now += 1_000;
    }
    return slowMs;
  };
  expect([6, 6, 6, 6, 6, 6, 6, 6].map(slowAfter)).toEqual([1, 2, 4, 8, 16, 32, 60, 60].map((s) => s * 1_000));
  expect([5, 6, 6].map(slowAfter)).toEqual([0, 1_000, 2_000]);
});

test('[L77] a worker that cannot be started has a warning, and the event loop copies before the next write', async () => {
  // No thread can get a symbol, so the constructor throws, as it does if the process may start no thread.
  const early = newWal(Symbol('driver') as never);
  early.wal.look();
  const late = newWal('no such module');
  late.wal.look();
  for (const { wal, databaseBytes } of [early, late]) {
    await vi.waitFor(() => expect(wal.problem).toBeDefined(), { timeout: 60_000 });
    expect(wal.problem).toMatchObject({ isWarning: true, message: expect.stringContaining('the thread'), err: {} });
    expect(databaseBytes()).toBeLessThan(1_000_000);
    expect(wal.wait()).toBeUndefined();
    expect(databaseBytes()).toBeGreaterThan(20_000_000);
    expect(wal.isFast).toBe(true);
    expect(wal.problem).toMatchObject({ message: expect.stringContaining('the thread') });
  }
});

test('[L77] while the event loop cannot copy either, the warning states that the WAL grows', async () => {
  const { wal, db, databaseBytes } = newWal('no such module');
  wal.look();
  await vi.waitFor(() => expect(wal.problem).toBeDefined(), { timeout: 60_000 });
  db.exec('BEGIN IMMEDIATE'); // With an open transaction, a connection cannot copy.
  expect(wal.wait()).toBeUndefined();
  expect(wal.problem).toMatchObject({ isWarning: true, message: expect.stringContaining('and grows'), err: {} });
  expect(databaseBytes()).toBeLessThan(1_000_000);
  db.exec('ROLLBACK');
});

/** The driver of this Node.js in a module of its own, and a switch that lets the worker of a WAL fail: `open` or `copy`. */
function newDriver() {
  const folder = newFolder();
  const [path, fails] = [join(folder, 'driver.cjs'), join(folder, 'fails')];
  const code = `
    const { existsSync, readFileSync } = require('node:fs');
    const driver = require(${JSON.stringify(sqliteDriver())});
    const isWorker = require('node:worker_threads').workerData?.driver !== undefined;
    const fail = (step) => {
      if (isWorker && existsSync(${JSON.stringify(fails)}) && readFileSync(${JSON.stringify(fails)}, 'utf8') === step) {
        throw Object.assign(new Error('disk I/O error'), { errcode: 10 });
      }
    };
    fail('open');
    exports.DatabaseSync = class extends driver.DatabaseSync {
      prepare(sql) {
        const statement = super.prepare(sql);
        if (!isWorker) return statement;
        return { get: () => (fail('copy'), statement.get()) };
      }
    };
  `;
  writeFileSync(path, code);
  return { path, fail: (step: 'open' | 'copy') => writeFileSync(fails, step), mend: () => rmSync(fails) };
}

test.each(['open', 'copy'] as const)(
  '[L77] with a worker that fails each time (%s) the WAL stays short, and condition `wal` has a warning until it copies',
  async (step) => {
    const driver = newDriver();
    driver.fail(step);
    const warnings: (string | undefined)[] = [];
    const health = {
      report: (condition: string, problem: Problem | undefined) => {
        if (condition === 'wal') warnings.push(problem && `${problem.isWarning} ${problem.message}`);
      },
      note: () => undefined,
    };
    const path = join(newFolder(), 'log.db');
    const log = await openSqliteLog({ path, fold: foldEvent, health, driver: driver.path });
    onTestFinished(() => log.close());
    const message = 'm'.repeat(2_000);
    const fill = () =>
      append(log, ...Array.from({ length: 500 }, (_, n) => draft('stage.progress', { stageId: `s${n}`, message })));
    let walBytes = 0;
    for (let batch = 0; batch < 40; batch++) {
      await fill();
      walBytes = Math.max(walBytes, statSync(`${path}-wal`).size);
    }
    expect(walBytes).toBeLessThan(48 * 1024 * 1024);
    await vi.waitFor(() => expect(warnings.at(-1)).toContain('true the thread'), { timeout: 60_000 });
    driver.mend();
    // A minute later the worker is tried again, without a further event.
    const now = performance.now.bind(performance);
    const later = vi.spyOn(performance, 'now').mockImplementation(() => now() + 61_000);
    onTestFinished(() => later.mockRestore());
    await vi.waitFor(() => expect(warnings.at(-1)).toBeUndefined(), { timeout: 60_000 });
    later.mockRestore();
    expect(await log.integrity.verify()).toMatchObject({ ok: true });
  },
);

test('[L73] a WAL that is closed starts no worker', async () => {
  const { wal } = newWal();
  const closed = wal.close();
  wal.look();
  await closed;
  wal.look();
  expect(wal.isFast).toBe(true);
});

/** The descriptor that was opened last on a file. */
function descriptorOf(path: string): number {
  const all = readdirSync('/proc/self/fd').map(Number);
  return Math.max(...all.filter((descriptor) => linkOf(descriptor) === path));
}

function linkOf(descriptor: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`);
  } catch {
    return undefined;
  }
}

test('[L73] a process that does not close its log ends, also while its WAL is copied', () => {
  const path = join(newFolder(), 'log.db');
  const code = `
    import { SqliteDatabase } from ${JSON.stringify(new URL('./database.ts', import.meta.url).href)};
    const { db, wal } = new SqliteDatabase(process.argv[1], console.error);
    db.exec('CREATE TABLE t (x)');
    for (let row = 0; row < 20; row++) db.exec('INSERT INTO t VALUES (zeroblob(1000000))');
    wal.look();
    if (wal.isFast) throw new Error('nothing is copied');
  `;
  const args = ['--import', 'tsx', '--input-type=module', '--eval', code, path];
  const ended = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 120_000 });
  expect([ended.status, ended.stderr]).toEqual([0, '']);
});
