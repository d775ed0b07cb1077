import { resolve } from 'node:path';
import { RunwireError } from '../../shared/errors.ts';

/** Where the event log is: the path of a SQLite file (`:memory:` for a log in memory), or the URL of a PostgreSQL database. */
export type LogPlace = { kind: 'sqlite'; path: string } | { kind: 'postgres'; url: string };

const refusal = (message: string) => new RunwireError('INVALID_INPUT', message, { path: 'DATABASE_URL' });

/** Returns the place that a `DATABASE_URL` names. Throws `INVALID_INPUT` without the value, which may have a password. */
export function logPlaceOf(databaseUrl: string): LogPlace {
  if (databaseUrl === 'memory:') return { kind: 'sqlite', path: ':memory:' };
  if (databaseUrl.startsWith('file:')) {
    return { kind: 'sqlite', path: resolve(databaseUrl.slice('file:'.length).replace(/^\/\/(?=\/)/, '')) };
  }
  if (!isPostgresUrl(databaseUrl)) throw refusal('DATABASE_URL: must begin with file: or postgres://, or be memory:');
  // The driver would name the whole value in its error.
  if (!URL.canParse(databaseUrl)) {
    throw refusal(
      'DATABASE_URL: must be a URL such as postgres://user:password@host:5432/database, with / # ? @ % in the password percent-encoded',
    );
  }
  return { kind: 'postgres', url: databaseUrl };
}

export const isPostgresUrl = (databaseUrl: string): boolean => /^postgres(ql)?:\/\//.test(databaseUrl);

/** Returns the path of the SQLite file of a `DATABASE_URL`; `:memory:` for `memory:`. Throws `INVALID_INPUT`. */
export function databasePath(databaseUrl: string): string {
  const place = logPlaceOf(databaseUrl);
  if (place.kind === 'sqlite') return place.path;
  throw refusal('DATABASE_URL: is a PostgreSQL database, which has no file');
}
