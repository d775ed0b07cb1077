import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite';
import { RunwireError } from '../../../shared/errors.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { migrate } from './schema.ts';
import { SLICE_MS, Slices } from './slices.ts';

/**
 * `cache_size` in KiB and `wal_autocheckpoint` in pages: the defaults (2 MB, 4 MB) are smaller than the stages of one big
 * run; SQLite would read and checkpoint the same rows again and again. `secure_delete` overwrites deleted text in the file.
 */
export const PRAGMAS = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA temp_store = MEMORY;
  PRAGMA cache_size = -65536;
  PRAGMA wal_autocheckpoint = 4000;
  PRAGMA secure_delete = ON;
`;

/**
 * The open file: its only connection, its lock, its keys, and the event loop's time that all parts of the store share.
 * SQLite's calls block the loop, so every part works through {@link SqliteDatabase.slice}.
 */
export class SqliteDatabase {
  /** Path of the file, or `:memory:`. */
  readonly path: string;
  readonly db: DatabaseSyncInstance;
  readonly keys: AuditKeys;
  readonly epoch: string;
  readonly secret: string;
  readonly #lock: DatabaseSyncInstance | undefined;
  readonly #onFailure: (error: unknown) => void;
  readonly #slices = new Slices();
  #isClosed = false;

  /** Creates the file if it is missing, and migrates it to the newest schema. */
  constructor(path: string, onFailure: (error: unknown) => void) {
    this.path = path;
    this.#onFailure = onFailure;
    if (path !== ':memory:') {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      // SQLite gives its WAL the mode of the database.
      for (const file of [path, `${path}-lock`]) closeSync(openSync(file, 'a', 0o600));
      this.#lock = lockFile(`${path}-lock`);
    }
    let db: DatabaseSyncInstance | undefined;
    try {
      db = new DatabaseSync(path, { timeout: 5_000 });
      let keys: AuditKeys | undefined;
      const keysOf = () => {
        keys ??= path === ':memory:' ? AuditKeys.make() : AuditKeys.inFile(join(dirname(path), 'audit.key'));
        return keys;
      };
      // `migrate` refuses a foreign file. It must come first, since PRAGMAS write the journal mode into the file.
      migrate(db, keysOf);
      db.exec(PRAGMAS);
      this.db = db;
      this.keys = keysOf();
      this.epoch = readMeta(db, 'epoch', 8);
      this.secret = readMeta(db, 'secret', 32);
    } catch (error) {
      db?.close();
      this.#lock?.close();
      throw error;
    }
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Runs synchronous work in a slice of the event loop. `until`: the time at which it should stop. */
  readonly slice = <T>(work: (until: number) => T): Promise<T> =>
    this.#slices.run(() => {
      if (this.#isClosed) throw closedError();
      try {
        return work(performance.now() + SLICE_MS);
      } catch (error) {
        throw this.errorFor(error);
      }
    });

  /** The error that the caller gets. `onFailure` alone gets SQLite's own. */
  errorFor(error: unknown): RunwireError {
    if (error instanceof RunwireError) return error;
    // A fold that throws, for example: it would throw again.
    if (!isSqliteError(error)) return new RunwireError('INTERNAL', 'an internal error', { cause: error });
    this.#onFailure(error);
    return asUnavailable(error);
  }

  /** Refuses further slices. The connection stays open until {@link close}. */
  refuseSlices(): void {
    this.#isClosed = true;
  }

  close(): void {
    this.db.close();
    this.#lock?.close();
  }
}

/**
 * A transaction other than a commit of events. `FULL`: durable once it returns. `NORMAL`, for data that can be derived from
 * the log or stands beside it: it does not wait for the disk. Once it returns, it survives a crash of the process, but
 * not a power cut before the next commit of events or the next WAL checkpoint.
 */
export function transact(db: DatabaseSyncInstance, synchronous: 'FULL' | 'NORMAL', work: () => void): void {
  db.exec(`PRAGMA synchronous = ${synchronous}; BEGIN IMMEDIATE`);
  try {
    work();
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  } finally {
    db.exec('PRAGMA synchronous = FULL');
  }
}

export const closedError = () => new RunwireError('UNAVAILABLE', 'the event log is closed');
export const asUnavailable = (cause: unknown) =>
  cause instanceof RunwireError ? cause : new RunwireError('UNAVAILABLE', 'the event log failed', { cause });
const isSqliteError = (error: unknown): boolean =>
  ['ERR_SQLITE_ERROR', 'ERR_INVALID_STATE'].includes((error as { code?: string } | undefined)?.code ?? '');

/**
 * A second server on the same file would number its events from the same head. An exclusive lock on a file beside the
 * database keeps it out. Unlike a file that contains a process id, the lock ends when its process is killed. SQLite's own
 * `locking_mode=EXCLUSIVE` would also keep out `sqlite3` and backups.
 */
function lockFile(path: string): DatabaseSyncInstance {
  const lock = new DatabaseSync(path, { timeout: 0 });
  try {
    lock.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    lock.close();
    throw new RunwireError(
      'UNAVAILABLE',
      'another runwire server has this database open: stop it first, or give this one its own DATABASE_URL',
      { cause },
    );
  }
  return lock;
}

/** A random value that the log generates once. A log of an older release gets it at its next start. */
function readMeta(db: DatabaseSyncInstance, key: 'epoch' | 'secret', bytes: number): string {
  const row = db.prepare('SELECT value FROM meta WHERE key = ?').get(key) as { value: string } | undefined;
  if (row) return row.value;
  const value = randomBytes(bytes).toString('hex');
  db.prepare('INSERT INTO meta (key, value) VALUES (?, ?)').run(key, value);
  return value;
}
