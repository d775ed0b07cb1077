import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { foldEvent } from '../../../shared/events.ts';
import type { RunHeader, RunRows } from '../../../shared/run.ts';
import { append, arbitraryTurns, attempt, draft, eraseAt, folded, readAll, T0 } from '../conformance/kit.ts';
import { describeEventLog } from '../conformance/store.ts';
import type { EventLog } from '../contract/store.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { prepareAccess } from './access.ts';
import { type DatabaseSyncInstance, openSqlite } from './driver.ts';
import { openSqliteLog } from './log.ts';
import { prepareRetention } from './retention.ts';
import { prepareRowStatements } from './rows.ts';
import { migrate } from './schema.ts';
import { prepareSearch } from './search.ts';
import { prepareBlocks } from './search-index.ts';
import { prepareStatements } from './statements.ts';

const newFolder = () => mkdtemp(join(tmpdir(), 'runwire-sqlite-'));

describeEventLog('SQLite in a file', async () => {
  const folder = await newFolder();
  return {
    open: (options) => openSqliteLog({ path: join(folder, 'runwire.db'), fold: foldEvent, ...options }),
    remove: () => rm(folder, { recursive: true }),
  };
});

/** A path for a database, in a folder that is deleted after the test. */
async function newPath(): Promise<string> {
  const folder = await newFolder();
  onTestFinished(() => rm(folder, { recursive: true }));
  return join(folder, 'runwire.db');
}

async function open(path: string): Promise<EventLog> {
  const log = await openSqliteLog({ path, fold: foldEvent });
  onTestFinished(() => log.close());
  return log;
}

/** Another connection to the file: it sees only committed rows. */
function connect(path: string): DatabaseSyncInstance {
  const db = openSqlite(path, { timeout: 0 });
  onTestFinished(() => {
    if (db.isOpen) db.close();
  });
  return db;
}

/** A separate process that appends without end, and prints each receipt. */
const APPENDER = `
  import { openSqliteLog } from ${JSON.stringify(new URL('log.ts', import.meta.url).href)};
  import { foldEvent } from ${JSON.stringify(new URL('../../../shared/events.ts', import.meta.url).href)};
  const log = await openSqliteLog({ path: process.argv[1], fold: foldEvent });
  async function publish(publisher) {
    for (let n = 0; ; n++) {
      const envelope = { projectId: 'p', runId: 'r', timestamp: new Date().toISOString() };
      const drafts = [0, 1, 2].map((k) => ({
        ...envelope, type: 'stage.started', stageId: publisher + n, eventId: [publisher, n, k].join('-'),
      }));
      const receipts = await log.append({ actor: 'ci', drafts });
      process.stdout.write(receipts.map((receipt) => receipt.seq + ' ' + receipt.eventId + '\\n').join(''));
    }
  }
  for (const publisher of ['a', 'b', 'c']) publish(publisher);
`;

/** Starts an appender, kills it with SIGKILL after `lines` lines, and returns all acknowledged events. */
async function appendAndKill(path: string, lines: number, whenUp?: () => Promise<void>): Promise<[string, string][]> {
  const child: ChildProcess = spawn(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '--eval', APPENDER, path],
    { cwd: new URL('../../..', import.meta.url).pathname, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  onTestFinished(() => void child.kill('SIGKILL'));
  const acknowledged: [string, string][] = [];
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    if (acknowledged.length === 0) await whenUp?.();
    acknowledged.push(line.split(' ') as [string, string]);
    if (acknowledged.length === lines) child.kill('SIGKILL');
  }
  // The last line may be incomplete.
  return acknowledged.filter(([, eventId]) => /^[abc]-\d+-\d$/.test(eventId ?? '')).slice(0, -1);
}

test('[L6] [L17] a killed server has lost no acknowledged event, and the log opens again', async () => {
  const path = await newPath();
  for (const round of [1, 2]) {
    const acknowledged = await appendAndKill(path, 400 * round);
    expect(acknowledged.length).toBeGreaterThanOrEqual(398);
    const log = await openSqliteLog({ path, fold: foldEvent });
    const records = await readAll(log);
    const stored = new Map(records.map((record) => [(record.event as { eventId: string }).eventId, record.seq]));
    for (const [seq, eventId] of acknowledged) expect(stored.get(eventId)).toBe(Number(seq));
    expect(records.map((record) => record.seq)).toEqual(records.map((_, index) => index + 1));
    expect(records.length % 3).toBe(0);
    expect((await log.runs.get('p', 'r'))?.run).toEqual(folded(records));
    await log.close();
    expectChainIsWhole(path, records.length);
  }
});

test('[L17] a second server is refused with a clear message, and can open the log after the first has closed it', async () => {
  const path = await newPath();
  const log = await open(path);
  await append(log, draft('run.started'));
  await expect(open(path)).rejects.toMatchObject({
    name: 'RunwireError',
    code: 'UNAVAILABLE',
    message: expect.stringContaining('another runwire server has this database open'),
  });
  await append(log, draft('run.started'));
  await log.close();
  expect((await open(path)).head).toBe(2);
});

test('[L17] a second server is refused while one in another process runs', async () => {
  const path = await newPath();
  await appendAndKill(path, 3, async () => {
    await expect(open(path)).rejects.toThrow('another runwire server');
  });
  expect((await open(path)).head).toBeGreaterThan(0);
});

/** Hashes of a database's files by name, except the lock and the index of the WAL, which readers also write. */
function filesBeside(path: string): Record<string, string> {
  const folder = join(path, '..');
  const names = readdirSync(folder).filter((name) => !/-(lock|shm)$/.test(name));
  return Object.fromEntries(names.map((name) => [name, sha256(readFileSync(join(folder, name)))]));
}

test('[L18] a database of another program is refused and not changed', async () => {
  const path = await newPath();
  const foreign = connect(path);
  foreign.exec(`CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('mine')`);
  foreign.close();
  const before = filesBeside(path);
  await expect(open(path)).rejects.toMatchObject({ code: 'UNAVAILABLE', message: expect.stringMatching(/another/) });
  expect(filesBeside(path)).toEqual(before);
});

test('[L18] a database of a newer schema is refused and not changed', async () => {
  const path = await newPath();
  await (await open(path)).close();
  const newer = connect(path);
  newer.exec('PRAGMA user_version = 1000');
  newer.close();
  const before = filesBeside(path);
  await expect(open(path)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringMatching(/1000.*newer/),
  });
  expect(filesBeside(path)).toEqual(before);
});

test('[L18] a file that is no database is refused and not changed', async () => {
  const path = await newPath();
  writeFileSync(path, 'Dear diary, this is not a database. '.repeat(100));
  const before = filesBeside(path);
  await expect(open(path)).rejects.toMatchObject({ name: 'RunwireError', code: 'UNAVAILABLE' });
  expect(filesBeside(path)).toEqual(before);
});

test('[L18] a newer database in use is refused, and its WAL is not moved into the file', async () => {
  const path = await newPath();
  const newer = connect(path);
  newer.exec('PRAGMA journal_mode = WAL; PRAGMA application_id = 0x52576972; CREATE TABLE t (x)');
  newer.exec('PRAGMA user_version = 1000');
  const before = filesBeside(path);
  await expect(open(path)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringMatching(/1000.*newer/),
  });
  expect(filesBeside(path)).toEqual(before);
});

test('[L18] after a refused file is moved away, a new log opens at its path', async () => {
  const path = await newPath();
  writeFileSync(path, 'not a database'.repeat(100));
  await expect(open(path)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  await rm(path);
  expect((await open(path)).head).toBe(0);
});

test('[L16] after close, the database file alone holds the whole log', async () => {
  const path = await newPath();
  const log = await open(path);
  await append(log, draft('run.started'), draft('run.completed'));
  await log.close();
  const copy = `${path}.copy`;
  copyFileSync(path, copy);
  expect((await open(copy)).head).toBe(2);
});

test('[L8] trimming leaves no row of a trimmed event', async () => {
  const path = await newPath();
  const log = await open(path);
  const audience = ['ann', 'bob'];
  for (let index = 0; index < 3; index++) await append(log, draft('run.started', { audience }));
  await log.trim(Date.now() + 60_000);
  await append(log, draft('run.started', { audience }));
  await log.trim(Date.now() + 60_000);
  const rows = connect(path).prepare('SELECT user_id, seq FROM event_users ORDER BY user_id').all();
  expect(rows).toEqual([
    { user_id: 'ann', seq: 4 },
    { user_id: 'bob', seq: 4 },
  ]);
});

test('[L19] no statement scans a whole table, except one with a LIMIT', () => {
  const db = openSqlite(':memory:');
  onTestFinished(() => db.close());
  migrate(db, AuditKeys.make);
  const sources = (value: object): string[] =>
    Object.values(value).flatMap((item) => ('sourceSQL' in item ? [item.sourceSQL] : sources(item)));
  const prepared = [
    prepareStatements,
    prepareRowStatements,
    prepareBlocks,
    prepareSearch,
    prepareAccess,
    prepareRetention,
  ];
  const statements = sources(prepared.map((prepare) => prepare(db)));
  const scans = statements.filter((sql) => {
    const values = new Set(sql.match(/\?\d+/g)).size || sql.split('?').length - 1;
    const plan = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...Array(values).fill(1));
    // The rows of a subquery are not a table: its own steps say how it finds them.
    return plan.some((step) =>
      /^SCAN (?!ids |found$|\d+-ROW VALUES |\(subquery-)/.test((step as { detail: string }).detail),
    );
  });
  expect(statements.length).toBeGreaterThan(55);
  expect(scans).toEqual([expect.stringContaining('ORDER BY seq LIMIT ?')]);
});

test('[L13] [A4] changed runs of a project are read from an index of the project alone', () => {
  const db = openSqlite(':memory:');
  onTestFinished(() => db.close());
  migrate(db, AuditKeys.make);
  const { sourceSQL } = prepareStatements(db).changedOfProject;
  const plan = db.prepare(`EXPLAIN QUERY PLAN ${sourceSQL}`).all(1, 1, 'p') as { detail: string }[];
  const reads = plan.map(({ detail }) => detail).filter((detail) => / runs | r /.test(detail));
  expect(reads).toEqual([
    'SEARCH runs USING INDEX runs_by_project_change (project_id=? AND last_era>?)',
    'SEARCH r USING INTEGER PRIMARY KEY (rowid=?)',
  ]);
});

test('[L20] only the owner can read the files of a log, under any umask', async () => {
  const folder = join(await newPath(), '..', 'data');
  const before = process.umask(0);
  onTestFinished(() => void process.umask(before));
  const log = await open(join(folder, 'runwire.db'));
  await append(log, draft('run.started'));
  const modes = ['', ...readdirSync(folder)].map((name) => statSync(join(folder, name)).mode & 0o077);
  expect(modes.length).toBeGreaterThan(3);
  expect(modes.filter((mode) => mode !== 0)).toEqual([]);
});

test('[L16] a failed read is noted with the error of the store; a fold that throws is INTERNAL and not noted', async () => {
  const path = await newPath();
  const failures: unknown[] = [];
  const fold = (_rows: unknown, event: { type: string }) => {
    if (event.type === 'run.failed') throw new TypeError('a defect');
  };
  const log = await openSqliteLog({
    path,
    fold,
    health: { report: () => undefined, note: (_message, { err }) => failures.push(err) },
  });
  onTestFinished(() => log.close());
  await expect(append(log, draft('run.failed'))).rejects.toMatchObject({ code: 'INTERNAL' });
  expect(failures).toEqual([]);
  connect(path).exec('DROP TABLE event_users');
  await expect(log.read({ scope: { kind: 'user', userId: 'ann' }, after: 0, limit: 1 })).rejects.toMatchObject({
    code: 'UNAVAILABLE',
  });
  expect(failures).toHaveLength(1);
});

test('[L16] an invalid path is UNAVAILABLE', async () => {
  const path = await newPath();
  writeFileSync(path, '');
  await expect(open(join(path, 'below-a-file.db'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  const folder = join(path, '..', 'folder');
  mkdirSync(folder);
  await expect(open(folder)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
});

test('[L4] [L10] an event and its run are committed before listeners and publishers get it', async () => {
  const path = await newPath();
  const log = await open(path);
  const other = connect(path);
  const committed = () => {
    const row = other
      .prepare('SELECT (SELECT max(seq) FROM events) AS seq, (SELECT state FROM runs) AS header')
      .get() as { seq: number; header: string };
    const stages = other.prepare('SELECT count(*) AS count FROM stages').get() as { count: number };
    return [row.seq, (JSON.parse(row.header) as RunHeader).lastSeq, stages.count];
  };
  const seen: unknown[] = [];
  log.subscribe(() => seen.push(committed()));
  for (const stageId of ['a', 'b']) {
    await append(log, draft('stage.started', { stageId }));
    seen.push(committed());
  }
  expect(seen).toEqual([
    [1, 1, 1],
    [1, 1, 1],
    [2, 2, 2],
    [2, 2, 2],
  ]);
});

test('[L2] [L16] a disk error refuses all batches of the turn, and the next turn continues from the same head', async () => {
  const path = await newPath();
  const log = await open(path);
  await append(log, draft('run.started'));
  const commits: number[] = [];
  log.subscribe((records) => commits.push(...records.map((record) => record.seq)));
  // Like a full disk, RAISE(ROLLBACK) undoes the whole transaction.
  connect(path).exec(
    `CREATE TRIGGER fails BEFORE INSERT ON events WHEN NEW.event_id = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'disk'); END`,
  );
  const answers = await Promise.allSettled([
    append(log, draft('run.started')),
    append(log, draft('run.started', { eventId: 'bad' })),
    append(log, draft('run.started')),
  ]);
  expect(answers.map((answer) => (answer.status === 'rejected' ? answer.reason.code : 'stored'))).toEqual(
    Array(3).fill('UNAVAILABLE'),
  );
  expect({ head: log.head, commits }).toEqual({ head: 1, commits: [] });
  expect(await append(log, draft('run.started'))).toMatchObject([{ seq: 2, runSeq: 2 }]);
  await log.close();
  expectChainIsWhole(path, 2);
});

test('[L2] a batch that SQLite refuses does not affect other batches of its turn', async () => {
  const path = await newPath();
  const log = await open(path);
  await append(log, draft('run.started'));
  const commits: number[] = [];
  log.subscribe((records) => commits.push(...records.map((record) => record.seq)));
  connect(path).exec(
    `CREATE TRIGGER fails BEFORE INSERT ON events WHEN NEW.event_id = 'bad' BEGIN SELECT RAISE(ABORT, 'this'); END`,
  );
  const answers = await Promise.allSettled([
    append(log, draft('run.started')),
    append(log, draft('run.started'), draft('run.started', { eventId: 'bad' })),
    append(log, draft('run.started')),
  ]);
  expect(answers).toMatchObject([
    { status: 'fulfilled', value: [{ seq: 2, runSeq: 2 }] },
    { status: 'rejected', reason: { code: 'UNAVAILABLE' } },
    { status: 'fulfilled', value: [{ seq: 3, runSeq: 3 }] },
  ]);
  expect(commits).toEqual([2, 3]);
  await log.close();
  expectChainIsWhole(path, 3);
});

test('[L2] [L10] batches of one turn, some of them refused, give the same rows as one batch a turn', async () => {
  const now = () => T0;
  // `last_seq` of a row is that of its commit, which differs.
  const tables = [
    'SELECT seq, run_row, run_seq, project_id, type, event_id, actor, recorded_at_ms, payload FROM events ORDER BY seq',
    'SELECT * FROM event_users ORDER BY user_id, seq',
    'SELECT * FROM runs ORDER BY row_id',
    'SELECT run_row, stage_id, start_key, state FROM stages ORDER BY run_row, stage_id',
    'SELECT run_row, artifact_id, state FROM artifacts ORDER BY run_row, artifact_id',
    'SELECT run_row, approval_id, status, state FROM approvals ORDER BY run_row, approval_id',
  ];
  const paths = [await newPath(), await newPath()] as const;
  const [together, alone] = [
    await openSqliteLog({ path: paths[0], fold: foldEvent, now }),
    await openSqliteLog({ path: paths[1], fold: foldEvent, now }),
  ];
  for (const [round, turns] of fc.sample(arbitraryTurns(), { numRuns: 30, seed: 11 }).entries()) {
    for (const turn of turns) {
      // Runs of this round only: otherwise all stages would have rows after the first round.
      const batches = turn.map(({ failsAt, drafts }) => ({
        failsAt,
        drafts: drafts.map((item) => ({ ...item, projectId: `${item.projectId}${round}` })),
      }));
      await Promise.all(batches.map((each) => attempt(together, each)));
      for (const each of batches) await attempt(alone, each);
    }
  }
  const length = together.head;
  for (const log of [together, alone]) await log.close();
  const [rows, expected] = paths.map((path) => {
    const db = connect(path);
    expectChainIsWhole(path, length);
    return tables.map((sql) => db.prepare(sql).all().map(parsed));
  });
  expect(length).toBeGreaterThan(300);
  expect(rows).toEqual(expected);
});

/** Parses the JSON of a row: the keys of a state have no order. */
const parsed = (row: object) => ('state' in row ? { ...row, state: JSON.parse(row.state as string) } : row);

test('[L10] no row is cached between commits: a change of another process is used', async () => {
  const path = await newPath();
  const log = await open(path);
  await append(log, draft('run.created', { name: 'n' }), draft('stage.started', { stageId: 'a' }));
  connect(path).exec(
    `UPDATE runs SET state = json_set(state, '$.labels', json('{"by":"hand"}'));
     UPDATE stages SET state = json_set(state, '$.message', 'by hand')`,
  );
  await append(log, draft('run.started'), draft('stage.progress', { stageId: 'a', progress: 1 }));
  expect((await log.runs.get('p', 'r'))?.run).toMatchObject({
    labels: { by: 'hand' },
    stages: [{ message: 'by hand', progress: 1 }],
  });
});

test('[F8] [F10] the current stage may be in the table or in memory', async () => {
  const log = await open(await newPath());
  const at = (second: number) => new Date(T0 + second * 1_000).toISOString();
  const start = (stageId: string, second: number) => draft('stage.started', { stageId, timestamp: at(second) });
  const end = (stageId: string) => draft('stage.completed', { stageId, timestamp: at(99) });
  await append(log, ...['a', 'b', 'c', 'd'].map((stageId, index) => start(stageId, index)));
  // In one commit: d and b end, e starts between them and ends, c ends.
  const currentAfter: unknown[] = [];
  const check = (rows: RunRows) => currentAfter.push(rows.header()?.currentStageId);
  await log.append({
    actor: 'ci',
    drafts: [end('d'), end('b'), start('e', 2.5), end('e'), end('c'), end('a'), draft('run.started')],
    check,
  });
  expect(currentAfter).toEqual(['d', 'c', 'c', 'e', 'c', 'a', undefined]);
  expect((await log.runs.get('p', 'r'))?.run).toEqual(folded(await readAll(log)));
});

test('[L4] [L16] a failed commit is UNAVAILABLE, and calls no listener', async () => {
  const path = await newPath();
  const log = await open(path);
  const commits: number[] = [];
  log.subscribe((records) => commits.push(records.length));
  connect(path).exec(
    `CREATE TABLE pending (id INTEGER REFERENCES meta (key) DEFERRABLE INITIALLY DEFERRED);
     CREATE TRIGGER fails AFTER INSERT ON events WHEN NEW.event_id = 'bad' BEGIN INSERT INTO pending VALUES (7); END`,
  );
  const answers = await Promise.allSettled([
    append(log, draft('run.started')),
    append(log, draft('run.started', { eventId: 'bad' })),
  ]);
  expect(answers).toMatchObject(
    Array(2).fill({ status: 'rejected', reason: { name: 'RunwireError', code: 'UNAVAILABLE' } }),
  );
  expect({ head: log.head, commits }).toEqual({ head: 0, commits: [] });
  expect(await append(log, draft('run.started'))).toMatchObject([{ seq: 1, runSeq: 1 }]);
});

test('[L16] a failed read is UNAVAILABLE', async () => {
  const path = await newPath();
  const log = await open(path);
  await append(log, draft('run.started'));
  connect(path).exec('DROP TABLE events; DROP TABLE stages; DROP TABLE runs');
  const unavailable = { name: 'RunwireError', code: 'UNAVAILABLE', message: 'the event log failed' };
  await expect(log.read({ scope: { kind: 'all' }, after: 0, limit: 1 })).rejects.toMatchObject(unavailable);
  await expect(log.runs.get('p', 'r')).rejects.toMatchObject(unavailable);
  await expect(log.runs.list({ projects: 'all', limit: 1 })).rejects.toMatchObject(unavailable);
  await expect(log.runs.changedSince({ projects: 'all', after: 0, limit: 1 })).rejects.toMatchObject(unavailable);
  await expect(log.runs.projectsOf('r')).rejects.toMatchObject(unavailable);
  await expect(log.trim(Date.now())).rejects.toMatchObject(unavailable);
  await expect(append(log, draft('run.started'))).rejects.toMatchObject(unavailable);
});

test('[L15] each row holds a salted hash of its canonical payload and the hash of the row before', async () => {
  const path = await newPath();
  let log = await openSqliteLog({ path, fold: foldEvent, now: () => T0 });
  const labels = { zebra: '1', 'ä ö': '～', Apple: '😀', '10': 'ten', '9': 'nine' };
  await append(log, draft('run.created', { name: 'q"uote\n', labels }), draft('run.started', { runId: 's' }));
  await append(log, draft('stage.progress', { stageId: 'a', progress: 1e-7, audience: ['bob', 'ann'] }));
  await log.close();
  log = await openSqliteLog({ path, fold: foldEvent });
  await append(log, draft('run.completed', { durationMs: 1e21 }));
  await log.close();
  expectChainIsWhole(path, 4);

  const db = connect(path);
  const salts = db.prepare('SELECT count(DISTINCT salt) AS salts, min(length(salt)) AS bytes FROM events').get();
  expect(salts).toEqual({ salts: 4, bytes: 16 });
  db.exec(`UPDATE events SET actor = 'someone else' WHERE seq = 3`);
  expect(() => expectChainIsWhole(path, 4)).toThrow();
});

test('[L15] the chain of the kept rows is valid after a trim', async () => {
  const path = await newPath();
  const log = await openSqliteLog({ path, fold: foldEvent });
  await append(log, draft('run.started'), draft('run.started'), draft('run.started'));
  const [, , third] = rawRows(path);
  await log.trim(Date.now() + 60_000);
  await append(log, draft('run.started'));
  await log.close();
  const rows = rawRows(path);
  expect(rows.map((row) => row.seq)).toEqual([3, 4]);
  expect(rows[0]).toEqual(third);
  expect(rows[1]?.prev_hash.toString('hex')).toBe(hashOf(rows[0] as RawRow));
});

type RawRow = {
  seq: number;
  project_id: string;
  run_id: string;
  run_seq: number;
  type: string;
  event_id: string;
  actor: string;
  recorded_at_ms: number;
  payload: string;
  salt: Buffer;
  payload_hash: Buffer;
  prev_hash: Buffer;
};

/** The rows, read by a separate connection. */
function rawRows(path: string): RawRow[] {
  const db = openSqlite(path, { readOnly: true });
  try {
    const rows = db
      .prepare('SELECT e.*, r.run_id FROM events e JOIN runs r ON r.row_id = e.run_row ORDER BY seq')
      .all();
    const blob = (value: unknown) => Buffer.from(value as Uint8Array);
    return (rows as RawRow[]).map((row) => ({
      ...row,
      salt: blob(row.salt),
      payload_hash: blob(row.payload_hash),
      prev_hash: blob(row.prev_hash),
    }));
  } finally {
    db.close();
  }
}

const sha256 = (...parts: (string | Buffer)[]) =>
  createHash('sha256')
    .update(Buffer.concat(parts.map((part) => Buffer.from(part as string))))
    .digest('hex');

const hashOf = (row: RawRow) =>
  sha256(
    JSON.stringify([
      row.seq,
      row.project_id,
      row.run_id,
      row.run_seq,
      row.type,
      row.event_id,
      row.actor,
      row.recorded_at_ms,
    ]),
    row.prev_hash,
    row.payload_hash,
  );

/** Recomputes the chain from the raw table, without the log's code. */
function expectChainIsWhole(path: string, length: number): void {
  const rows = rawRows(path);
  expect(rows).toHaveLength(length);
  let previous = '0'.repeat(64);
  for (const row of rows) {
    expect(row.prev_hash.toString('hex')).toBe(previous);
    expect(row.payload_hash.toString('hex')).toBe(sha256(row.salt, row.payload));
    const event = JSON.parse(row.payload);
    expect(event).toMatchObject({
      seq: row.seq,
      runSeq: row.run_seq,
      projectId: row.project_id,
      runId: row.run_id,
      type: row.type,
      eventId: row.event_id,
      actor: row.actor,
      recordedAt: new Date(row.recorded_at_ms).toISOString(),
    });
    expect(keysInOrder(row.payload)).toBe(true);
    previous = hashOf(row);
  }
}

/** Whether the keys of the outermost object of a JSON text are sorted. */
function keysInOrder(json: string): boolean {
  const keys = Object.keys(JSON.parse(json));
  return keys.join() === [...keys].sort().join();
}

test('[L32] a removed run leaves no row in the file, except those of its approvals', async () => {
  const path = await newPath();
  let now = T0;
  const log = await openSqliteLog({ path, fold: foldEvent, now: () => now });
  onTestFinished(() => log.close());
  const stage = { stageId: 's', name: 'S' };
  const run = (runId: string, ...more: Parameters<typeof append>[1][]) =>
    append(
      log,
      draft('run.created', { runId, name: 'n', stages: [stage] }),
      draft('artifact.created', { runId, artifactId: 'f', name: 'F' }),
      ...more,
      draft('run.completed', { runId }),
    );
  await run('plain');
  const request = draft('governance.required', { runId: 'asked', approvalId: 'a', title: 't' });
  await run('asked', request, draft('approval.granted', { runId: 'asked', approvalId: 'a', decidedBy: 'ann' }));
  await eraseAt(log, 1);
  now += 1_000;
  await append(log, draft('run.started', { runId: 'last' }));
  await log.trim(now);
  const db = connect(path);
  const count = (table: string) =>
    (db.prepare(`SELECT count(*) AS count FROM ${table}`).get() as { count: number }).count;
  const counts = () => ['runs', 'stages', 'artifacts', 'approvals', 'erasures', 'removed_runs'].map(count);
  expect(counts()).toEqual([3, 2, 2, 1, 1, 0]);
  expect(await log.runs.remove(new Date(Date.now() + 86_400_000).toISOString())).toEqual({ removed: 2 });
  expect(counts()).toEqual([1, 0, 0, 1, 0, 1]);
});
