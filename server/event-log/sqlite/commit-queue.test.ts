import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { constants } from '@photostructure/sqlite';
import { expect, onTestFinished, test, vi } from 'vitest';
import { foldEvent } from '../../../shared/events.ts';
import type { Problem } from '../../health.ts';
import { RunCache } from '../commit/run-cache.ts';
import { append, draft, viewOf } from '../conformance/kit.ts';
import type { StoredEvent } from '../contract/log.ts';
import type { EventLog } from '../contract/store.ts';
import { KeyOrder } from '../integrity/canonical.ts';
import { SqliteCommitTables } from './commit-group.ts';
import { CommitQueue } from './commit-queue.ts';
import { SqliteDatabase, transact } from './database.ts';
import { type DatabaseSyncInstance, openSqlite } from './driver.ts';
import { readState } from './integrity.ts';
import { openSqliteLog } from './log.ts';
import { prepareRowStatements } from './rows.ts';
import { prepareStatements } from './statements.ts';
import { Wal } from './wal.ts';

async function newPath(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'runwire-commits-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return join(folder, 'runwire.db');
}

/** Collects what a store reports. */
function newHealth() {
  const problems: (Problem | undefined)[] = [];
  const notes: string[] = [];
  const health = {
    report: (condition: string, problem: Problem | undefined) => {
      if (condition === 'commit') problems.push(problem);
    },
    note: (message: string) => notes.push(message),
  };
  return { health, problems, notes };
}

async function open() {
  const path = await newPath();
  const reported = newHealth();
  let failures = 0;
  const log: EventLog = await openSqliteLog({
    path,
    fold: foldEvent,
    health: reported.health,
    onCommitFailure: () => failures++,
  });
  onTestFinished(() => log.close());
  return { log, path, ...reported, failures: () => failures };
}

/** Another connection, as another process has it. */
function connect(path: string): DatabaseSyncInstance {
  const db = openSqlite(path, { timeout: 0 });
  onTestFinished(() => db.close());
  return db;
}

/** A queue over a connection that the test can reach. */
async function openQueue(driver?: string) {
  const path = await newPath();
  const reported = newHealth();
  const database = new SqliteDatabase(path, () => undefined, driver);
  onTestFinished(() => database.close());
  const rows = prepareRowStatements(database.db);
  const statements = prepareStatements(database.db);
  const { state } = readState(database.db, Date.now());
  const committed: number[] = [];
  const queue = new CommitQueue({
    database,
    state,
    statements,
    group: {
      tables: new SqliteCommitTables({ statements, rows, cache: new RunCache(), isInMemory: false }),
      fold: foldEvent,
      now: Date.now,
      order: new KeyOrder(),
    },
    health: reported.health,
    onCommit: () => undefined,
    onCommitFailure: () => undefined,
    onCommitted: (records) => committed.push(...records.map(({ seq }) => seq)),
  });
  onTestFinished(() => queue.close());
  return { queue, database, db: database.db, committed, ...reported };
}

const started = () => ({ actor: 'ci', drafts: [draft('run.started')] });

test('[L23] while another process holds the write lock, writes wait in order, and reads go on', async () => {
  const { log, path, failures } = await open();
  await append(log, draft('run.started'));
  const other = connect(path);
  other.exec('BEGIN IMMEDIATE');
  const settled: unknown[] = [];
  const writes = [
    append(log, draft('run.started', { runId: 'a' })),
    append(log, draft('run.started', { runId: 'b' })),
    log.revocations.put({ kind: 'jti', id: 'x', atMs: 1 }),
    log.integrity.checkpoint(),
    log.trim(0),
    log.access.write([
      { at: new Date().toISOString(), sub: 'a', action: 'run.get', outcome: 'ok', via: 'ws', count: 1 },
    ]),
  ];
  for (const write of writes) void write.then((value) => settled.push(value));
  // Reads are answered, and the loop turns: nothing waits inside SQLite.
  for (let turn = 0; turn < 100; turn++) {
    expect((await log.read({ scope: { kind: 'all' }, after: 0, limit: 10 })).records).toHaveLength(1);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(settled).toEqual([]);
  other.exec('COMMIT');
  await Promise.all(writes);
  const { records } = await log.read({ scope: { kind: 'all' }, after: 0, limit: 10 });
  expect(records.map(({ runId }) => runId)).toEqual(['r', 'a', 'b']);
  expect(await log.revocations.all()).toHaveLength(1);
  expect(failures()).toBe(0);
});

test('[L23] [L24] a write that waits too long is UNAVAILABLE; the condition has a problem until a trial write succeeds', async () => {
  const { log, path, problems, failures } = await open();
  await append(log, draft('run.started'));
  const other = connect(path);
  other.exec('BEGIN IMMEDIATE');
  const refused = await Promise.allSettled([
    append(log, draft('run.started')),
    log.revocations.put({ kind: 'jti', id: 'x', atMs: 1 }),
  ]);
  expect(refused.map((result) => result.status === 'rejected' && result.reason.code)).toEqual(
    Array(2).fill('UNAVAILABLE'),
  );
  expect(problems.at(-1)).toMatchObject({
    message: expect.stringContaining('another process holds the write lock'),
    path,
    err: { message: 'database is locked' },
  });
  expect(failures()).toBe(1);
  other.exec('COMMIT');
  // Nothing is published meanwhile.
  await vi.waitFor(() => expect(problems.at(-1)).toBeUndefined(), { timeout: 30_000 });
  expect(await append(log, draft('run.started'))).toMatchObject([{ seq: 2 }]);
});

test('[L24] a full disk refuses commits and is reported, until there is room again', async () => {
  const { queue, db, problems, committed } = await openQueue();
  await queue.add(started());
  const { page_count: pages } = db.prepare('PRAGMA page_count').get() as { page_count: number };
  db.exec(`PRAGMA max_page_count = ${pages}`);
  const large = { actor: 'ci', drafts: [draft('run.failed', { error: { message: 'x'.repeat(60_000) } })] };
  await expect(queue.add(large)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(problems).toMatchObject([{ message: expect.stringContaining('the disk is full') }]);
  // Room for a small write is not enough.
  await vi.waitFor(() => expect(problems.length).toBeGreaterThan(1), { timeout: 30_000 });
  expect(problems[1]?.message).toContain('the disk is full');
  db.exec('PRAGMA max_page_count = 1000000');
  expect(await queue.add(large)).toMatchObject([{ seq: 2 }]);
  expect(problems.at(-1)).toBeUndefined();
  expect(committed).toEqual([1, 2]);
});

test('[L24] positions that another process has given away are reported as such', async () => {
  const { log, path, problems } = await open();
  await append(log, draft('run.started'));
  connect(path).exec(`
    INSERT INTO events SELECT 2, run_row, 2, project_id, type, 'other', actor, recorded_at_ms, payload, salt,
      payload_hash, prev_hash FROM events WHERE seq = 1`);
  await expect(append(log, draft('run.started'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(problems.at(-1)?.message).toMatch(/another process writes events into this database/);
});

test('[L6] [L16] a ROLLBACK that fails leaves no publisher without an answer, and no later commit without the disk', async () => {
  // `node:sqlite` of Node.js 22 has no authorizer.
  const { queue, database, db, problems } = await openQueue('@photostructure/sqlite');
  await queue.add(started());
  let isRefused = true;
  db.setAuthorizer((action: number, operation: string | null) =>
    isRefused && action === constants.SQLITE_TRANSACTION && operation === 'ROLLBACK'
      ? constants.SQLITE_DENY
      : constants.SQLITE_OK,
  );
  db.exec(`CREATE TEMP TRIGGER fails BEFORE INSERT ON main.events BEGIN SELECT RAISE(ABORT, 'this'); END`);
  await expect(queue.add(started())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  await expect(queue.add(started())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(problems).toHaveLength(2);
  const fails = () =>
    transact(db, 'NORMAL', () => {
      throw new Error('the work failed');
    });
  isRefused = false;
  expect(fails).toThrow('the work failed');
  isRefused = true;
  expect(fails).toThrow('the work failed');
  expect(db.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 1 });
  isRefused = false;
  await database.write(() => transact(db, 'NORMAL', () => db.exec('DROP TRIGGER fails')));
  expect(await queue.add(started())).toMatchObject([{ seq: 2 }]);
  expect(db.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 2 });
});

test('[L6] [L16] a commit is answered also if SQLite then refuses to wait for the disk, and the next write waits or is refused', async () => {
  const { queue, database, db } = await openQueue('@photostructure/sqlite');
  await queue.add(started());
  let isRefused = true;
  db.setAuthorizer((action: number, pragma: string | null, value: string | null) =>
    isRefused && action === constants.SQLITE_PRAGMA && pragma === 'synchronous' && value === 'FULL'
      ? constants.SQLITE_DENY
      : constants.SQLITE_OK,
  );
  expect(await queue.add(started())).toMatchObject([{ seq: 2 }]);
  transact(db, 'NORMAL', () => undefined); // Committed, so it does not throw.
  const synchronous = () => (db.prepare('PRAGMA synchronous').get() as { synchronous: number }).synchronous;
  expect(synchronous()).toBe(1);
  await expect(database.write(synchronous)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  isRefused = false;
  expect(await database.write(synchronous)).toBe(2);
  expect(await queue.add(started())).toMatchObject([{ seq: 3 }]);
});

test('[L74] after an fsync that failed, batches that are committed alone are refused too', async () => {
  const { queue, database, db, committed } = await openQueue();
  await queue.add(started());
  db.exec(`CREATE TEMP TRIGGER fails BEFORE INSERT ON main.events WHEN new.event_id = 'b'
    BEGIN SELECT RAISE(ABORT, 'this'); END`);
  vi.spyOn(Wal.prototype, 'isFast', 'get').mockReturnValue(true);
  vi.spyOn(database.wal as Wal, 'syncNow').mockReturnValue(new Error('the disk failed'));
  onTestFinished(() => void vi.restoreAllMocks());
  const batches = ['a', 'b', 'c'].map((eventId) => ({ actor: 'ci', drafts: [draft('run.started', { eventId })] }));
  const refused = { reason: { message: expect.stringContaining('they may be in the log') } };
  expect(await Promise.allSettled(batches.map((batch) => queue.add(batch)))).toMatchObject([refused, refused, refused]);
  vi.restoreAllMocks();
  await vi.waitFor(() => expect(committed).toEqual([1, 2]), { timeout: 60_000 });
  expect(await queue.add(batches[2] as never)).toMatchObject([{ seq: 3, isDuplicate: false }]);
});

test('[L74] after an fsync that failed, the WAL is written again before each checkpoint, and no checkpoint is without it', async () => {
  const { queue, database, db, committed, problems } = await openQueue();
  await queue.add(started());
  const calls: string[] = [];
  const { rewrite } = Wal.prototype;
  vi.spyOn(Wal.prototype, 'rewrite').mockImplementation(function* (this: Wal) {
    const isFirst = calls.length === 0;
    calls.push(db.isTransaction ? 'rewrite' : 'unlocked');
    if (isFirst) throw Object.assign(new Error('EIO: i/o error, read'), { syscall: 'read' });
    yield* rewrite.call(this);
  });
  const { emptyWal } = database;
  vi.spyOn(database, 'emptyWal').mockImplementation(() => {
    calls.push('checkpoint');
    return calls.filter((call) => call === 'checkpoint').length > 1 && emptyWal.call(database);
  });
  onTestFinished(() => void vi.restoreAllMocks());
  vi.spyOn(Wal.prototype, 'isFast', 'get').mockReturnValue(true);
  vi.spyOn(database.wal as Wal, 'syncNow').mockReturnValueOnce(new Error('the disk failed'));
  await expect(queue.add(started())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  // Nor does a write begin a copy: it is refused before.
  const wait = vi.spyOn(database.wal as Wal, 'wait');
  await expect(database.write(() => undefined)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(wait).not.toHaveBeenCalled();
  await vi.waitFor(() => expect(committed).toEqual([1, 2]), { timeout: 60_000 });
  expect(calls).toEqual(['rewrite', 'rewrite', 'checkpoint', 'rewrite', 'checkpoint']);
  expect(problems.at(-1)).toBeUndefined();
});

test('[L16] a listener that throws disturbs neither the publisher nor other listeners', async () => {
  const { log, notes } = await open();
  const seen: number[] = [];
  log.subscribe(() => {
    throw new Error('a defect');
  });
  log.subscribe((records) => seen.push(...records.map(({ seq }) => seq)));
  await append(log, draft('run.started'));
  await append(log, draft('run.started'));
  expect(seen).toEqual([1, 2]);
  expect(notes).toEqual(Array(2).fill('a listener of the event log failed'));
});

test('[L25] a large commit is done in slices: the loop turns meanwhile, and readers see nothing of it before its end', async () => {
  const { log } = await open();
  await append(log, draft('run.started'));
  const stages = Array.from({ length: 2_000 }, (_, index) => ({ stageId: `s${index}`, name: 'n' }));
  const drafts = [0, 1, 2, 3, 4].map((part) =>
    draft('run.created', {
      name: 'r',
      stages: stages.map(({ stageId }) => ({ stageId: `${part}${stageId}`, name: 'n' })),
    }),
  );
  const audience = Array.from({ length: 1_000 }, (_, index) => `u${index}`);
  const heads: number[] = [];
  const pages: StoredEvent[][] = [];
  let isStored = false;
  const large = append(log, ...drafts, ...drafts.map(() => draft('run.started', { audience }))).then(() => {
    isStored = true;
  });
  const small = append(log, draft('run.started', { runId: 'small' }));
  let turns = 0;
  while (!isStored) {
    if (turns === 1)
      void log.read({ scope: { kind: 'all' }, after: 0, limit: 100 }).then((page) => pages.push(page.records));
    heads.push(log.head);
    turns++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all([large, small]);
  expect(turns).toBeGreaterThan(5);
  expect(new Set(heads)).toEqual(new Set([1]));
  await vi.waitFor(() => expect(pages[0]?.length).toBeGreaterThan(1), 30_000);
  expect((await viewOf(log, 'p', 'r'))?.run.stages).toHaveLength(10_000);
});

test('[L26] a run has at most 10,000 stages and 1,000 approvals; a draft that would add one more is refused with its path', async () => {
  const { log } = await open();
  const stages = (from: number, count: number) =>
    Array.from({ length: count }, (_, index) => ({ stageId: `s${from + index}`, name: 'n' }));
  for (let from = 0; from < 10_000; from += 2_000) {
    await append(log, draft('run.created', { name: 'r', stages: stages(from, 2_000) }));
  }
  await expect(append(log, draft('run.started'), draft('stage.started', { stageId: 'more' }))).rejects.toMatchObject({
    code: 'TOO_LARGE',
    path: 'events.1.stageId',
  });
  await expect(append(log, draft('run.created', { name: 'r', stages: stages(9_999, 2) }))).rejects.toMatchObject({
    code: 'TOO_LARGE',
    path: 'events.0.stages',
  });
  await append(log, draft('stage.started', { stageId: 's1' }), draft('run.completed'));
  const requests = (from: number, count: number) =>
    Array.from({ length: count }, (_, index) =>
      draft('governance.required', { approvalId: `a${from + index}`, title: 't' }),
    );
  const denial = draft('approval.denied', { approvalId: 'a0', decidedBy: 'bob', reason: 'no' });
  await append(log, ...requests(0, 990), denial);
  await expect(append(log, ...requests(990, 11))).rejects.toMatchObject({
    code: 'TOO_LARGE',
    path: 'events.10.approvalId',
  });
  await append(log, ...requests(990, 10));
  await expect(append(log, ...requests(1_000, 1))).rejects.toMatchObject({ code: 'TOO_LARGE' });
  const run = (await viewOf(log, 'p', 'r'))?.run;
  expect([run?.stages.length, run?.approvals.length, run?.status]).toEqual([10_000, 1_000, 'completed']);
});
