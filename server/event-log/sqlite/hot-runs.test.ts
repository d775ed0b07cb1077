import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { newEventId } from '../../../shared/event-id.ts';
import { foldEvent } from '../../../shared/events.ts';
import { CachedRun, RunCache } from '../commit/run-cache.ts';
import { CommitRows } from '../commit/run-rows.ts';
import {
  append,
  attempt,
  created,
  type Draft,
  draft,
  eraseAt,
  folded,
  instant,
  readAll,
  started,
  T0,
  upTo,
  viewOf,
} from '../conformance/kit.ts';
import type { EventLog } from '../contract/store.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { SqliteCommitTables } from './commit-group.ts';
import { SqliteDatabase } from './database.ts';
import { type DatabaseSyncInstance, openSqlite } from './driver.ts';
import { openSqliteLog } from './log.ts';
import { prepareRowStatements, SqliteRun } from './rows.ts';
import { migrate } from './schema.ts';
import { prepareStatements } from './statements.ts';

// The rows of runs that stay in memory between commits, and the statements that a commit saves.

async function open(now = () => T0) {
  const folder = await mkdtemp(join(tmpdir(), 'runwire-hot-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, 'runwire.db');
  const log = await openSqliteLog({ path, fold: foldEvent, now });
  onTestFinished(() => log.close());
  return { log, path };
}

async function openDatabase(): Promise<SqliteDatabase> {
  const folder = await mkdtemp(join(tmpdir(), 'runwire-hot-'));
  const database = new SqliteDatabase(join(folder, 'runwire.db'), () => undefined);
  onTestFinished(async () => {
    database.close();
    await rm(folder, { recursive: true });
  });
  return database;
}

/** Another connection, as another process has it. */
function connect(path: string): DatabaseSyncInstance {
  const db = openSqlite(path);
  onTestFinished(() => db.close());
  return db;
}

const progress = (stageId: string, fields: Record<string, unknown> = {}) =>
  draft('stage.progress', { stageId, progress: 50, ...fields });

/** Expects that the stored rows of a run are the fold of its events. */
async function expectFolded(log: EventLog, runId = 'r'): Promise<void> {
  const records = await readAll(log, { scope: { kind: 'run', projectId: 'p', runId } });
  expect((await viewOf(log, 'p', runId))?.run).toEqual(folded(records));
}

test('[L70] the next event of a run keeps nothing of the text that an erasure has removed', async () => {
  const { log } = await open();
  await append(log, created({ name: 'Ann Lee' }), progress('a', { message: 'of Ann Lee' }), progress('b'));
  await append(log, progress('a', { progress: 60 }));
  for (const seq of [1, 2]) await eraseAt(log, seq);
  await append(log, progress('a', { progress: 70, timestamp: instant(1) }), progress('b', { progress: 70 }));
  expect(JSON.stringify(await viewOf(log, 'p', 'r'))).not.toContain('Ann Lee');
  await expectFolded(log);
});

test('[L70] a run that was removed begins again without its former rows', async () => {
  let now = T0;
  const { log } = await open(() => now);
  await append(log, created({ name: 'former' }), progress('a'), draft('run.completed', { timestamp: instant(1) }));
  now += 1_000;
  await append(log, started({ runId: 'last' }));
  await log.trim(T0 + 1);
  expect(await log.runs.remove(instant(5))).toEqual({ removed: 1 });
  expect(await append(log, progress('b', { timestamp: instant(9) }))).toMatchObject([{ runSeq: 1 }]);
  await append(log, progress('a', { timestamp: instant(9) }));
  expect((await viewOf(log, 'p', 'r'))?.run).toMatchObject({ name: 'r', status: 'running', counts: { stages: 2 } });
  await expectFolded(log);
});

test('[L70] a refused batch leaves nothing behind, alone and beside others', async () => {
  const { log } = await open();
  await append(log, created(), progress('a'));
  const refused = (...drafts: Draft[]) => attempt(log, { drafts: [...drafts, started()], failsAt: drafts.length });
  expect(await refused(progress('a', { progress: 90 }), progress('b'), created({ name: 'refused' }))).toBe('INTERNAL');
  await append(log, progress('a', { message: 'after' }));
  await expectFolded(log);
  await Promise.all([
    append(log, progress('b', { progress: 10 })),
    refused(progress('b', { progress: 99 }), progress('c'), draft('run.failed', { error: { message: 'no' } })),
    append(log, progress('b', { message: 'beside' })),
  ]);
  await append(log, progress('c', { progress: 1 }));
  await expectFolded(log);
});

test('[L70] a commit that SQLite refuses at its end leaves nothing behind', async () => {
  const { log, path } = await open();
  const other = connect(path);
  other.exec('CREATE TABLE parents (id INTEGER PRIMARY KEY)');
  other.exec('CREATE TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)');
  // A deferred constraint fails at COMMIT, as a full disk may.
  other.exec(
    `CREATE TRIGGER fails AFTER INSERT ON events WHEN new.actor = 'bad' BEGIN INSERT INTO children VALUES (1); END`,
  );
  await append(log, created(), progress('a'));
  const late = { timestamp: instant(5) };
  const bad = { actor: 'bad', drafts: [progress('a', late), progress('b', late), created({ name: 'bad', ...late })] };
  await expect(log.append(bad)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  await append(log, progress('a', { progress: 10 }));
  await append(log, progress('b', { progress: 10 }));
  await expectFolded(log);
});

test('[L70] rows that another process has changed are read again', async () => {
  const { log, path } = await open();
  await append(log, created({ name: 'before' }), progress('a'));
  connect(path).exec(`UPDATE runs SET state = json_set(state, '$.name', 'changed')`);
  await append(log, progress('a', { message: 'after' }));
  expect((await log.runs.header('p', 'r'))?.name).toBe('changed');
});

test('[L70] of two decisions in two commits, the check of the second has the first', async () => {
  const { log } = await open();
  await append(log, draft('governance.required', { approvalId: 'a', title: 't' }));
  const seen: unknown[] = [];
  const decide = (type: 'approval.granted' | 'approval.denied') =>
    log.append({
      actor: 'eve',
      drafts: [draft(type, { approvalId: 'a', decidedBy: 'eve', reason: 'no' })],
      check: (rows) => void seen.push(rows.approval('a')?.status),
    });
  await decide('approval.granted');
  await decide('approval.denied');
  expect(seen).toEqual(['pending', 'granted']);
  await expectFolded(log);
});

test('[L70] a late event that moves the start of a running stage moves the stage in the order of starts', async () => {
  const { log } = await open();
  const begin = (stageId: string, at: number) =>
    append(log, draft('stage.started', { stageId, timestamp: instant(at) }));
  await begin('x', 20);
  await begin('y', 10);
  await begin('x', 1);
  await begin('z', 30);
  await append(log, draft('stage.completed', { stageId: 'z', timestamp: instant(31) }));
  await expectFolded(log);
  expect((await viewOf(log, 'p', 'r'))?.run.currentStageId).toBe('y');
});

test('[L70] the rows in memory have a bound, and a row that is written again and again counts once', () => {
  const cache = new RunCache();
  const header = { counts: { stages: 2, artifacts: 0 } } as never;
  const put = (runId: string, lengths: number[]) => {
    const run = new CachedRun('p', runId, { rowId: 1, version: 1, header, length: 0 });
    for (const length of lengths) run.put('stage', 's', {} as never, length);
    cache.put(run);
    return run.length;
  };
  expect(put('often', Array(100).fill(1_000))).toBe(put('once', [1_000]));
  for (const runId of upTo(20).map(String)) put(runId, [1_000_000]);
  expect(cache.get('p 1')).toBeUndefined();
  expect(cache.get('p 20')).toBeDefined();
});

test('[L70] the header of a run counts with the length of its text, once', async () => {
  const database = await openDatabase();
  const cache = new RunCache<SqliteRun>();
  const [statements, rowStatements] = [prepareStatements(database.db), prepareRowStatements(database.db)];
  const tables = new SqliteCommitTables({ statements, rows: rowStatements, cache, isInMemory: false });
  const labels = Object.fromEntries(upTo(64).map((name) => [name, 'x'.repeat(200)]));
  const commit = (seq: number) => {
    tables.begin();
    const rows = new CommitRows(tables.openRun('p r', 'p', 'r'));
    foldEvent(rows, { ...created({ labels }), seq, runSeq: seq, recordedAt: instant(0), actor: 'ci' } as never);
    for (const _ of rows.tables.write(rows.changes() as never));
    database.db.exec('COMMIT');
    tables.committed(rows.tables);
    return cache.get('p r')?.length ?? 0;
  };
  const first = commit(1);
  expect(first).toBeGreaterThan(64 * 200);
  expect(commit(2) - first).toBeLessThan(100);
  cache.clear();
  expect(commit(3) - first).toBeLessThan(100);
});

test('[L70] rows that a refused batch asks for, and that the run does not have, take no memory', async () => {
  const database = await openDatabase();
  const run = new SqliteRun(prepareRowStatements(database.db), 'p', 'r', {
    ...{ rowId: 1, version: 1, length: 0 },
    header: { counts: { stages: 1, artifacts: 1 } } as never,
  });
  const before = run.length;
  for (const name of upTo(10).map(String)) {
    expect([run.stage(name), run.artifact(name), run.approval(name)]).toEqual([undefined, undefined, undefined]);
  }
  expect(run.length).toBe(before);
});

test('[L70] a commit of a run in memory reads no row, and a further stage is read once', async () => {
  const database = await openDatabase();
  const reads: string[] = [];
  const statements = prepareRowStatements(database.db);
  const counting = (name: string, { get }: { get: (...values: never[]) => unknown }, self: object) => ({
    get: (...values: never[]) => {
      reads.push(name);
      return get.apply(self, values);
    },
  });
  const { findRun, stage } = statements;
  const counted = { ...statements, findRun: counting('run', findRun, findRun), stage: counting('stage', stage, stage) };
  const cache = new RunCache<SqliteRun>();
  const parts = { statements: prepareStatements(database.db), rows: counted as never, cache, isInMemory: false };
  const tables = new SqliteCommitTables(parts);
  let seq = 0;
  const commit = (stageId: string) => {
    tables.begin();
    const rows = new CommitRows(tables.openRun('p r', 'p', 'r'));
    const event = { ...progress(stageId), seq: ++seq, runSeq: seq, recordedAt: instant(0), actor: 'ci' };
    foldEvent(rows, event as never);
    for (const _ of rows.tables.write(rows.changes() as never));
    database.db.exec('COMMIT');
    tables.committed(rows.tables);
    return reads.splice(0);
  };
  expect(['a', 'a', 'b', 'a', 'b'].map(commit)).toEqual([['run'], [], [], [], []]);
  cache.clear();
  expect(['a', 'a', 'b', 'a'].map(commit)).toEqual([['run', 'stage'], [], ['stage'], []]);
  tables.begin();
  database.db.exec('ROLLBACK');
  tables.failed();
  expect(commit('a')).toEqual(['run', 'stage']);
});

test('[L71] ids that the server has made are not looked up; the others are, and each is stored once', async () => {
  const { log, path } = await open();
  const other = connect(path);
  const [first] = await append(log, started({ eventId: 'known' }));
  const made = () => log.append({ actor: 'ci', hasNewIds: true, drafts: [started()] });
  const both = await Promise.all([made(), append(log, started({ eventId: 'known' })), made()]);
  expect(both.map(([receipt]) => [receipt?.seq, receipt?.isDuplicate])).toEqual([
    [2, false],
    [first?.seq, true],
    [3, false],
  ]);
  // The unique index refuses an id that is not new after all.
  const wrong = log.append({ actor: 'ci', hasNewIds: true, drafts: [started({ eventId: 'known' })] });
  await expect(wrong).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(other.prepare('SELECT count(*) AS count FROM events').get()).toEqual({ count: 3 });
  await expectFolded(log);
});

test('[L72] a commit of events with ids that Runwire makes writes few pages of the index of ids', async () => {
  const bytesWith = async (newId: () => string) => {
    const { log, path } = await open();
    const other = connect(path);
    const publish = (count: number) => append(log, ...upTo(count).map(() => started({ eventId: newId() })));
    for (const _ of upTo(6)) await publish(1_000);
    other.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    await publish(100);
    return (await stat(`${path}-wal`)).size;
  };
  expect(await bytesWith(() => newEventId())).toBeLessThan(0.6 * (await bytesWith(randomUUID)));
});

test('[L61] events of a run set no indexed column of runs until its status, or the era of its position, changes', async () => {
  const db = openSqlite(':memory:');
  onTestFinished(() => db.close());
  migrate(db, AuditKeys.make);
  const indexed = db
    .prepare(`SELECT DISTINCT x.name FROM pragma_index_list('runs') i CROSS JOIN pragma_index_info(i.name) x`)
    .all()
    .map((row) => (row as { name: string }).name);
  const { log, path } = await open();
  const other = connect(path);
  other.exec('CREATE TABLE writes (last_seq INTEGER)');
  other.exec(`CREATE TRIGGER counts AFTER UPDATE OF ${indexed.join(', ')} ON runs
    BEGIN INSERT INTO writes VALUES (new.last_seq); END`);
  const writes = () => other.prepare('SELECT last_seq FROM writes').all().length;
  await append(log, created(), started());
  for (const count of [10, 20, 30]) await append(log, progress('a', { progress: count }));
  expect(writes()).toBe(0);
  for (const _ of upTo(5)) await append(log, ...upTo(1_000).map(() => started({ runId: 'other' })));
  const ofOther = writes();
  expect(ofOther).toBe(1); // One batch has crossed position 4,096.
  await append(log, progress('a'));
  expect(writes() - ofOther).toBe(1);
  await append(log, progress('a'), progress('b'));
  expect(writes() - ofOther).toBe(1);
  await append(log, draft('run.completed'));
  expect(writes() - ofOther).toBe(2);
});
