import { resolve } from 'node:path';
import { RunwireError } from '../../shared/errors.ts';

/** Returns the path of the SQLite file of a `DATABASE_URL`; `:memory:` for `memory:`. Throws `INVALID_INPUT`. */
export function databasePath(databaseUrl: string): string {
  if (databaseUrl === 'memory:') return ':memory:';
  if (databaseUrl.startsWith('file:')) return resolve(databaseUrl.slice('file:'.length).replace(/^\/\/(?=\/)/, ''));
  throw new RunwireError('INVALID_INPUT', 'must begin with file: or be memory:', { path: 'DATABASE_URL' });
}
