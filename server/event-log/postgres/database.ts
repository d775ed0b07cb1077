import pg from 'pg';
import { RunwireError } from '../../../shared/errors.ts';
import type { Caller } from '../../slices.ts';
import { FairQueue } from './fair-queue.ts';

/**
 * The connections to PostgreSQL. Reads share a pool, and users take turns. Writes other than commits of events have a few
 * connections of their own, so that reads never hold them up.
 */

const READ_CONNECTIONS = 8;
const WRITE_CONNECTIONS = 3;
/** Time for a connection to be established, and for a statement: a dead peer is noticed after this time. */
const CONNECT_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 30_000;
/** The client gives up later than the server, so that usually the outcome is known. */
const QUERY_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 5_000;

/**
 * For each connection that writes. A statement after a lock must see what was committed while it waited, also where the
 * database or the role has another default.
 */
export const READ_COMMITTED = `SET default_transaction_isolation = 'read committed'`;

/** A statement. With a `name`, each connection prepares it once. */
export type Statement = { name?: string; text: string; values?: readonly unknown[] };
export type Query = <Row extends object = Record<string, unknown>>(statement: Statement) => Promise<Row[]>;

/** bigint columns as numbers: positions and times are below 2^53. */
const types = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format as never),
} as pg.CustomTypesConfig;

export class PostgresDatabase {
  /** Options of further connections, such as the one that commits. */
  readonly options: pg.ClientConfig;
  readonly #reads: pg.Pool;
  readonly #writes: pg.Pool;
  readonly #queue = new FairQueue(READ_CONNECTIONS);
  /** Many writes at once wait here: in the pool they would fail after the time for a connection. */
  readonly #writeQueue = new FairQueue(WRITE_CONNECTIONS);
  readonly #onFailure: (error: unknown) => void;
  #isClosed = false;

  /** `onFailure` receives each error of the server or of a connection. Connects at the first use. */
  constructor(url: string, onFailure: (error: unknown) => void) {
    this.#onFailure = onFailure;
    this.options = {
      connectionString: url,
      application_name: 'runwire',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      query_timeout: QUERY_TIMEOUT_MS,
      keepAlive: true,
      types,
    };
    this.#reads = new pg.Pool({ ...this.options, max: READ_CONNECTIONS });
    const onConnect = async (client: pg.ClientBase) => void (await client.query(READ_COMMITTED));
    this.#writes = new pg.Pool({ ...this.options, max: WRITE_CONNECTIONS, onConnect });
    // An idle connection that breaks: the pool replaces it, and the next query reports a lasting failure.
    for (const pool of [this.#reads, this.#writes]) pool.on('error', () => undefined);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Runs one read. Its rows MUST be bounded in number and bytes: a result is parsed in one turn of the event loop. */
  read<Row extends object>(statement: Statement, caller?: Caller): Promise<Row[]> {
    return this.#queue.run(() => this.#attempt(() => queryOf(this.#reads)<Row>(statement)), caller);
  }

  /** Runs several reads of one moment, in one read-only transaction. */
  snapshot<T>(work: (query: Query) => Promise<T>, caller?: Caller): Promise<T> {
    const begin = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY';
    return this.#queue.run(() => this.#attempt(() => transact(this.#reads, begin, work)), caller);
  }

  /**
   * Runs a transaction. One that gives positions, or removes or replaces events, MUST lock the head first
   * ({@link lockHead}): transactions that lock rows in different orders would deadlock. After `UNAVAILABLE` the
   * transaction may or may not have been committed, so a repetition MUST have the same result.
   */
  write<T>(work: (query: Query) => Promise<T>): Promise<T> {
    return this.#writeQueue.run(() => this.#attempt(() => transact(this.#writes, 'BEGIN', work)));
  }

  /** Runs one statement that writes, as a transaction of its own: one round trip. As {@link write} otherwise. */
  run<Row extends object>(statement: Statement): Promise<Row[]> {
    return this.#writeQueue.run(() => this.#attempt(() => queryOf(this.#writes)<Row>(statement)));
  }

  /** Refuses further work, waits for the work that has begun, and closes every connection. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await Promise.all([this.#reads.end(), this.#writes.end()]);
  }

  /** Returns the error that the caller gets: always a `RunwireError`. An error of the server is also passed to `onFailure`. */
  errorFor(error: unknown): RunwireError {
    if (error instanceof RunwireError) return error;
    const cause = withoutValues(error);
    if (isOutage(error)) {
      this.#onFailure(cause);
      return new RunwireError('UNAVAILABLE', 'the event log failed', { cause });
    }
    if (error instanceof pg.DatabaseError) this.#onFailure(cause);
    return new RunwireError('INTERNAL', 'an internal error', { cause });
  }

  async #attempt<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw closedError();
    try {
      return await work();
    } catch (error) {
      if (this.#isClosed && !(error instanceof RunwireError)) throw closedError();
      throw this.errorFor(error);
    }
  }
}

/** Locks the row of the head until the end of the transaction. */
export const lockHead = (query: Query): Promise<unknown> => query({ text: 'SELECT 1 FROM head FOR UPDATE' });

/** Stores a value in `meta`. */
export const putMeta = (query: Query, key: string, value: string): Promise<unknown> =>
  query({
    text: 'INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
    values: [key, value],
  });

export const closedError = () => new RunwireError('UNAVAILABLE', 'the event log is closed');

/** Classes of SQLSTATE after which a later attempt may succeed. */
const OUTAGES = new Set(['08', '25', '40', '53', '55', '57', '58']);

/** Whether the connection, the server or its disk has failed, or the statement took too long. */
export function isOutage(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return OUTAGES.has((error.code ?? '').slice(0, 2));
  // Errors of sockets have a code, those of the driver ('Connection terminated', 'timeout expired') do not.
  return error instanceof Error && !(error instanceof TypeError) && !(error instanceof RangeError);
}

/** Returns a function that runs statements on a connection or a pool. */
export function queryOf(client: Pick<pg.ClientBase, 'query'> | pg.Pool): Query {
  return async <Row extends object>({ name, text, values }: Statement) => {
    const { rows } = await (client as pg.Pool).query<Row>({
      ...(name === undefined ? {} : { name }),
      text,
      values: values as unknown[],
    });
    return rows;
  };
}

async function transact<T>(pool: pg.Pool, begin: string, work: (query: Query) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  // The pool listens to idle connections only, and the statement in flight reports the error. Without a listener, it ends
  // the process.
  const ignore = () => undefined;
  client.on('error', ignore);
  let failure: unknown;
  try {
    const query = queryOf(client);
    await query({ text: begin });
    const value = await work(query);
    // After a failed statement, COMMIT succeeds as a ROLLBACK.
    const { command } = await client.query('COMMIT');
    if (command === 'ROLLBACK') throw new RunwireError('INTERNAL', 'the transaction was rolled back');
    return value;
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    const broken = failure === undefined ? undefined : await client.query('ROLLBACK').then(() => undefined, toError);
    client.release(broken);
    client.off('error', ignore);
  }
}

const toError = (error: Error): Error => error;

/** An error of the server quotes values of rows and parameters, in its message too. Returns it without them, for the log. */
export function withoutValues(error: unknown): unknown {
  if (!(error instanceof pg.DatabaseError)) return error;
  const { code, routine, table, constraint } = error;
  const safe = new Error(`${causeOf(error)} (PostgreSQL ${code})`);
  if (error.stack) safe.stack = error.stack.replace(error.message, safe.message);
  return Object.assign(safe, { code, routine, table, constraint });
}

const CAUSES: { readonly [code: string]: string } = {
  '25006': 'the database is read-only',
  '28': 'the database refuses the user',
  '3D000': 'the database does not exist',
  '53100': 'the disk of the database is full',
  '53300': 'the database has no free connection',
  '57P01': 'the database is shutting down',
  '57P03': 'the database is starting or stopping',
  '57014': 'the database took too long',
  '55P03': 'the database took too long',
};

/** A fixed text for operators. */
export function causeOf(error: unknown): string {
  const { code = '' } = (error ?? {}) as { code?: string };
  const isServer = error instanceof pg.DatabaseError;
  return (
    CAUSES[code] ?? CAUSES[code.slice(0, 2)] ?? (isServer ? 'the event log failed' : 'the database cannot be reached')
  );
}
