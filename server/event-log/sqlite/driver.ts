import { createRequire, isBuiltin } from 'node:module';
import type { DatabaseSyncInstance } from '@photostructure/sqlite';
import { RunwireError } from '../../../shared/errors.ts';

/**
 * SQLite: `node:sqlite` where Node.js has one that works, else the package `@photostructure/sqlite`, which has the same
 * interface. A call of the package costs about half more. The package is native code of 29 MB, and an optional peer.
 */
export type { DatabaseSyncInstance, StatementSyncInstance } from '@photostructure/sqlite';

type Driver = typeof import('@photostructure/sqlite');
type Options = ConstructorParameters<Driver['DatabaseSync']>[1];

const require = createRequire(import.meta.url);
const BUILT_IN = 'node:sqlite';
const PACKAGE = '@photostructure/sqlite';

/**
 * Opens a database, and loads the driver before the first. `driver`: the module to load. Throws `UNAVAILABLE` if there is
 * none.
 */
export function openSqlite(path: string, options: Options = {}, driver = sqliteDriver()): DatabaseSyncInstance {
  const { DatabaseSync }: Driver = driver === BUILT_IN ? withoutItsWarning(() => require(driver)) : require(driver);
  return new DatabaseSync(path, options);
}

/** The module to `require`: `node:sqlite`, or the path of the package. */
export function sqliteDriver(): string {
  if (sqliteDrivers().includes(BUILT_IN)) return BUILT_IN;
  try {
    return require.resolve(PACKAGE);
  } catch {
    const message = `Node.js ${process.versions.node} has no SQLite that works: npm install ${PACKAGE}`;
    throw new RunwireError('UNAVAILABLE', message);
  }
}

/** The drivers that this version of Node.js can load, if the package is installed. */
export const sqliteDrivers = (): readonly string[] =>
  isBuiltin(BUILT_IN) && hasTransactionState() ? [BUILT_IN, PACKAGE] : [PACKAGE];

/** `node:sqlite` has `isTransaction` and `timeout` since 22.16 and 24.0. */
function hasTransactionState(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  return major >= 24 || (major === 22 && minor >= 16);
}

/** Node.js 22 warns that `node:sqlite` is experimental when it is loaded. Any other warning is printed. */
function withoutItsWarning<T>(load: () => T): T {
  const { emitWarning } = process;
  process.emitWarning = (warning: string | Error, ...rest: unknown[]) => {
    if (rest[0] === 'ExperimentalWarning' && String(warning).startsWith('SQLite ')) return;
    Reflect.apply(emitWarning, process, [warning, ...rest]);
  };
  try {
    return load();
  } finally {
    process.emitWarning = emitWarning;
  }
}
