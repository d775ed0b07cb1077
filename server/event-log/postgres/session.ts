import pg from 'pg';
import { type Query, queryOf } from './database.ts';

/** One connection that nothing else uses. It is opened at the first statement, and again after a failure. */
export type Session = { query: Query; close(): Promise<void> };

/** `timeoutMs`: for a connection to be established, and for a statement. `setup`: a statement for each new connection. */
export function openSession(options: pg.ClientConfig, timeoutMs: number, setup?: string): Session {
  const pool = new pg.Pool({
    ...options,
    max: 1,
    idleTimeoutMillis: 0,
    connectionTimeoutMillis: timeoutMs,
    statement_timeout: timeoutMs,
    query_timeout: timeoutMs + 1_000,
    ...(setup === undefined ? {} : { onConnect: async (client) => void (await client.query(setup)) }),
  });
  // An idle connection that breaks: the pool replaces it, and the next statement reports a lasting failure.
  pool.on('error', () => undefined);
  return { query: queryOf(pool), close: () => pool.end() };
}
