import { resolve } from 'node:path';
import { RunwireError } from '../../shared/errors.ts';

/** Path of the SQLite file that a `DATABASE_URL` names, `:memory:` for `memory:`. */
export function databasePath(databaseUrl: string): string {
  if (databaseUrl === 'memory:') return ':memory:';
  if (databaseUrl.startsWith('file:')) return resolve(databaseUrl.slice('file:'.length).replace(/^\/\/(?=\/)/, ''));
  throw new RunwireError('INVALID_INPUT', 'must begin with file: or be memory:', { path: 'DATABASE_URL' });
}
