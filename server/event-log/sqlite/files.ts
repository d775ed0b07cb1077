import { closeSync, mkdirSync, openSync, realpathSync, type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { RunwireError } from '../../../shared/errors.ts';
import type { Health } from '../../health.ts';
import { makePrivate } from '../private-file.ts';
import { type DatabaseSyncInstance, openSqlite } from './driver.ts';

/**
 * The files of a database: the file itself, its WAL and shared memory, and the lock file.
 *
 * The lock keeps a second server away: both would give the same positions to different events. It is an exclusive transaction
 * on a file beside the database, by the real path, so that a symbolic link does not lead around it. Rejected: a file with the
 * process id, because it stays when the process is killed. Rejected: SQLite's `locking_mode=EXCLUSIVE`, because it also keeps
 * out `sqlite3` and backups.
 *
 * SQLite goes on with files that were deleted or replaced: what it writes is lost when the process ends. So the files are
 * compared with those that were opened, before each commit and every second.
 */

const CHECK_MS = 1_000;
const REMOVED =
  'a file of the database was removed or replaced while the server runs: put it back, or restart the server';

// By its other name the file would have another lock and another WAL.
const LINKED = 'the database file has a second hard link: remove the link, or copy the file';

export type FileSizes = { databaseBytes: number; walBytes: number };

export class DatabaseFiles {
  /** Path of the database file, without symbolic links. */
  readonly path: string;
  #lock: DatabaseSyncInstance;
  #lockFile: Stats;
  #opened: { path: string; stats: Stats }[] = [];
  /** Set while the lock cannot be taken again. */
  #taken: RunwireError | undefined;
  #timer: NodeJS.Timeout | undefined;
  #look: () => void = () => undefined;

  /** Creates the missing files with mode 0600, and takes the lock. */
  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    touch(path);
    this.path = realpathSync(path);
    if (statSync(this.path).nlink > 1) throw new RunwireError('UNAVAILABLE', LINKED);
    this.#lock = takeLock(`${this.path}-lock`);
    this.#lockFile = statSync(`${this.path}-lock`);
  }

  /** Called when SQLite has opened the files: the owner alone may access them, also those of a restored backup. */
  opened(): void {
    for (const suffix of ['', '-wal', '-shm']) {
      const path = `${this.path}${suffix}`;
      const stats = statOf(path);
      if (!stats) continue;
      if ((stats.mode & 0o077) !== 0) makePrivate(path);
      if (suffix !== '-shm') this.#opened.push({ path, stats });
    }
  }

  /** Throws `UNAVAILABLE` if the database file or its WAL is not the one that was opened, or another server has the lock. */
  check(): void {
    const problem = this.#problem();
    if (!problem) return;
    this.#look();
    throw problem;
  }

  /** Checks the files and the lock every second, and reports the condition `database_file` and the sizes. */
  watch(health: Pick<Health, 'report'>, onSizes: (sizes: FileSizes) => void): void {
    this.#look = () => {
      this.#checkLock();
      const problem = this.#problem();
      health.report('database_file', problem && { message: problem.message, path: this.path, err: problem.cause });
      const sizeOf = (suffix: string) => statOf(`${this.path}${suffix}`)?.size ?? 0;
      onSizes({ databaseBytes: sizeOf(''), walBytes: sizeOf('-wal') });
    };
    this.#timer = setInterval(() => this.#look(), CHECK_MS).unref();
    this.#look();
  }

  #problem(): RunwireError | undefined {
    const isSame = ({ path, stats }: { path: string; stats: Stats }) => {
      const now = statOf(path);
      return now?.ino === stats.ino && now.dev === stats.dev;
    };
    return this.#taken ?? (this.#opened.every(isSame) ? undefined : new RunwireError('UNAVAILABLE', REMOVED));
  }

  close(): void {
    clearInterval(this.#timer);
    this.#lock.close();
  }

  /** Takes the lock again if its file was removed: without it, a second server could start. */
  #checkLock(): void {
    const path = `${this.path}-lock`;
    try {
      if (statOf(path)?.ino === this.#lockFile.ino) {
        this.#taken = undefined;
        return;
      }
      const lock = takeLock(path);
      this.#lock.close();
      this.#lock = lock;
      this.#lockFile = statSync(path);
      this.#taken = undefined;
    } catch (error) {
      // Also without the folder: then the lock file cannot be made again.
      this.#taken = error instanceof RunwireError ? error : new RunwireError('UNAVAILABLE', REMOVED, { cause: error });
    }
  }
}

/** Returns undefined for a file that is missing, or that cannot be reached. */
function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/**
 * Creates a missing file. SQLite gives its WAL the mode of the database file. A file that exists is not opened: to close it
 * would end the POSIX locks that this process has on it.
 */
function touch(path: string): void {
  if (!statOf(path)?.isFile()) closeSync(openSync(path, 'a', 0o600));
}

export function takeLock(path: string): DatabaseSyncInstance {
  touch(path);
  const lock = openSqlite(path, { timeout: 0 });
  try {
    lock.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    lock.close();
    if (((cause as { errcode?: number }).errcode ?? 0) % 256 !== 5) throw cause;
    throw new RunwireError(
      'UNAVAILABLE',
      'another runwire server has this database open: stop it first, or give this one its own DATABASE_URL',
      { cause },
    );
  }
  return lock;
}
