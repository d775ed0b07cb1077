import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite';
import { RunwireError } from '../../../shared/errors.ts';
import type { Verdict } from '../contract/integrity.ts';
import { type ChainOptions, verifyChain } from '../integrity/chain.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { SqliteChain } from './integrity.ts';
import { demandSchema } from './schema.ts';

export type FileOptions = Omit<ChainOptions, 'keys' | 'head'> & {
  /** Default those in `audit.key` beside the file, where there is one. */
  keys?: AuditKeys | undefined;
  /** Called with what is known before the rows are read; a throw is the outcome. */
  check?: (log: { epoch: string; keys: AuditKeys | undefined }) => void;
};

/**
 * Verifies a database file by itself, and writes nothing: with a server running or without. Throws `INVALID_INPUT`,
 * `UNAVAILABLE` for a file that is not a log of this release.
 */
export function verifySqliteFile(path: string, options: FileOptions): Verdict {
  if (!existsSync(path))
    throw new RunwireError('INVALID_INPUT', 'there is no such database file', { path: 'database' });
  const keyPath = join(dirname(path), 'audit.key');
  const keys = options.keys ?? (existsSync(keyPath) ? new AuditKeys(readFileSync(keyPath, 'utf8')) : undefined);
  try {
    const db = openReadOnly(path);
    try {
      demandSchema(db);
      const { value: epoch } = db.prepare(`SELECT value FROM meta WHERE key = 'epoch'`).get() as { value: string };
      options.check?.({ epoch, keys });
      const verifying = verifyChain(new SqliteChain(db, epoch), { checkpoints: options.checkpoints, keys });
      for (;;) {
        const step = verifying.next();
        if (step.done) return step.value;
      }
    } finally {
      db.close();
    }
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_SQLITE_ERROR') throw error;
    throw new RunwireError('UNAVAILABLE', 'the database file cannot be read', { cause: error });
  }
}

/** A file that nobody has open is taken as unchanging, so that it may lie where nothing can be written. */
function openReadOnly(path: string): DatabaseSyncInstance {
  const hasWal = existsSync(`${path}-wal`) && statSync(`${path}-wal`).size > 0;
  const url = pathToFileURL(path).href;
  return new DatabaseSync(hasWal ? url : `${url}?immutable=1`, { readOnly: true, timeout: 5_000 });
}
