import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite';
import { RunwireError } from '../../../shared/errors.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { migrate } from './schema.ts';
import { SLICE_MS, Slices } from './slices.ts';

/**
 * The cache is 64 MiB, and the WAL grows to 4,000 pages (16 MB) before SQLite empties it. The defaults (2 MB and 4 MB) are
 * smaller than the stages of one large run: SQLite would read and write the same rows again and again. `secure_delete`
 * overwrites deleted text in the file.
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
 * The open database file: its only connection, its lock and its keys. Calls of SQLite block the event loop, so every part
 * of the store works through {@link SqliteDatabase.slice}.
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
      // Creates both files with mode 0600. SQLite gives its WAL file the same mode.
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
      // `migrate` must run first: it refuses the database of another program, and `PRAGMAS` would write the journal mode
      // into that file.
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

  /**
   * Queues synchronous work and runs it in a later turn of the event loop. `until`: the `performance.now()` time at which
   * `work` should return, so that other work gets its turn.
   */
  readonly slice = <T>(work: (until: number) => T): Promise<T> =>
    this.#slices.run(() => {
      if (this.#isClosed) throw closedError();
      try {
        return work(performance.now() + SLICE_MS);
      } catch (error) {
        throw this.errorFor(error);
      }
    });

  /** Returns the error that the caller gets: always a `RunwireError`. An error of SQLite is also passed to `onFailure`. */
  errorFor(error: unknown): RunwireError {
    if (error instanceof RunwireError) return error;
    // The fold has thrown, for example: a retry would fail the same way, so the code is not `UNAVAILABLE`.
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
 * Runs a transaction that is not a commit of events.
 *
 * - `FULL`: the transaction is durable when this function returns.
 * - `NORMAL`: the function does not wait for the disk. The transaction survives a crash of the process. A power cut may
 *   lose it until the next commit of events or the next WAL checkpoint. For data that is derived from the log or kept
 *   beside it.
 */
export function transact(db: DatabaseSyncInstance, synchronous: 'FULL' | 'NORMAL', work: () => void): void {
  try {
    db.exec(`PRAGMA synchronous = ${synchronous}`);
    db.exec('BEGIN IMMEDIATE'); // Fails while another process holds the write lock.
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
 * Keeps a second server away from the same database: both would give the same positions to different events. The lock is an
 * exclusive transaction on a file beside the database. Rejected: a file with the process id, because it stays when the
 * process is killed. Rejected: SQLite's `locking_mode=EXCLUSIVE`, because it also keeps out `sqlite3` and backups.
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

/**
 * Reads a random value of the log. If it is missing (in a new log, or one of an older release), generates and stores it.
 */
function readMeta(db: DatabaseSyncInstance, key: 'epoch' | 'secret', bytes: number): string {
  const row = db.prepare('SELECT value FROM meta WHERE key = ?').get(key) as { value: string } | undefined;
  if (row) return row.value;
  const value = randomBytes(bytes).toString('hex');
  db.prepare('INSERT INTO meta (key, value) VALUES (?, ?)').run(key, value);
  return value;
}
