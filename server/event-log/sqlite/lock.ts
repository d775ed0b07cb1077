import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite';
import { RunwireError } from '../../../shared/errors.ts';

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
