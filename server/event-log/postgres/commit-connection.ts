import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { READ_COMMITTED, type Statement } from './database.ts';

/**
 * The connection over which this node commits. Statements of one call are sent together. A further connection first
 * raises the generation of the node: a commit that was sent over an earlier one, and has not ended, then has no effect.
 */

/** The statements of a commit must follow indexes, also before the tables have statistics, and are planned once. */
const SETTINGS = `${READ_COMMITTED};
  SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
  SET plan_cache_mode = force_generic_plan`;

const CLOSE_LIMIT_MS = 1_000;

type ConnectionParts = {
  /** Raises the generation of the node. It waits for a commit of the node that is about to end. */
  raise: () => Promise<unknown>;
  /** Called for each new connection. What was read before may be of another history. */
  onOpen: () => void;
};

export class CommitConnection {
  readonly #options: pg.ClientConfig;
  readonly #parts: ConnectionParts;
  #client: pg.Client | undefined;
  #isFirst = true;

  constructor(options: pg.ClientConfig, parts: ConnectionParts) {
    this.#options = options;
    this.#parts = parts;
  }

  get isOpen(): boolean {
    return this.#client !== undefined;
  }

  /** Connects, unless connected. */
  async open(): Promise<void> {
    if (this.#client) return;
    const client = new pg.Client({ ...this.#options, pipeline: true } as pg.ClientConfig);
    client.on('error', () => this.#drop(client)); // The next statement reports it.
    client.on('end', () => this.#drop(client));
    try {
      await client.connect();
      await client.query(SETTINGS);
      if (!this.#isFirst) await this.#parts.raise();
      this.#isFirst = false;
    } catch (error) {
      this.#drop(client);
      throw error;
    }
    this.#client = client;
    this.#parts.onOpen();
  }

  /**
   * Sends the statements together over the open connection, and returns their rows. If one fails, throws its error once all have ended: after an error
   * of the server, the others had no effect if a transaction encloses them.
   */
  async send(statements: readonly Statement[]): Promise<Record<string, unknown>[][]> {
    const client = this.#client;
    // Not opened here: the statements may belong to a transaction of the connection that was lost.
    if (!client) throw new Error('the connection is lost');
    const results = await Promise.allSettled(statements.map((statement) => client.query(statement as pg.QueryConfig)));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) {
      if (!isStatementError(failed.reason)) this.drop();
      throw failed.reason;
    }
    return results.map((result) => (result as PromiseFulfilledResult<pg.QueryResult>).value.rows);
  }

  /** Gives up the connection, and a transaction that is open on it. */
  drop(): void {
    if (this.#client) this.#drop(this.#client);
  }

  /** Closes the connection; a peer that does not answer is given up after {@link CLOSE_LIMIT_MS}. */
  async close(): Promise<void> {
    const client = this.#client;
    if (!client) return;
    this.#client = undefined;
    await Promise.race([client.end(), sleep(CLOSE_LIMIT_MS, undefined, { ref: false })]).catch(() => undefined);
    this.#drop(client);
  }

  #drop(client: pg.Client): void {
    if (this.#client === client) this.#client = undefined;
    // Without waiting: a peer that is gone would not answer.
    (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  }
}

/** SQLSTATEs, or their beginnings, with which the server ends the connection. */
const ENDS = /^(57P|08|25P03)/;
/** Whether the server has refused a statement, so that its transaction certainly has no effect. */
export const isStatementError = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && error.code !== undefined && !ENDS.test(error.code);
