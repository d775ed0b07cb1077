import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Verdict } from '../../../shared/audit.ts';
import { RunwireError } from '../../../shared/errors.ts';
import { type ChainOptions, verifyNow } from '../integrity/chain.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { historyEpochOf } from './database.ts';
import { type DatabaseSyncInstance, openSqlite } from './driver.ts';
import { SqliteChain } from './integrity.ts';
import { requireNewestSchema } from './schema.ts';

export type FileOptions = Omit<ChainOptions, 'keys' | 'head'> & {
  /** Default: the keys in `audit.key` beside the database file, if there are any. */
  keys?: AuditKeys | undefined;
  /** Called before the rows are read. If it throws, the verification ends with that error. */
  check?: (log: { epoch: string; keys: AuditKeys | undefined }) => void;
};

/**
 * Verifies a database file without writing to it; a server may be running on it. Throws `INVALID_INPUT` for a missing file,
 * and `UNAVAILABLE` for a file that is not a log of this release.
 */
export function verifySqliteFile(path: string, options: FileOptions): Verdict {
  if (!existsSync(path))
    throw new RunwireError('INVALID_INPUT', 'the database file does not exist', { path: 'database' });
  const hasWal = existsSync(`${path}-wal`);
  const keyPath = join(dirname(path), 'audit.key');
  const keys = options.keys ?? (existsSync(keyPath) ? new AuditKeys(readFileSync(keyPath, 'utf8')) : undefined);
  try {
    const db = openReadOnly(path);
    try {
      requireNewestSchema(db);
      const { value: epoch } = db.prepare(`SELECT value FROM meta WHERE key = 'epoch'`).get() as { value: string };
      options.check?.({ epoch: historyEpochOf(db) ?? epoch, keys });
      const verdict = verifyNow(new SqliteChain(db, epoch), { checkpoints: options.checkpoints, keys });
      // The server leaves WAL mode when it closes: a file in WAL mode was in use, and the WAL may have newer events.
      const lacksWal = verdict.ok && !hasWal && isInWalMode(path);
      return lacksWal ? { ok: false, seq: verdict.to + 1, reason: 'wal' } : verdict;
    } finally {
      db.close();
    }
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_SQLITE_ERROR') throw error;
    throw new RunwireError('UNAVAILABLE', 'cannot read the database file', { cause: error });
  }
}

/** Reads the write version in the header of a SQLite file: 2 is WAL mode. */
function isInWalMode(path: string): boolean {
  const header = Buffer.alloc(20);
  const file = openSync(path, 'r');
  readSync(file, header, 0, header.length, 0);
  closeSync(file);
  return header[18] === 2;
}

/**
 * Opens a file without a WAL as immutable: SQLite then needs no write access to its folder. A server may be about to write
 * into a file with an empty WAL and its shared memory.
 */
export function openReadOnly(path: string): DatabaseSyncInstance {
  const hasContent = existsSync(`${path}-wal`) && statSync(`${path}-wal`).size > 0;
  const isOpen = hasContent || existsSync(`${path}-shm`);
  const url = pathToFileURL(path).href;
  return openSqlite(isOpen ? url : `${url}?immutable=1`, { readOnly: true, timeout: 5_000 });
}
