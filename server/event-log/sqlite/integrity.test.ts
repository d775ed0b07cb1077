import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Checkpoint, Verdict } from '../../../shared/audit.ts';
import { RunwireError } from '../../../shared/errors.ts';
import { foldEvent } from '../../../shared/events.ts';
import type { Problem } from '../../health.ts';
import { append, draft, eraseAt, T0, upTo } from '../conformance/kit.ts';
import { type AlteredLog, describeTampering, fillLog, flipped, ROWS } from '../conformance/tampering.ts';
import { verifyChain, verifyStep } from '../integrity/chain.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { SqliteDatabase } from './database.ts';
import { type DatabaseSyncInstance, openSqlite } from './driver.ts';
import { SqliteChain } from './integrity.ts';
import { openSqliteLog } from './log.ts';
import { migrations } from './schema.ts';
import { verifySqliteFile } from './verify-file.ts';

/**
 * A log with a file that another program has changed. Each test changes the file while no server runs, then verifies the file
 * and a server that opens it.
 */

type Db = DatabaseSyncInstance;

async function newPath(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'runwire-verify-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return join(folder, 'runwire.db');
}

async function open(path: string, options: { now?: () => number } = {}) {
  const damage: { seq: number }[] = [];
  const log = await openSqliteLog({ path, fold: foldEvent, onDamage: (found) => damage.push(found), ...options });
  onTestFinished(() => log.close());
  return Object.assign(log, { damage });
}

type Made = { path: string; checkpoints: Checkpoint[] };
const made = new Map<boolean, Promise<Made>>();
afterAll(async () => {
  for (const { path } of await Promise.all(made.values())) await rm(join(path, '..'), { recursive: true });
});

/** A copy of a closed log of {@link fillLog}. */
async function makeLog({ isWorn = false } = {}): Promise<Made> {
  let original = made.get(isWorn);
  if (!original) {
    original = makeOnce(isWorn);
    made.set(isWorn, original);
  }
  const { path, checkpoints } = await original;
  const copy = await newPath();
  for (const name of ['runwire.db', 'audit.key']) copyFileSync(join(path, '..', name), join(copy, '..', name));
  return { path: copy, checkpoints };
}

async function makeOnce(isWorn: boolean): Promise<Made> {
  const path = join(await mkdtemp(join(tmpdir(), 'runwire-verify-')), 'runwire.db');
  let now = T0;
  const log = await openSqliteLog({ path, fold: foldEvent, now: () => now });
  const setNow = (ms: number) => {
    now = ms;
  };
  const checkpoints = await fillLog(log, setNow, isWorn);
  await log.close();
  return { path, checkpoints };
}

function change(path: string, work: (db: Db) => void): void {
  const db = openSqlite(path);
  try {
    work(db);
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  } finally {
    db.close();
  }
}

const COLUMNS = ['run_row', 'run_seq', 'project_id', 'type', 'event_id', 'actor', 'recorded_at_ms', 'payload', 'salt'];
COLUMNS.push('payload_hash', 'prev_hash');

async function makeAltered(options?: { isWorn?: boolean }): Promise<AlteredLog> {
  const { path, checkpoints } = await makeLog(options);
  let db: Db | undefined;
  const use = () => {
    db ??= openSqlite(path);
    return db;
  };
  const leave = () => {
    db?.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    db?.close();
    db = undefined;
  };
  onTestFinished(leave);
  return {
    checkpoints,
    columns: COLUMNS,
    headTable: 'log_head',
    exec: async (sql) => use().exec(sql),
    rows: async (columns, seq) => use().prepare(`SELECT ${columns} FROM events WHERE seq = ?`).get(seq) as never,
    set: async (name, seq, value) => void setColumn(use(), name, seq, value),
    setHead: async (head) => {
      for (const [name, value] of Object.entries(head)) use().prepare(`UPDATE log_head SET ${name} = ?`).run(value);
    },
    verify: async (kept) => {
      leave();
      return verifySqliteFile(path, { checkpoints: kept });
    },
    open: () => {
      leave();
      return open(path);
    },
  };
}

/** Verdicts of the file, and of a server that opens it, before and after its first event. */
async function expectBroken(path: string, seq: number, reason: string): Promise<void> {
  const verdicts = [verifySqliteFile(path, {})];
  const log = await open(path);
  verdicts.push(await log.integrity.verify());
  await log.close();
  expect(verdicts).toEqual(verdicts.map(() => ({ ok: false, seq, reason })));
}

const column = (db: Db, name: string, seq: number): unknown =>
  (db.prepare(`SELECT ${name} AS value FROM events WHERE seq = ?`).get(seq) as { value: unknown }).value;
const setColumn = (db: Db, name: string, seq: number, value: unknown) =>
  db.prepare(`UPDATE events SET ${name} = ? WHERE seq = ?`).run(value as never, seq);

describeTampering(COLUMNS, makeAltered);

describe('one changed bit is found in a file', () => {
  test('[V2] anywhere in a payload', async () => {
    const { path } = await makeLog();
    const payload = await new Promise<string>((resolve) =>
      change(path, (db) => resolve(column(db, 'payload', 7) as string)),
    );
    for (let place = 0; place < payload.length; place++) {
      change(path, (db) => setColumn(db, 'payload', 7, flipped(payload, place)));
      expect(verifySqliteFile(path, {}), `${place}`).toEqual({ ok: false, seq: 7, reason: 'payload' });
    }
  });

  test('[V2] in the type of a value, or in a number outside the safe range', async () => {
    const { path } = await makeLog();
    const values = { actor: Buffer.from('ci'), run_seq: 2n ** 60n, recorded_at_ms: -(2n ** 62n), run_row: 2n ** 62n };
    const others = {
      payload: Buffer.from('{}'),
      salt: 'salt',
      payload_hash: 'hash',
      prev_hash: 'hash',
      type: Buffer.alloc(0),
    };
    for (const [name, value] of Object.entries({ ...values, ...others })) {
      let before: unknown;
      change(path, (db) => {
        before = column(db, name, 9);
        setColumn(db, name, 9, value);
      });
      const verdict = verifySqliteFile(path, {});
      expect(verdict, name).toMatchObject({ ok: false, seq: 9 });
      change(path, (db) => setColumn(db, name, 9, before));
      expect(verifySqliteFile(path, {}), name).toMatchObject({ ok: true });
    }
  });

  test('[V2] in the project of a run, and of an event moved to the run of that id in another project', async () => {
    const path = await newPath();
    const log = await open(path);
    for (const projectId of ['p', 'q']) await append(log, draft('run.created', { projectId, runId: 'r', name: 'n' }));
    await append(log, ...['p', 'q'].map((projectId) => draft('run.started', { projectId, runId: 'r' })));
    await log.close();
    const rows = `(SELECT run_row FROM events WHERE seq = 2)`;
    change(path, (db) => db.exec(`UPDATE events SET run_row = ${rows} WHERE seq = 3`));
    await expectBroken(path, 3, 'row');
    change(path, (db) =>
      db.exec(`UPDATE events SET run_row = (SELECT run_row FROM events WHERE seq = 1) WHERE seq = 3`),
    );
    change(path, (db) => db.exec(`UPDATE runs SET project_id = 'o' WHERE project_id = 'q'`));
    await expectBroken(path, 2, 'row');
  });
});

describe('files', () => {
  test('[V8] verifying a file needs no server and writes nothing, with or without a WAL', async () => {
    const { path } = await makeLog({ isWorn: true });
    const folder = join(path, '..');
    const state = () => readdirSync(folder).map((name) => [name, readFileSync(join(folder, name)).toString('base64')]);
    const before = state();
    expect(verifySqliteFile(path, {})).toEqual({
      ...{ ok: true, from: 21, to: ROWS, events: ROWS - 20, erased: 2 },
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(state()).toEqual(before);
    const log = await open(path);
    await append(log, draft('run.started'));
    expect(statSync(`${path}-wal`).size).toBeGreaterThan(0);
    expect(verifySqliteFile(path, {})).toMatchObject({ ok: true, to: ROWS + 1 });
  });

  test('[V8] [V9] a file with signed records needs its key, and is invalid with another one', async () => {
    const { path } = await makeLog({ isWorn: true });
    const copy = join(await newPath(), '..', 'copy.db');
    copyFileSync(path, copy);
    expect(() => verifySqliteFile(copy, {})).toThrow('without the public key');
    expect(verifySqliteFile(copy, { keys: AuditKeys.make() })).toEqual({ ok: false, seq: 21, reason: 'beginning' });
    const { publicKey } = AuditKeys.inFile(join(path, '..', 'audit.key'));
    expect(verifySqliteFile(copy, { keys: new AuditKeys(publicKey) })).toMatchObject({ ok: true });
    const fresh = await makeLog();
    copyFileSync(fresh.path, copy);
    expect(verifySqliteFile(copy, {})).toMatchObject({ ok: true });
  });

  test('[V9] the key is created once with mode 0600; a replaced key is trusted while its public half is in the file', async () => {
    const { path } = await makeLog({ isWorn: true });
    const keyPath = join(path, '..', 'audit.key');
    const pem = readFileSync(keyPath, 'utf8');
    expect(pem).toMatch(/^-----BEGIN PRIVATE KEY-----/);
    expect(statSync(keyPath).mode & 0o777).toBe(0o600);
    const former = new AuditKeys(pem);
    expect(AuditKeys.inFile(keyPath).publicKey).toBe(former.publicKey);

    rmSync(keyPath);
    const other = await open(path);
    expect(await other.integrity.verify()).toEqual({ ok: false, seq: 21, reason: 'beginning' });
    await other.close();
    appendFileSync(keyPath, former.publicKey);
    const log = await open(path);
    expect(log.integrity.publicKey).not.toBe(former.publicKey);
    await eraseAt(log, 50);
    expect(await log.integrity.verify()).toMatchObject({ ok: true, erased: 3 });
  });

  test('[V9] an invalid key file is refused, and the error does not quote it', () => {
    for (const pem of ['', 'SECRET', '-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n']) {
      expect(() => new AuditKeys(pem)).toThrow('the key file must contain an Ed25519 key in PEM');
    }
  });

  test('[V16] a database of a release without a stored head is trusted once', async () => {
    const made = await makeLog();
    const path = await newPath();
    const before = migrations.slice(
      0,
      migrations.findIndex((migration) => typeof migration !== 'string'),
    );
    change(path, (db) => {
      for (const migration of before) db.exec(migration as string);
      db.exec(`PRAGMA application_id = 0x52576972; PRAGMA user_version = ${before.length}`);
      db.exec(`ATTACH '${made.path}' AS made; INSERT INTO meta SELECT * FROM made.meta WHERE key = 'epoch'`);
      for (const table of ['runs', 'stages', 'events']) {
        const named = db.prepare(`SELECT group_concat(name) AS columns FROM pragma_table_info('${table}')`).get();
        const { columns } = named as { columns: string };
        db.exec(`INSERT INTO ${table} (${columns}) SELECT ${columns} FROM made.${table}`);
      }
      db.exec('DELETE FROM events WHERE seq <= 20'); // As that release trimmed.
      setColumn(db, 'actor', 100, 'somebody else');
    });
    expect(() => verifySqliteFile(path, {})).toThrow('older or newer schema');
    const log = await open(path);
    expect(log.damage).toEqual([]);
    expect(await log.integrity.verify()).toEqual({ ok: false, seq: 100, reason: 'row' });
    await log.close();
    change(path, (db) => setColumn(db, 'actor', 100, 'ci'));
    const whole = await open(path);
    expect(await whole.integrity.verify()).toMatchObject({ ok: true, from: 21, to: ROWS });
    await whole.close();
    change(path, (db) => db.exec('DELETE FROM log_head'));
    const robbed = await open(path);
    expect(robbed.damage).toHaveLength(1);
    expect(await robbed.integrity.verify()).toMatchObject({ ok: false, reason: 'head' });
  });

  test('[V12] erased text is in no file of the database, during and after the run of the server', async () => {
    const path = await newPath();
    const folder = join(path, '..');
    const log = await open(path);
    const found = (text: string) =>
      readdirSync(folder).filter((name) => readFileSync(join(folder, name)).includes(text));
    const secrets: [number, string][] = [];
    // Rows of all sizes, written many times, so that SQLite moves them between pages.
    for (let index = 0; index < 600; index++) {
      const secret = `SECRET-${index}-OF-ONE`;
      const stageId = `s${(index * 7) % 50}`;
      const padding = 'x'.repeat((index * 131) % 1_700);
      const [receipt] = await append(
        log,
        draft('stage.progress', { stageId, message: `${secret} ${padding}`, audience: [secret] }),
        draft('artifact.created', { artifactId: `f${index % 40}`, name: 'n', uri: `https://x/${padding}` }),
      );
      if (index % 20 === 0) secrets.push([receipt?.seq as number, secret]);
    }
    expect(found(secrets[0]?.[1] as string)).not.toEqual([]);
    for (const [seq, secret] of secrets) {
      await eraseAt(log, seq);
      expect(found(secret)).toEqual([]);
    }
    await append(log, draft('run.completed'));
    await log.close();
    for (const [, secret] of secrets) expect(found(secret)).toEqual([]);
    expect(found('SECRET-1-OF-ONE')).toEqual(['runwire.db']);
    expect(verifySqliteFile(path, {})).toMatchObject({ ok: true, erased: 30 });
  });

  test('[V12] copies that SQLite left when it moved or changed a row are overwritten', async () => {
    const path = await newPath();
    const found = () => readFileSync(path).includes('SECRET');
    const made = await open(path);
    await append(made, draft('stage.started', { stageId: 'a' }), draft('run.created', { name: 'SECRET' }));
    await made.close();
    // Without `secure_delete`, as in an earlier release: the old row stays in its page.
    change(path, (db) =>
      db.exec(`PRAGMA secure_delete = OFF; UPDATE stages SET state = json_set(state, '$.message', '${'x'.repeat(9_000)} SECRET');
        UPDATE stages SET state = json_remove(state, '$.message')`),
    );
    const log = await open(path);
    await eraseAt(log, 2);
    expect(found()).toBe(false);
    expect(await log.integrity.verify()).toMatchObject({ ok: true, erased: 1 });
  });

  test('[V12] a file that another process has locked is cleaned once the lock is free', async () => {
    const path = await newPath();
    const found = () =>
      ['', '-wal'].some((end) => existsSync(`${path}${end}`) && readFileSync(`${path}${end}`).includes('SECRET'));
    const made = await open(path);
    await append(made, draft('stage.started', { stageId: 'a' }), draft('run.created', { name: 'SECRET' }));
    await made.close();
    change(path, (db) =>
      db.exec(`PRAGMA secure_delete = OFF; UPDATE stages SET state = json_set(state, '$.message', '${'x'.repeat(9_000)} SECRET');
        UPDATE stages SET state = json_remove(state, '$.message')`),
    );
    const log = await open(path);
    const other = openSqlite(path, { timeout: 0 });
    onTestFinished(() => other.close());
    log.integrity.onErased(() => other.exec('BEGIN IMMEDIATE')); // Between the transaction and the cleaning.
    await eraseAt(log, 2);
    expect(found()).toBe(true);
    other.exec('ROLLBACK');
    await expect.poll(found).toBe(false);
    expect(await log.integrity.verify()).toMatchObject({ ok: true, erased: 1 });
  });

  test('[V12] a large file is rebuilt after the next start, by another process, while the log is in use', async () => {
    const path = await newPath();
    const found = () =>
      ['', '-wal'].some((end) => existsSync(`${path}${end}`) && readFileSync(`${path}${end}`).includes('SECRET'));
    const made = await open(path);
    await append(made, draft('stage.started', { stageId: 'a' }), draft('run.created', { name: 'SECRET' }));
    const message = 'm'.repeat(2_000);
    for (let batch = 0; batch < 9; batch++) {
      await append(made, ...upTo(1_000).map(() => draft('stage.progress', { stageId: 'b', message })));
    }
    await made.close();
    change(path, (db) =>
      db.exec(`PRAGMA secure_delete = OFF; UPDATE stages SET state = json_set(state, '$.message', '${'x'.repeat(9_000)} SECRET');
        UPDATE stages SET state = json_remove(state, '$.message')`),
    );
    let log = await open(path);
    await eraseAt(log, 2);
    await log.close();
    expect(statSync(path).size).toBeGreaterThan(16 * 1024 * 1024);
    expect(found()).toBe(true);
    log = await open(path);
    await append(log, draft('run.started'));
    await expect.poll(found, { interval: 200 }).toBe(false);
    await append(log, draft('run.started'));
    expect(await log.integrity.verify()).toMatchObject({ ok: true, erased: 1 });
  });

  test('[V12] after a kill, or while another process reads, the files are cleaned as soon as possible', async () => {
    const path = await newPath();
    const folder = join(path, '..');
    const found = () => readdirSync(folder).filter((name) => readFileSync(join(folder, name)).includes('SECRET'));
    const log = await open(path);
    await append(log, draft('run.created', { name: 'SECRET' }));
    const reader = openSqlite(path, { readOnly: true });
    onTestFinished(() => {
      if (reader.isOpen) reader.close();
    });
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM events').get();
    await eraseAt(log, 1);
    expect(found()).not.toEqual([]);
    // The state after a kill.
    const copy = await newPath();
    for (const end of ['', '-wal']) copyFileSync(`${path}${end}`, `${copy}${end}`);
    copyFileSync(join(folder, 'audit.key'), join(copy, '..', 'audit.key'));
    reader.exec('COMMIT');
    reader.close();
    await expect.poll(found).toEqual([]);
    expect(existsSync(`${copy}-wal`)).toBe(true);
    const later = await open(copy);
    expect(readFileSync(copy).includes('SECRET')).toBe(false);
    expect(readFileSync(`${copy}-wal`).includes('SECRET')).toBe(false);
    expect(await later.integrity.verify()).toMatchObject({ ok: true, erased: 1 });
  });

  /** A log with a text to erase at position 1. `warnings`: of the condition `erasure`; undefined: it is met. */
  async function openToErase() {
    const path = await newPath();
    const warnings: (string | undefined)[] = [];
    const health = {
      report: (condition: string, problem: Problem | undefined) => {
        if (condition === 'erasure') warnings.push(problem && `${problem.isWarning} ${problem.message}`);
      },
      note: () => undefined,
    };
    const log = await openSqliteLog({ path, fold: foldEvent, health });
    onTestFinished(() => log.close());
    await append(log, draft('run.created', { name: 'SECRET' }));
    const found = () => ['', '-wal'].some((end) => readFileSync(`${path}${end}`).includes('SECRET'));
    return { log, path, warnings, found };
  }

  test('[V12] a cleaning that was refused is tried again, and condition `erasure` has a warning until it has succeeded', async () => {
    const { log, path, warnings, found } = await openToErase();
    const reader = openSqlite(path, { readOnly: true });
    onTestFinished(() => {
      if (reader.isOpen) reader.close();
    });
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM events').get();
    const emptyWal = vi.spyOn(SqliteDatabase.prototype, 'emptyWal');
    onTestFinished(() => void vi.restoreAllMocks());
    await eraseAt(log, 1);
    expect(warnings.at(-1)).toMatch(/^true erased text is still in .*: another process reads/);
    const database = emptyWal.mock.contexts[0] as SqliteDatabase;
    database.refusal = new RunwireError('UNAVAILABLE', 'the event log waits for the disk'); // As after an fsync that failed.
    reader.exec('COMMIT');
    reader.close();
    await expect.poll(() => warnings.at(-1), { timeout: 60_000 }).toContain('waits for the disk');
    expect(found()).toBe(true);
    database.refusal = undefined;
    await expect.poll(() => warnings.at(-1), { timeout: 60_000 }).toBeUndefined();
    expect(found()).toBe(false);
  });

  test('[V12] a cleaning that failed is tried again after a minute', async () => {
    const { log, path, warnings, found } = await openToErase();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    renameSync(path, `${path}-moved`);
    await eraseAt(log, 1);
    expect(warnings).toEqual([expect.stringContaining('true erased text is still in the files')]);
    expect(warnings.at(-1)).not.toContain(path);
    renameSync(`${path}-moved`, path);
    expect(found()).toBe(true);
    vi.advanceTimersByTime(60_000);
    while (warnings.at(-1) !== undefined) await new Promise((resolve) => setImmediate(resolve));
    expect(found()).toBe(false);
  });
});

test('[V1] a log verifies when all its events of the start are trimmed during verification', async () => {
  const path = await newPath();
  let now = T0;
  const log = await open(path, { now: () => now });
  await append(log, ...Array.from({ length: 40 }, () => draft('run.started')));
  const db = openSqlite(path, { readOnly: true });
  const verifying = verifyChain({ keys: new AuditKeys(log.integrity.publicKey) });
  const chain = new SqliteChain(db, log.epoch);
  expect([verifyStep(verifying, chain), verifyStep(verifying, chain)]).toEqual([undefined, undefined]);
  await append(log, draft('run.started'), draft('run.started'));
  now += 1_000;
  await log.trim(now);
  expect(log.oldest).toBeGreaterThan(41);
  let verdict: Verdict | undefined;
  while (!verdict) verdict = verifyStep(verifying, chain);
  expect(verdict).toMatchObject({ ok: true, from: log.oldest });
  db.close();
});

test('[L31] a row with an earlier time than the row before it is named, unless a signed repair is stored between them', async () => {
  const path = await newPath();
  let now = T0 + 60_000;
  const log = await open(path, { now: () => now });
  await append(log, draft('run.started'), draft('run.started'));
  now = T0;
  await log.integrity.repairClock({ by: 'ada' });
  await append(log, draft('run.started'));
  await log.close();
  expect(verifySqliteFile(path, {})).toMatchObject({ ok: true, events: 3 });
  for (const sql of [
    `UPDATE clock_repairs SET repair = json_set(repair, '$.by', 'eve')`,
    `UPDATE clock_repairs SET repair = json_set(repair, '$.signature', '')`,
    'UPDATE clock_repairs SET seq = 1',
    'DELETE FROM clock_repairs',
  ]) {
    const copy = await newPath();
    for (const name of ['runwire.db', 'audit.key']) copyFileSync(join(path, '..', name), join(copy, '..', name));
    change(copy, (db) => db.exec(sql));
    expect({ sql, verdict: verifySqliteFile(copy, {}) }).toEqual({
      sql,
      verdict: { ok: false, seq: 3, reason: 'row' },
    });
  }
});
