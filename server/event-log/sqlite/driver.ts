import { createRequire } from 'node:module';
import type { DatabaseSyncInstance } from '@photostructure/sqlite';
import { RunwireError } from '../../../shared/errors.ts';

/**
 * SQLite: the package `@photostructure/sqlite` if it is installed, else `node:sqlite`, which has the same interface. The
 * package is native code of 29 MB. It is an optional peer, because nobody who installs Runwire for a browser needs it.
 */
export type { DatabaseSyncInstance, StatementSyncInstance } from '@photostructure/sqlite';

type Driver = typeof import('@photostructure/sqlite');
type Options = ConstructorParameters<Driver['DatabaseSync']>[1];

const require = createRequire(import.meta.url);

/** Opens a database, and loads the driver before the first. Throws `UNAVAILABLE` if there is none. */
export function openSqlite(path: string, options: Options = {}): DatabaseSyncInstance {
  const driver: Driver = require(sqliteDriver());
  return new driver.DatabaseSync(path, options);
}

/** The module to `require`: the path of the package, or `node:sqlite`. */
export function sqliteDriver(): string {
  try {
    return require.resolve('@photostructure/sqlite');
  } catch {
    if (hasTransactionState()) return 'node:sqlite';
    const message = `Node.js ${process.versions.node} has no SQLite that works: npm install @photostructure/sqlite`;
    throw new RunwireError('UNAVAILABLE', message);
  }
}

/** `node:sqlite` has `isTransaction` and `timeout` since 22.16 and 24.0. */
function hasTransactionState(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  return major >= 24 || (major === 22 && minor >= 16);
}
