import { resolve } from 'node:path';
import { copyToPostgres } from '../event-log/copy.ts';
import { logPlaceOf } from '../event-log/database-url.ts';
import { backupSqliteFile, restoreSqliteFile } from '../event-log/sqlite/backup.ts';
import { UsageError } from './errors.ts';
import { localConfig } from './target.ts';

/** The commands `backup`, `restore` and `copy`. They work on the files of the local server, whether it runs or not. */

export function backup(file: string): number {
  const { checkpoint } = backupSqliteFile(
    localPath('back up PostgreSQL with pg_basebackup and its WAL'),
    resolve(file),
  );
  const { seq, epoch, hash, keyId } = checkpoint;
  process.stdout.write(`ok: backup up to seq ${seq}, epoch ${epoch}, head ${hash}, key ${keyId}\n`);
  return 0;
}

export function restore(file: string): number {
  const path = localPath('restore PostgreSQL with its own tools, while no server runs');
  const { verdict, epoch, addedKeyIds } = restoreSqliteFile(resolve(file), path);
  process.stdout.write(
    `ok: restored ${verdict.events} events, seq ${verdict.from} to ${verdict.to}, head ${verdict.hash}, into ${path}\n` +
      `new epoch ${epoch}: clients get a gap, and load their runs again\n`,
  );
  for (const id of addedKeyIds) {
    process.stdout.write(`audit.key now trusts the key ${id} of the backup: compare it with the key that you kept\n`);
  }
  return 0;
}

export async function copy({ from, to }: { from: string; to: string }): Promise<number> {
  const source = logPlaceOf(from);
  const target = logPlaceOf(to);
  if (source.kind !== 'sqlite' || source.path === ':memory:' || target.kind !== 'postgres') {
    throw new UsageError('copy goes --from file:PATH --to postgres://…');
  }
  const {
    events,
    from: first,
    to: last,
    hash,
    epoch,
  } = await copyToPostgres(source.path, target.url, (table, rows) => {
    process.stderr.write(`${table}: ${rows} rows\n`);
  });
  process.stdout.write(`ok: copied ${events} events, seq ${first} to ${last}, head ${hash}, epoch ${epoch}\n`);
  return 0;
}

/** `ofPostgres`: what to do for a log in PostgreSQL. */
function localPath(ofPostgres: string): string {
  const place = logPlaceOf(localConfig().databaseUrl);
  if (place.kind === 'postgres') {
    throw new UsageError(`DATABASE_URL: ${ofPostgres} (docs/guide/operations.md)`);
  }
  const { path } = place;
  if (path === ':memory:') throw new UsageError('DATABASE_URL: a log in memory has no file');
  return path;
}
