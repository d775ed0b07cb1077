import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite';
import { RunwireError } from '../../../shared/errors.ts';

/**
 * A transaction beside those of events. `FULL`: durable once it returns. `NORMAL`, for what follows from the log or stands
 * beside it, does not wait for the disk: once it returns, it outlasts the process, and a power cut only together with the
 * next commit of events, or once SQLite has moved it out of the WAL.
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

/**
 * `cache_size` in KiB and `wal_autocheckpoint` in pages: the defaults (2 MB, 4 MB) are smaller than the stages of one
 * big run, whose rows would be read and checkpointed over and over. `secure_delete`: what a row said is not to lie about in
 * the file once it is gone.
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
 * A second server on the same file would number its events from the same head. An exclusive lock on a file beside the
 * database keeps it out; unlike a file with a process id in it, the lock goes when its holder is killed. (SQLite's own
 * locking_mode=EXCLUSIVE would also keep out `sqlite3` and backups.)
 */
export function lockFile(path: string): DatabaseSyncInstance {
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
