import { randomUUID } from 'node:crypto';
import { RunwireError } from '../../../shared/errors.ts';
import type { RunRows } from '../../../shared/run.ts';
import type { Health } from '../../health.ts';
import type { Log, StoredEvent } from '../contract/log.ts';
import type { EventLog } from '../contract/store.ts';
import { hashPrefixOf } from '../cursor.ts';
import type { Backplane } from './backplane.ts';
import { CommitQueue } from './commit-queue.ts';
import { PostgresDatabase, type Query } from './database.ts';
import { Feed, type LogState, readState } from './feed.ts';
import { openKeys } from './keys.ts';
import { migrate } from './migrate.ts';
import { PostgresOutbox } from './outbox.ts';
import { PostgresReads } from './reads.ts';
import { PostgresRevocations } from './revocations.ts';
import { PostgresSessions } from './sessions.ts';
import { PostgresWebhooks } from './webhooks.ts';

/**
 * The event log in PostgreSQL, shared by several servers (nodes). Each node commits over one connection of its own
 * ({@link CommitQueue}) and gives every record of the log, whichever node wrote it, to its listeners ({@link Feed}).
 */

export type PostgresOptions = {
  /** `postgres://…`, with password and TLS options of `pg`. */
  url: string;
  /** Folds a logged event into its run. */
  fold: (rows: RunRows, event: never) => void;
  /** Unix ms, for tests. Default: the clock of the database. `recordedAt` does not go back even if the clock does. */
  now?: () => number;
  /** Receives the problem of the condition `commit`, and a note of each other failure. Default: nothing is reported. */
  health?: Pick<Health, 'report' | 'note'>;
  /** Called after each commit with the number of its events and its duration. */
  onCommit?: (commit: { events: number; ms: number }) => void;
  /** Called after each commit that the store has refused. */
  onCommitFailure?: () => void;
  /** Called when the log is opened, if its last row is not the last row that was logged. */
  onDamage?: (damage: { seq: number }) => void;
  /** Carries messages between the nodes. Default: LISTEN and NOTIFY. */
  backplane?: Backplane;
  /** Signing key of the audit record, as PEM or the path of its file. Default: a key in the database. */
  auditKey?: string | undefined;
};

/** Connects, creates or migrates the tables, and returns the log. Throws `UNAVAILABLE` if that fails. */
export async function openPostgresLog(options: PostgresOptions): Promise<EventLog> {
  const { url, fold, now, onCommit = () => undefined, onCommitFailure = () => undefined } = options;
  const { health = { report: () => undefined, note: () => undefined } } = options;
  const path = placeOf(url);
  const onFailure = (err: unknown, message = 'the event log failed') => health.note(message, { path, err });
  const database = new PostgresDatabase(url, onFailure);
  try {
    await migrate(database.options);
    const { state, id, secret, nodeId } = await join(database, options.auditKey);
    const feed = new Feed(state, onFailure);
    const queue = new CommitQueue({
      ...{ database, state, feed, nodeId, fold, now, path },
      ...{ health, onCommit, onCommitFailure },
    });
    const log = new PostgresLog({ database, state, feed, queue, id, secret });
    const kept = { database, changed: () => undefined, onChange: () => () => undefined };
    return Object.assign(log, {
      ...notBuilt('trim', 'keepClock', 'keptClock', 'durableHead', 'reached'),
      nodes: stub<EventLog['nodes']>(),
      runs: stub<EventLog['runs']>(),
      approvals: stub<EventLog['approvals']>(),
      search: stub<EventLog['search']>(),
      access: stub<EventLog['access']>(),
      revocations: new PostgresRevocations(kept),
      sessions: new PostgresSessions(kept),
      integrity: stub<EventLog['integrity']>(),
      producerState: stub<EventLog['producerState']>(),
      webhooks: new PostgresWebhooks(kept),
      outbox: new PostgresOutbox(database),
      close: async () => {
        await queue.close();
        await database.close();
      },
    });
  } catch (error) {
    await database.close();
    throw openError(path, error);
  }
}

/** Adds this process to the nodes, and reads what the log is. */
async function join(database: PostgresDatabase, auditKey: string | undefined) {
  const nodeId = randomUUID();
  return database.write(async (query: Query) => {
    const keys = await openKeys(query, auditKey);
    const state = await readState(query);
    await query({
      text: `INSERT INTO nodes (node_id, generation, lease_until, erasures, state)
        VALUES ($1, 0, clock_timestamp() + interval '10 seconds', $2, '{}')`,
      values: [nodeId, state.erasures],
    });
    return { ...keys, state, nodeId };
  });
}

type PostgresLogParts = {
  database: PostgresDatabase;
  state: LogState;
  feed: Feed;
  queue: CommitQueue;
  id: string;
  secret: string;
};
type Beside = 'trim' | 'keepClock' | 'keptClock' | 'newestMs' | 'durableHead' | 'reached';

/** Retention is in `retention.ts`. */
class PostgresLog extends PostgresReads implements Omit<Log, Beside> {
  readonly id: string;
  readonly secret: string;
  readonly isCurrent = true;
  readonly #state: LogState;
  readonly #feed: Feed;
  readonly #queue: CommitQueue;

  constructor({ database, state, feed, queue, id, secret }: PostgresLogParts) {
    super(database, state);
    this.id = id;
    this.secret = secret;
    this.#state = state;
    this.#feed = feed;
    this.#queue = queue;
  }

  get epoch(): string {
    return this.#state.epoch;
  }
  get head(): number {
    return this.#state.head.seq;
  }
  get headHashPrefix(): string {
    return hashPrefixOf(this.#state.head.hash);
  }
  get oldest(): number {
    return this.#state.oldest;
  }
  get erasures(): number {
    return this.#state.erasures;
  }
  get newestMs(): number {
    return this.#state.head.recordedAtMs;
  }

  append: Log['append'] = (batch) => this.#queue.add(batch);

  subscribe(listener: (records: readonly StoredEvent[]) => void): () => void {
    return this.#feed.subscribe(listener);
  }

  onEpoch(): () => void {
    return () => undefined;
  }
}

/** Host, port and name of the database: no user and no password. */
function placeOf(url: string): string {
  try {
    const { protocol, host, pathname } = new URL(url);
    return `${protocol}//${host}${pathname}`;
  } catch {
    return 'postgres:';
  }
}

function openError(path: string, error: unknown): RunwireError {
  const { message } = error as Error;
  const code = error instanceof RunwireError ? error.code : 'UNAVAILABLE';
  return new RunwireError(code, `cannot open the event log ${path}: ${message}`, { cause: error });
}

/** Placeholders of members that have no implementation yet. Replace them one by one. */
const rejects = () => Promise.reject(new RunwireError('UNAVAILABLE', 'not built yet'));
const stub = <T extends object>(): T =>
  new Proxy({}, { get: (_, name) => (/^on[A-Z]/.test(String(name)) ? () => () => undefined : rejects) }) as T;
const notBuilt = <Name extends keyof Log>(...names: Name[]) =>
  Object.fromEntries(names.map((name) => [name, rejects])) as unknown as Pick<Log, Name>;
