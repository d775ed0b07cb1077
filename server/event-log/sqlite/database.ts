import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { RunwireError } from '../../../shared/errors.ts';
import { type Slice, Slices } from '../../slices.ts';
import type { Renewal } from '../integrity/attestation.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { type DatabaseSyncInstance, openSqlite, sqliteDriver } from './driver.ts';
import { DatabaseFiles } from './files.ts';
import { migrate } from './schema.ts';
import { Wal } from './wal.ts';

/**
 * The cache is 64 MiB. The default of 2 MB is smaller than the stages of one large run: SQLite would read and write the same
 * rows again and again. Another thread copies the WAL into the file ({@link Wal}). `secure_delete` overwrites deleted text in
 * the file.
 */
export const PRAGMAS = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA temp_store = MEMORY;
  PRAGMA cache_size = -65536;
  PRAGMA wal_autocheckpoint = 0;
  PRAGMA journal_size_limit = 16777216;
  PRAGMA secure_delete = ON;
`;

/** Time after which a write is tried again, while another process holds the write lock. */
export const BUSY_RETRY_MS = 25;
/** A write that had to wait for the lock this long is refused. Three in a row still fit into a shutdown. */
export const BUSY_LIMIT_MS = 2_500;
/** A start waits this long for a lock. Nothing is served yet. */
const BUSY_START_MS = 5_000;

/**
 * The open database file: its only connection, its lock and its keys. Calls of SQLite block the event loop, so every part
 * of the store works through {@link SqliteDatabase.slice}.
 */
export class SqliteDatabase {
  /** Path of the file, or `:memory:`. */
  readonly path: string;
  readonly db: DatabaseSyncInstance;
  readonly keys: AuditKeys;
  /** Identity of the log in signed records. It never changes. */
  readonly epoch: string;
  /** Epoch of cursors and checkpoints: `epoch`, until `renewEpoch` has replaced it. */
  historyEpoch: string;
  readonly secret: string;
  /** Undefined for a database in memory. */
  readonly files: DatabaseFiles | undefined;
  /** Undefined for a database in memory. */
  readonly wal: Wal | undefined;
  /** Refuses every slice while it is set. */
  refusal: RunwireError | undefined;
  readonly #onFailure: (error: unknown) => void;
  readonly #slices = new Slices();
  #isClosed = false;

  /** Creates the file if it is missing, and migrates it to the newest schema. */
  constructor(path: string, onFailure: (error: unknown) => void, driver = sqliteDriver()) {
    this.path = path;
    this.#onFailure = onFailure;
    this.files = path === ':memory:' ? undefined : new DatabaseFiles(path);
    const checkpoint = () => {
      const row = this.db.prepare('PRAGMA wal_checkpoint(PASSIVE)').get() as { checkpointed: number };
      return row.checkpointed;
    };
    this.wal = this.files && new Wal({ path: this.files.path, checkpoint, onFailure, driver });
    let db: DatabaseSyncInstance | undefined;
    try {
      db = openSqlite(path, { timeout: BUSY_START_MS }, driver);
      let keys: AuditKeys | undefined;
      const keysOf = () => {
        keys ??= path === ':memory:' ? AuditKeys.make() : AuditKeys.inFile(join(dirname(path), 'audit.key'));
        return keys;
      };
      // `migrate` must run first: it refuses the database of another program, and `PRAGMAS` would write the journal mode
      // into that file.
      migrate(db, keysOf);
      db.exec(PRAGMAS);
      if (this.files) requireWal(db);
      // A server that was killed before its fsync has left events in the WAL, and a power cut may still take them. A
      // checkpoint does an fsync of the WAL, then copies it.
      try {
        db.exec('PRAGMA wal_checkpoint(PASSIVE)');
      } catch (error) {
        onFailure(error); // On a full disk the log can still be read.
      }
      this.db = db;
      this.keys = keysOf();
      this.epoch = readMeta(db, 'epoch', 8);
      this.historyEpoch = historyEpochOf(db) ?? this.epoch;
      this.secret = readMeta(db, 'secret', 32);
      // From here, a statement that finds the file locked fails at once: waiting inside SQLite would hold the event loop.
      db.exec('PRAGMA busy_timeout = 0');
      this.files?.opened();
    } catch (error) {
      db?.close();
      this.files?.close();
      throw error;
    }
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  readonly slice: Slice = (work, caller) => this.#slices.run((until) => this.#attempt(work, until), caller);

  /**
   * Like {@link slice}, for work that writes. While another process holds the write lock, the work is repeated from a
   * timer, for at most {@link BUSY_LIMIT_MS}. So its first change MUST be the statement that needs the lock.
   */
  readonly write = async <T>(work: (until: number) => T): Promise<T> => {
    const giveUpAt = performance.now() + BUSY_LIMIT_MS;
    for (;;) {
      const outcome = await this.#slices.run((until): { value: T } | { wait: Promise<void> } => {
        this.#requireWorking();
        const wait = this.wal?.wait();
        if (wait) return { wait };
        const mayWait = performance.now() < giveUpAt;
        return this.#attempt(() => {
          try {
            endTransaction(this.db);
            waitForDisk(this.db);
            const value = work(until);
            this.wal?.look();
            return { value };
          } catch (error) {
            if (mayWait && isBusy(error)) return { wait: setTimeout(BUSY_RETRY_MS) };
            throw error;
          }
        }, until);
      });
      if ('value' in outcome) return outcome.value;
      await outcome.wait;
    }
  };

  #requireWorking(): void {
    if (this.#isClosed) throw closedError();
    if (this.refusal) throw this.refusal;
  }

  #attempt<T>(work: (until: number) => T, until: number): T {
    this.#requireWorking();
    try {
      return work(until);
    } catch (error) {
      throw this.errorFor(error);
    }
  }

  /** Keeps slices back: while a transaction is open over several turns, they would read what is not committed. */
  pauseSlices(): void {
    this.#slices.pause();
  }

  resumeSlices(): void {
    this.#slices.resume();
  }

  /** Returns the error that the caller gets: always a `RunwireError`. An error of SQLite is also passed to `onFailure`. */
  errorFor(error: unknown): RunwireError {
    if (isSqliteError(error)) this.#onFailure(error);
    // A retry would find the same damage, so the code is not `UNAVAILABLE`.
    if (isDamage(error)) return new RunwireError('INTERNAL', 'a part of the log is damaged', { cause: error });
    return refusalFor(error);
  }

  /** Moves the content of the WAL into the database file and empties the WAL. Returns the error. */
  emptyWal(): unknown {
    try {
      const row = this.db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get() as { busy: number };
      return row.busy === 0
        ? undefined
        : new RunwireError('UNAVAILABLE', 'another process reads or writes the database');
    } catch (error) {
      return error;
    }
  }

  /** Refuses further slices. The connection stays open until {@link close}. */
  refuseSlices(): void {
    this.#isClosed = true;
  }

  /** Call it after `wal.close`. */
  close(): void {
    this.db.close();
    this.files?.close();
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
  endTransaction(db);
  try {
    db.exec(`PRAGMA synchronous = ${synchronous}`);
    db.exec('BEGIN IMMEDIATE'); // Fails while another process holds the write lock.
    work();
    db.exec('COMMIT');
  } catch (error) {
    tryRollback(db);
    throw error;
  } finally {
    tryWaitForDisk(db);
  }
}

function waitForDisk(db: DatabaseSyncInstance): void {
  if (!db.isTransaction) db.exec('PRAGMA synchronous = FULL');
}

/**
 * Call after a transaction that did not wait for the disk, whether it was committed or not: the next one waits. If SQLite
 * refuses, the outcome of the transaction stays as it is, and {@link SqliteDatabase.write} tries again before it writes.
 */
export function tryWaitForDisk(db: DatabaseSyncInstance): void {
  try {
    waitForDisk(db);
  } catch {
    // As above.
  }
}

/** Rolls back. If SQLite refuses, the transaction stays open, and the next one calls {@link endTransaction}. */
export function tryRollback(db: DatabaseSyncInstance): void {
  try {
    if (db.isTransaction) db.exec('ROLLBACK');
  } catch {
    // The caller throws the error that made the rollback necessary.
  }
}

/**
 * Ends a transaction that stayed open because its ROLLBACK failed. Throws SQLite's error while it cannot end. Inside a
 * transaction `synchronous` cannot change, so it may still be `NORMAL`.
 */
export function endTransaction(db: DatabaseSyncInstance): void {
  if (!db.isTransaction) return;
  db.exec('ROLLBACK');
  waitForDisk(db);
}

/** Returns the error that the caller gets. A fold that throws would throw again at a retry, so it is not `UNAVAILABLE`. */
export function refusalFor(error: unknown, message = 'the event log failed'): RunwireError {
  if (error instanceof RunwireError) return error;
  if (error === undefined || isSqliteError(error)) return new RunwireError('UNAVAILABLE', message, { cause: error });
  return new RunwireError('INTERNAL', 'an internal error', { cause: error });
}

/** Throws if the file system keeps SQLite from using a WAL: then SQLite goes on in another mode, and says so only here. */
export function requireWal(db: DatabaseSyncInstance): void {
  const { journal_mode: mode } = db.prepare('PRAGMA journal_mode').get() as { journal_mode: string };
  if (mode === 'wal') return;
  throw new RunwireError('UNAVAILABLE', 'the file system does not support the WAL of SQLite: use a local disk');
}

export const closedError = () => new RunwireError('UNAVAILABLE', 'the event log is closed');
/** Returns the error of a log that cannot be opened: its path, and the cause. */
export function openError(path: string, error: unknown): RunwireError {
  const code = error instanceof RunwireError ? error.code : 'UNAVAILABLE';
  const { message } = error as Error;
  const cause = isSqliteError(error) ? `${causeOf(error)} (${message})` : message;
  return new RunwireError(code, `cannot open the event log ${path}: ${cause}`, { cause: error });
}
/** Whether pages of the file are damaged. */
export const isDamage = (error: unknown): boolean => [11, 26].includes(sqliteCode(error) & 0xff);
/** Whether another connection holds a lock of the file. The low byte of an extended code is the primary code. */
export const isBusy = (error: unknown): boolean => [5, 6].includes(sqliteCode(error) & 0xff);

/** SQLite's texts for result codes: errors of the driver's `all` have no code. */
const codesByText: Record<string, number> = {
  'database is locked': 5,
  'disk I/O error': 10,
  'database disk image is malformed': 11,
  'database or disk is full': 13,
  'file is not a database': 26,
};

function sqliteCode(error: unknown): number {
  const { errcode, message = '' } = (error ?? {}) as { errcode?: number; message?: string };
  return errcode ?? codesByText[message] ?? 0;
}

/** Texts for operators, by SQLite's primary result code. */
const causes: Record<number, string> = {
  5: 'another process holds the write lock of the database: end its transaction (after an erasure, the server itself rebuilds a large file)',
  6: 'another process holds the write lock of the database: end its transaction (after an erasure, the server itself rebuilds a large file)',
  8: 'the database file is read-only',
  10: 'the database file cannot be read or written: the disk or the file system reports an error',
  11: 'the database file is damaged: stop the server and restore a backup',
  13: 'the disk is full, or the database has reached its largest size',
  14: 'the database file cannot be opened',
  26: 'the database file is damaged: stop the server and restore a backup',
};

/** Returns the text for operators about an error of SQLite, or of the file system. */
export const causeOf = (error: unknown): string =>
  causes[isSystemError(error) ? 10 : sqliteCode(error) & 0xff] ?? 'the event log failed';

const isSystemError = (error: unknown): boolean => (error as NodeJS.ErrnoException | undefined)?.syscall !== undefined;

export const isSqliteError = (error: unknown): boolean =>
  ['ERR_SQLITE_ERROR', 'ERR_INVALID_STATE'].includes((error as { code?: string } | undefined)?.code ?? '');

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

/** Returns the epoch of the log's history; undefined if it was never renewed. */
export const historyEpochOf = (db: DatabaseSyncInstance): string | undefined =>
  (db.prepare(`SELECT value FROM meta WHERE key = 'history_epoch'`).get() as { value: string } | undefined)?.value;

/** Stores a new epoch of the log's history, and the signed record of the change. Call it inside a transaction. */
export function storeEpoch(db: DatabaseSyncInstance, renewal: Renewal): void {
  const put = db.prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)');
  put.run('history_epoch', renewal.epoch);
  put.run(`renewal ${renewal.at} ${renewal.epoch}`, JSON.stringify(renewal));
}

/**
 * Marks the file as complete: in WAL mode, newer events may be in the WAL beside it. `verify` then knows a copy that lacks
 * the WAL of a running server. Without effect while another process reads the file.
 */
export function leaveWalMode(db: DatabaseSyncInstance): void {
  try {
    db.exec('PRAGMA journal_mode = DELETE');
  } catch {
    // The file stays in WAL mode, with its WAL beside it: it is whole too.
  }
}
