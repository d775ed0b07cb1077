import type { DatabaseSyncInstance } from '@photostructure/sqlite';

/**
 * A transaction of what follows from the log or stands beside it. It does not wait for the disk, as a commit of events
 * does: once it returns, it outlasts the process, and a power cut only together with the next commit of events, or once
 * SQLite has moved it out of the WAL.
 */
export function transact(db: DatabaseSyncInstance, work: () => void): void {
  db.exec('PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE');
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
