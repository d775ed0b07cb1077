import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { RunwireError } from '../../../shared/errors.ts';
import { GENESIS } from '../integrity/canonical.ts';
import { type Query, queryOf } from './database.ts';
import { migrations } from './schema.ts';

/** Key of the advisory lock under which one server at a time migrates a database. */
const LOCK = 0x72756e77;
/** Row of `meta`, while the tables are being copied from another store (`copy.ts`). */
export const COPYING = 'copying';
const INSUFFICIENT_PRIVILEGE = '42501';

/**
 * Brings the tables to the present schema, in one transaction, and creates them in an empty database. Servers that start
 * together wait for each other. Throws `UNAVAILABLE` for a newer schema, for tables of another program, and for a database
 * with another encoding than UTF-8: nothing is changed then. So does an unfinished copy, unless `isCopy`.
 */
export async function migrate(options: pg.ClientConfig, { isCopy = false } = {}): Promise<void> {
  // A migration may take long, and the other servers wait for it.
  const client = new pg.Client({ ...options, statement_timeout: 0, query_timeout: 0 });
  client.on('error', () => undefined); // The statement that fails reports it.
  await client.connect();
  try {
    const query = queryOf(client);
    await query({ text: 'BEGIN ISOLATION LEVEL READ COMMITTED' });
    await query({ text: `SELECT pg_advisory_xact_lock(${LOCK})` });
    const isNew = await migrateAlone(query);
    if (isNew) await fill(query);
    const copying = await query({ text: `SELECT 1 FROM meta WHERE key = '${COPYING}'` });
    if (copying.length > 0 && !isCopy) throw refusal('a copy into it was not finished: run `runwire copy` again');
    await query({ text: 'COMMIT' });
  } catch (error) {
    const { code, message } = error as pg.DatabaseError;
    if (code !== INSUFFICIENT_PRIVILEGE) throw error;
    throw refusal(`${message}: connect as the role that owns the database and the tables of Runwire`);
  } finally {
    await client.end();
  }
}

/** Returns whether the database was empty. */
async function migrateAlone(query: Query): Promise<boolean> {
  const [server] = await query<{ encoding: string }>({ text: `SELECT current_setting('server_encoding') AS encoding` });
  if (server?.encoding !== 'UTF8') throw refusal(`its encoding is ${server?.encoding}: create it with ENCODING 'UTF8'`);
  const version = await storedVersion(query);
  if (version > migrations.length) {
    throw refusal(
      `its schema is of version ${version}, and this release knows up to ${migrations.length}: update Runwire`,
    );
  }
  for (const migration of migrations.slice(version)) await query({ text: migration });
  if (version < migrations.length) {
    const text = `UPDATE meta SET value = $1 WHERE key = 'schema_version'`;
    await query({ text, values: [String(migrations.length)] });
  }
  return version === 0;
}

/** Returns 0 for a schema of the database without tables of Runwire. */
async function storedVersion(query: Query): Promise<number> {
  const tables = await query<{ name: string }>({
    text: 'SELECT relname::text AS name FROM pg_class WHERE relnamespace = current_schema()::regnamespace',
  });
  const ours = new Set(
    migrations.flatMap((sql) => [...sql.matchAll(/^\s*CREATE TABLE (\w+)/gm)].map(([, name]) => name)),
  );
  const taken = tables.map(({ name }) => name).filter((name) => ours.has(name));
  if (taken.length === 0) return 0;
  const columns = await query({
    // information_schema lists only columns that the role may use.
    text: `SELECT 1 FROM pg_attribute WHERE attname IN ('key', 'value') AND NOT attisdropped AND attrelid = (
      SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = 'meta')`,
  });
  const stored =
    columns.length === 2
      ? await query<{ value: string }>({
          text: `SELECT value::text AS value FROM meta WHERE key::text = 'schema_version'`,
        })
      : [];
  const version = Number(stored[0]?.value);
  if (Number.isSafeInteger(version) && version > 0) return version;
  throw refusal(
    `it has a table ${taken[0]} of another program: give Runwire a database, or a schema with ?options=-csearch_path%3DNAME`,
  );
}

/** Writes the first rows: a random epoch, which is also the id of the log, and the head of a log without events. */
async function fill(query: Query): Promise<void> {
  const id = randomBytes(8).toString('hex');
  await query({
    text: `INSERT INTO head (id, epoch, epoch_seq, seq, hash, recorded_at_ms, oldest, erasures)
      VALUES (1, $1, 0, 0, $2, 0, 1, 0)`,
    values: [id, GENESIS],
  });
  await query({ text: `INSERT INTO meta (key, value) VALUES ('id', $1)`, values: [id] });
}

const refusal = (cause: string) => new RunwireError('UNAVAILABLE', cause);
