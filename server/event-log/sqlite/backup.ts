import {
  appendFileSync,
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Checkpoint, Verdict } from '../../../shared/audit.ts';
import { RunwireError } from '../../../shared/errors.ts';
import { checkpointAt, isAttested, renewalOf } from '../integrity/attestation.ts';
import { verifyNow } from '../integrity/chain.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { historyEpochOf, storeEpoch } from './database.ts';
import { type DatabaseSyncInstance, openSqlite } from './driver.ts';
import { takeLock } from './files.ts';
import { readState, SqliteChain } from './integrity.ts';
import { migrate, requireNewestSchema } from './schema.ts';
import { openReadOnly } from './verify-file.ts';

/**
 * Backup and restore of a database file, in the process of the command line.
 *
 * A backup is one SQLite file: a snapshot of the log at one moment (`VACUUM INTO`), with a signed checkpoint of its head and
 * the public keys that its signed records need. The server that runs on the database goes on: in WAL mode a reader blocks
 * no writer. Both calls work on a file with another name and name it at the end, so a killed process leaves the former
 * state.
 *
 * Rejected: SQLite's backup API. It begins again whenever another process writes, so it never ends under load.
 */

export type BackedUp = { checkpoint: Checkpoint };
export type Restored = { verdict: Extract<Verdict, { ok: true }>; epoch: string; addedKeyIds: string[] };

const fail = (message: string, cause?: unknown) => new RunwireError('UNAVAILABLE', message, { cause });

/** Writes a backup of the log at `path` into the new file `target`, with mode 0600. Throws if `target` exists. */
export function backupSqliteFile(path: string, target: string): BackedUp {
  if (!existsSync(path)) throw fail(`there is no database at ${path}`);
  if (existsSync(target)) throw fail(`${target} exists: name another file`);
  const keyPath = join(dirname(path), 'audit.key');
  if (!existsSync(keyPath)) throw fail(`there is no audit.key beside ${path} to sign the checkpoint with`);
  const keys = new AuditKeys(readFileSync(keyPath, 'utf8'));
  return withPart(target, (part) => {
    closeSync(openSync(part, 'wx', 0o600)); // SQLite writes into an empty file, and leaves its mode.
    const db = openReadOnly(path);
    try {
      requireNewestSchema(db);
      db.prepare('VACUUM INTO ?').run(part);
    } finally {
      db.close();
    }
    const copy = openSqlite(part);
    let checkpoint: Checkpoint;
    try {
      copy.exec('PRAGMA journal_mode = DELETE; BEGIN IMMEDIATE');
      checkpoint = signHead(copy, keys);
      copy.exec('DELETE FROM sessions'); // A restored copy must not bring back sessions that have ended since.
      putMeta(copy, 'backup', JSON.stringify({ at: checkpoint.at, publicKeys: keys.publicKeys }));
      copy.exec('COMMIT');
    } finally {
      copy.close();
    }
    sync(part);
    try {
      linkSync(part, target); // Unlike a rename, it never replaces a file.
    } catch (error) {
      if (['EEXIST', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
      renameSync(part, target); // A file system without hard links.
    }
    sync(dirname(target));
    return { checkpoint };
  });
}

/**
 * Verifies the backup `file`, gives it a new epoch, and puts it at `path`. Throws if a server has `path` open, if there is a
 * log already, or if the backup does not verify.
 */
export function restoreSqliteFile(file: string, path: string): Restored {
  if (!existsSync(file)) throw fail(`there is no file ${file}`);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const lock = takeLock(`${path}-lock`);
  try {
    for (const name of [path, `${path}-wal`]) {
      if (existsSync(name) && statSync(name).size > 0) {
        throw fail(`there is a log at ${path}: move it and its -wal file to another folder first`);
      }
    }
    return withPart(path, (part) => {
      copyFileSync(file, part, constants.COPYFILE_EXCL);
      chmodSync(part, 0o600);
      const restored = prepare(part, dirname(path));
      sync(part);
      for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
      renameSync(part, path);
      sync(dirname(path));
      appendFileSync(join(dirname(path), 'checkpoints.ndjson'), `${JSON.stringify(restored.checkpoint)}\n`, {
        mode: 0o600,
      });
      return restored;
    });
  } finally {
    lock.close();
  }
}

/** Verifies the copy of a backup, and makes it a log with a new epoch. */
function prepare(part: string, folder: string): Restored & { checkpoint: Checkpoint } {
  const db = openSqlite(part);
  try {
    db.exec('PRAGMA journal_mode = DELETE');
    const keyPath = join(folder, 'audit.key');
    migrate(db, () => AuditKeys.inFile(keyPath));
    const backup = metaOf(db, 'backup');
    if (backup === undefined) throw fail('the file is a database, and not a backup of `runwire backup`');
    const { publicKeys } = JSON.parse(backup) as { publicKeys: string };
    const verdict = verify(db, new AuditKeys(publicKeys));
    const keys = AuditKeys.inFile(keyPath);
    const addedKeyIds = keys.trustInFile(keyPath, publicKeys);
    db.exec('BEGIN IMMEDIATE');
    db.prepare(`DELETE FROM meta WHERE key = 'backup'`).run();
    const renewal = renewalOf(epochOf(db), verdict.to, 'restored', { keys, nowMs: Date.now() });
    storeEpoch(db, renewal);
    const checkpoint = signHead(db, keys);
    db.exec('COMMIT');
    return { verdict, epoch: renewal.epoch, addedKeyIds, checkpoint };
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_SQLITE_ERROR') throw error;
    throw fail('the backup cannot be read: it is damaged, or not a database', error);
  } finally {
    db.close();
  }
}

function verify(db: DatabaseSyncInstance, keys: AuditKeys): Restored['verdict'] {
  const row = db.prepare('SELECT checkpoint FROM checkpoints ORDER BY seq DESC LIMIT 1').get() as
    | { checkpoint: string }
    | undefined;
  const checkpoint = row && (JSON.parse(row.checkpoint) as Checkpoint);
  if (!checkpoint || checkpoint.epoch !== epochOf(db) || !isAttested(keys, 'checkpoint', checkpoint)) {
    throw fail('the backup does not verify: its checkpoint is not signed by its key');
  }
  const { value: epoch } = db.prepare(`SELECT value FROM meta WHERE key = 'epoch'`).get() as { value: string };
  const verdict = verifyNow(new SqliteChain(db, epoch), { keys, checkpoints: [checkpoint] });
  if (verdict.ok) return verdict;
  throw fail(`the backup does not verify: broken at seq ${verdict.seq}: ${verdict.reason}`);
}

function signHead(db: DatabaseSyncInstance, keys: AuditKeys): Checkpoint {
  const nowMs = Date.now();
  const { state } = readState(db, nowMs);
  const { checkpoint } = checkpointAt(undefined, state.head, { epoch: epochOf(db), oldest: state.oldest, keys, nowMs });
  db.prepare('INSERT OR REPLACE INTO checkpoints (seq, checkpoint) VALUES (?, ?)').run(
    checkpoint.seq,
    JSON.stringify(checkpoint),
  );
  return checkpoint;
}

const epochOf = (db: DatabaseSyncInstance): string => historyEpochOf(db) ?? (metaOf(db, 'epoch') as string);
const metaOf = (db: DatabaseSyncInstance, key: string): string | undefined =>
  (db.prepare('SELECT value FROM meta WHERE key = ?').get(key) as { value: string } | undefined)?.value;
const putMeta = (db: DatabaseSyncInstance, key: string, value: string) =>
  db.prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)').run(key, value);

/** Writes a file or a folder entry to the disk. */
function sync(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Calls `work` with the name of a temporary file beside `target`, and removes this file and those of killed processes. */
function withPart<T>(target: string, work: (part: string) => T): T {
  const folder = dirname(target);
  for (const name of readdirSync(folder)) {
    const pid = /^\.(\d+)\.part(-journal)?$/.exec(name.slice(basename(target).length))?.[1];
    if (name.startsWith(basename(target)) && pid !== undefined && !isAlive(Number(pid))) rmSync(join(folder, name));
  }
  const part = `${target}.${process.pid}.part`;
  try {
    return work(part);
  } finally {
    for (const suffix of ['', '-journal']) rmSync(part + suffix, { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
