import type { DatabaseSyncInstance } from '@photostructure/sqlite';

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
