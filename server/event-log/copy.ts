import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { RunwireError } from '../../shared/errors.ts';
import { verifyChain, verifyStepAsync } from './integrity/chain.ts';
import { AuditKeys } from './integrity/keys.ts';
import { PostgresChain } from './postgres/chain.ts';
import { isOutage, lockHead, PostgresDatabase, type Query, queryOf } from './postgres/database.ts';
import { COPYING, migrate } from './postgres/migrate.ts';
import { approvalState, artifactState, headerState } from './postgres/rows.ts';
import { SqliteDatabase } from './sqlite/database.ts';

/**
 * Copies the log of a SQLite file into an empty PostgreSQL database, with positions, hash chain, epoch, secret and signing key.
 *
 * The source is locked as by a server. The target gets a mark first, with which no server starts on it. Everything else is
 * one transaction: it copies the tables, verifies the chain of the copy, and removes the mark. An interrupted copy leaves
 * an empty target with the mark, which the next copy takes.
 *
 * The index of words is not copied: the first server makes it.
 */

const BATCH_ROWS = 1_000;
const BATCH_BYTES = 1_048_576;

export type Copied = { events: number; from: number; to: number; hash: string; epoch: string };

type Row = Record<string, unknown>;
/** `select` returns the columns of the table, by name. `change` is applied to each row. */
type Table = { name: string; select: string; change?: (row: Row) => Row };

const runOf = (column: 'project_id' | 'run_id', row: string) =>
  `coalesce((SELECT r.${column} FROM runs r WHERE r.row_id = ${row}), (SELECT d.${column} FROM removed_runs d WHERE d.row_id = ${row}))`;
const state =
  (convert: (value: never) => string) =>
  (row: Row): Row => ({ ...row, state: convert(JSON.parse(row.state as string) as never) });
const whole = (name: string, columns: string): Table => ({ name, select: `SELECT ${columns} FROM ${name}` });

const TABLES: readonly Table[] = [
  {
    name: 'runs',
    select: `SELECT row_id, project_id, run_id, status, created_at, last_seq, state ->> '$.lastRunSeq' AS last_run_seq, state
      FROM runs`,
    change: state(headerState),
  },
  whole('stages', 'run_row, stage_id, last_seq, start_key, state'),
  {
    name: 'artifacts',
    select: `SELECT run_row, artifact_id, coalesce(state ->> '$.order.seq', 0) AS seq, last_seq, state FROM artifacts`,
    change: state(artifactState),
  },
  {
    name: 'approvals',
    select: `SELECT run_row, approval_id, ${runOf('project_id', 'run_row')} AS project_id, ${runOf('run_id', 'run_row')} AS run_id,
      request_seq, last_seq, status, expires_at, decided_at, request_actor, requested_by, state FROM approvals`,
    change: state(approvalState),
  },
  {
    name: 'events',
    select: `SELECT seq, run_row, run_seq, project_id, ${runOf('run_id', 'run_row')} AS run_id, type, event_id, actor,
      recorded_at_ms, payload, nullif(salt, x'') AS salt, payload_hash, prev_hash FROM events ORDER BY seq`,
  },
  whole('event_users', 'user_id, seq'),
  whole('clock_repairs', 'seq, at_ms, repair'),
  { name: 'checkpoints', select: `SELECT seq, checkpoint ->> '$.epoch' AS epoch, checkpoint FROM checkpoints` },
  { name: 'erasures', select: 'SELECT seq, row_number() OVER (ORDER BY seq) AS generation, erasure FROM erasures' },
  { name: 'removed_runs', select: 'SELECT row_id FROM removed_runs WHERE is_cleared = 0' },
  whole('access', 'id, at_ms, sub, action, project_id, run_id, outcome, via, detail, count'),
  whole('producer_state', 'scope, key, value, written_at_ms'),
  whole('revocations', 'kind, id, at_ms, until_ms'),
  whole('sessions', 'id, sealed, ends_at_ms'),
  whole('webhooks', 'row_id, id, record, position'),
  whole('webhook_pending', 'webhook, seq, kind, state'),
  whole('webhook_dead_letters', 'webhook, seq, kind, state'),
  {
    name: 'webhook_tries',
    select: `SELECT id, webhook, seq, coalesce(state ->> '$.kind', 'event') AS kind, at_ms, state, answer FROM webhook_tries`,
  },
  {
    name: 'meta',
    select: `SELECT key, value FROM meta WHERE key IN ('secret', 'trimming', 'clock') OR key LIKE 'renewal %'`,
  },
];

/** Sequences go on after the copied rows. */
const SEQUENCES = [
  ['runs', 'row_id'],
  ['webhooks', 'row_id'],
  ['webhook_tries', 'id'],
].map(
  ([table, column]) =>
    `SELECT setval(pg_get_serial_sequence('${table}', '${column}'), max(${column})) FROM ${table} HAVING max(${column}) IS NOT NULL`,
);

/**
 * Copies the log at `path` into the database of `url`. `progress` is called with each table, and the number of its rows so far.
 * Throws `UNAVAILABLE` if the source is in use, the target is not empty, or the copy does not verify.
 */
export async function copyToPostgres(
  path: string,
  url: string,
  progress: (table: string, rows: number) => void,
): Promise<Copied> {
  if (!existsSync(path)) throw refusal(`there is no database at ${path}`);
  const source = new SqliteDatabase(path, () => undefined);
  const { options } = new PostgresDatabase(url, () => undefined);
  let client: pg.Client | undefined;
  try {
    await migrate(options, { isCopy: true });
    client = new pg.Client({ ...options, statement_timeout: 0, query_timeout: 0 });
    client.on('error', () => undefined); // The statement that fails reports it.
    await client.connect();
    const query = queryOf(client);
    await transact(query, () => mark(query));
    return await transact(query, () => copyAll(source, query, progress));
  } catch (error) {
    if (error instanceof RunwireError) throw error;
    const cause = isOutage(error) ? 'the connection to the database failed' : 'the database has refused the copy';
    throw new RunwireError('UNAVAILABLE', `${cause}: ${(error as Error).message}`, { cause: error });
  } finally {
    await client?.end().catch(() => undefined);
    source.close();
  }
}

async function transact<T>(query: Query, work: () => Promise<T>): Promise<T> {
  await query({ text: 'BEGIN' });
  try {
    const value = await work();
    await query({ text: 'COMMIT' });
    return value;
  } catch (error) {
    await query({ text: 'ROLLBACK' }).catch(() => undefined);
    throw error;
  }
}

/** Refuses a target with a log or with servers, and marks it. */
async function mark(query: Query): Promise<void> {
  await requireEmpty(query);
  await query({ text: `INSERT INTO meta (key, value) VALUES ('${COPYING}', '') ON CONFLICT DO NOTHING` });
}

/** Locks the head: of two copies, the second one waits, and is refused. */
async function requireEmpty(query: Query): Promise<void> {
  await lockHead(query);
  const [found] = await query<{ log: boolean; servers: boolean }>({
    text: `SELECT (SELECT seq > 0 FROM head) OR EXISTS (SELECT FROM webhooks) OR EXISTS (SELECT FROM revocations)
        OR EXISTS (SELECT FROM access) OR EXISTS (SELECT FROM outbox) OR EXISTS (SELECT FROM outbox_refused) AS log,
      EXISTS (SELECT FROM nodes WHERE lease_until > clock_timestamp()) AS servers`,
  });
  if (found?.servers) throw refusal('a server runs on the target: stop it, and use a new database');
  if (found?.log) throw refusal('the target has a log: use a new database');
}

async function copyAll(
  source: SqliteDatabase,
  query: Query,
  progress: (table: string, rows: number) => void,
): Promise<Copied> {
  await requireEmpty(query);
  // What a start of a server on the empty database has left.
  await query({ text: `DELETE FROM meta WHERE key NOT IN ('schema_version', '${COPYING}')` });
  await query({ text: 'DELETE FROM nodes' });
  await query({ text: 'DELETE FROM sessions' });
  for (const table of TABLES) await copyTable(source, table, query, progress);
  for (const text of SEQUENCES) await query({ text });
  const put = (key: string, value: string) =>
    query({ text: 'INSERT INTO meta (key, value) VALUES ($1, $2)', values: [key, value] });
  await put('id', source.epoch);
  await putKeys(source, put);
  await query({
    text: 'UPDATE access_head SET last_id = a.id, at_ms = a.at FROM (SELECT coalesce(max(id), 0) AS id, coalesce(max(at_ms), 0) AS at FROM access) a',
  });
  const head = headOf(source);
  const renewed = `SELECT max((value::json ->> 'seq')::bigint) FROM meta WHERE key LIKE 'renewal %'`;
  await query({
    text: `UPDATE head SET epoch = $1, epoch_seq = coalesce((${renewed}), 0), seq = $2, hash = $3, recorded_at_ms = $4,
      oldest = coalesce((SELECT min(seq) FROM events), $2::bigint + 1), erasures = (SELECT count(*) FROM erasures)`,
    values: [source.historyEpoch, head.seq, head.hash, head.recordedAtMs],
  });
  const verdict = await verify(source, query);
  const hash = Buffer.from(head.hash).toString('hex');
  if (!verdict.ok) {
    throw refusal(
      `the log does not verify at seq ${verdict.seq} (${verdict.reason}): run \`runwire verify\` on the source`,
    );
  }
  if (verdict.hash !== hash || verdict.to !== head.seq) throw refusal('the copy ends with another row than the source');
  await query({ text: `DELETE FROM meta WHERE key = '${COPYING}'` });
  const { events, from, to } = verdict;
  return { events, from, to, hash, epoch: source.historyEpoch };
}

async function copyTable(
  { db }: SqliteDatabase,
  { name, select, change = (row) => row }: Table,
  query: Query,
  progress: (table: string, rows: number) => void,
): Promise<void> {
  let batch: string[] = [];
  let columns = '';
  let bytes = 0;
  let count = 0;
  const flush = async () => {
    await query({
      text: `INSERT INTO ${name} (${columns}) OVERRIDING SYSTEM VALUE SELECT ${columns} FROM json_populate_recordset(NULL::${name}, $1)`,
      values: [`[${batch.join()}]`],
    });
    count += batch.length;
    progress(name, count);
    batch = [];
    bytes = 0;
  };
  // The iterator does not keep its statement from the garbage collector, and cannot go on without it.
  const statement = db.prepare(select);
  const held = new Set([statement]);
  for (const row of statement.iterate() as Iterable<Row>) {
    columns ||= Object.keys(row).join();
    const text = JSON.stringify(change(row), (_, value) =>
      value instanceof Uint8Array ? `\\x${Buffer.from(value).toString('hex')}` : value,
    );
    batch.push(text);
    bytes += text.length;
    if (batch.length >= BATCH_ROWS || bytes >= BATCH_BYTES) await flush();
  }
  if (batch.length > 0) await flush();
  held.delete(statement);
}

/** The keys of `audit.key`, and their ids with the one that signs as the last. */
async function putKeys(
  { keys, path }: SqliteDatabase,
  put: (key: string, value: string) => Promise<unknown>,
): Promise<void> {
  await put('audit_key', readFileSync(join(dirname(path), 'audit.key'), 'utf8'));
  const ids = keys.publicKeys
    .split(/(?<=-----END PUBLIC KEY-----)\s*/)
    .filter((pem) => pem !== '')
    .map((pem) => new AuditKeys(pem).keyId);
  await put('audit_key_ids', JSON.stringify([...ids.filter((id) => id !== keys.keyId), keys.keyId]));
}

/** The end of the chain, as the last commit has stored it. The next event is recorded at its time, or later. */
function headOf({ db }: SqliteDatabase): { seq: number; hash: Uint8Array; recordedAtMs: number } {
  return db
    .prepare(
      `SELECT seq, hash, coalesce((SELECT at_ms FROM clock_repairs c WHERE c.seq = h.seq),
         (SELECT recorded_at_ms FROM events e WHERE e.seq = h.seq), 0) AS recordedAtMs FROM log_head h`,
    )
    .get() as { seq: number; hash: Uint8Array; recordedAtMs: number };
}

/** Recomputes every hash of the copy, inside its transaction. */
async function verify({ keys, epoch }: SqliteDatabase, query: Query) {
  const verifying = verifyChain({ keys });
  const chain = new PostgresChain(query, epoch);
  for (;;) {
    const verdict = await verifyStepAsync(verifying, chain);
    if (verdict) return verdict;
  }
}

const refusal = (message: string) => new RunwireError('UNAVAILABLE', message);
