import { RunwireError } from '../../../shared/errors.ts';
import type { RunRows } from '../../../shared/run.ts';
import type { Health } from '../../health.ts';
import { type Caller, Turns } from '../../slices.ts';
import type { Log, LogHead, StoredEvent } from '../contract/log.ts';
import type { EventLog } from '../contract/store.ts';
import { BlockSearch } from '../search/search.ts';
import { inTurns } from '../steps.ts';
import { PostgresAccess } from './access.ts';
import { PostgresApprovals } from './approvals.ts';
import type { OpenBackplane } from './backplane.ts';
import { clockOf } from './clock.ts';
import { type Cluster, joinCluster } from './cluster.ts';
import { CommitQueue } from './commit-queue.ts';
import { PostgresDatabase } from './database.ts';
import { PostgresErasure } from './erasure.ts';
import { type Proof, proveHistory } from './history.ts';
import { PostgresIntegrity, renewEpochIn, tombstonesAfter } from './integrity.ts';
import { openKeys } from './keys.ts';
import { migrate } from './migrate.ts';
import { NotifyBackplane } from './notify.ts';
import { PostgresOutbox } from './outbox.ts';
import { PostgresProducerState } from './producer-state.ts';
import { PostgresReads } from './reads.ts';
import { PostgresRetention } from './retention.ts';
import { PostgresRevocations } from './revocations.ts';
import { PostgresRuns } from './runs.ts';
import { searchReads } from './search.ts';
import { PostgresSearchIndex } from './search-index.ts';
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
  /** Called at once and every 10 s with the size of the database. Default: it is not measured. */
  onSizes?: (sizes: { databaseBytes: number; walBytes: number }) => void;
  /** Carries messages between the nodes. Default: LISTEN and NOTIFY. */
  backplane?: OpenBackplane;
  /** Signing key of the audit record, as PEM or the path of its file. Default: a key in the database. */
  auditKey?: string | undefined;
};

const SIZE_INTERVAL_MS = 10_000;

/** Connects, creates or migrates the tables, and returns the log. Throws `UNAVAILABLE` if that fails. */
export async function openPostgresLog(options: PostgresOptions): Promise<EventLog> {
  const { url, fold, now, onCommit = () => undefined, onCommitFailure = () => undefined } = options;
  const { health = { report: () => undefined, note: () => undefined } } = options;
  const path = placeOf(url);
  const onFailure = (err: unknown, message = 'the event log failed') => health.note(message, { path, err });
  const database = new PostgresDatabase(url, onFailure);
  let cluster: Cluster | undefined;
  try {
    await migrate(database.options);
    const { id, secret, keys } = await database.write((query) => openKeys(query, options.auditKey));
    const signing = { keys, id, clock: clockOf(now) };
    const { damage, renewed } = await proveHistory(database, signing);
    if (damage) options.onDamage?.(damage);
    cluster = await joinCluster({
      database,
      backplane: options.backplane?.(id) ?? new NotifyBackplane({ options: database.options, channel: id, health }),
      secret,
      tombstonesAfter: (generation) => tombstonesAfter(database, generation),
      renewEpoch: (query, reason) => renewEpochIn(query, reason, signing),
      onFailure,
    });
    const { feed, nodes, log: state } = cluster;
    const queue = new CommitQueue({
      ...{ database, state, feed, nodes, fold, now, path },
      ...{ health, onCommit, onCommitFailure },
    });
    const joined = cluster;
    const kept = { database, changed: () => joined.changed(), onChange: joined.onChange.bind(joined) };
    const webhooks = new PostgresWebhooks({ ...kept, nodeId: nodes.id });
    const access = new PostgresAccess({ database, clock: now ? undefined : Date.now });
    await access.load();
    if (renewed) await recordEpoch(access, renewed, health, path);
    const producerState = new PostgresProducerState(database);
    const index = new PostgresSearchIndex({ database, nodes, head: () => state.head.seq });
    const outbox = new PostgresOutbox(database);
    const retention = new PostgresRetention({
      ...{ ...signing, database, index, beside: [access, producerState, webhooks] },
      changed: () => {
        joined.changed();
        return joined.look();
      },
    });
    const erasure = new PostgresErasure({ ...signing, database, fold, beside: [index, webhooks], onFailure });
    const capAccessTimes = (ms: number) => access.capTimes(ms);
    const integrity = new PostgresIntegrity({ ...signing, database, cluster, erasure, capAccessTimes });
    const stopMeasuring = options.onSizes ? measure(database, options.onSizes) : () => undefined;
    const log = new PostgresLog({ database, cluster, queue, access, id, secret });
    log.subscribe((records) => index.add(records));
    log.onEpoch(() => index.forget());
    feed.onErased((record) => index.erased(record));
    return Object.assign(log, {
      trim: (recordedBeforeMs: number) => retention.trim(recordedBeforeMs),
      keepClock: (nowMs: number) => retention.keepClock(nowMs),
      keptClock: () => retention.keptClock(),
      now: now ?? (() => joined.nowMs()),
      nodes,
      runs: Object.assign(new PostgresRuns({ database, log }), {
        remove: (endedBefore: string) => retention.remove(endedBefore),
      }),
      approvals: new PostgresApprovals(database),
      search: new BlockSearch({
        ...{ reads: searchReads(database), index, run: inTurns(new Turns()), head: () => log.head },
        ...{ oldest: () => log.oldest, positionBeforeTime: (ms) => log.positionBeforeTime(ms) },
      }),
      access,
      revocations: new PostgresRevocations(kept),
      sessions: new PostgresSessions(kept),
      integrity,
      producerState,
      webhooks,
      outbox,
      close: async () => {
        stopMeasuring();
        erasure.close();
        await queue.close();
        await index.close();
        await joined.close();
        await database.close();
      },
    });
  } catch (error) {
    await cluster?.close();
    await database.close();
    throw openError(path, error);
  }
}

/** A failed measurement is left out: the pulse reports the outage. Returns a function that ends the measuring. */
function measure(database: PostgresDatabase, onSizes: NonNullable<PostgresOptions['onSizes']>): () => void {
  const text = 'SELECT pg_database_size(current_database())::float8 AS bytes';
  const look = () =>
    database.read<{ bytes: number }>({ text }).then(
      ([row]) => onSizes({ databaseBytes: row?.bytes ?? 0, walBytes: 0 }),
      () => undefined,
    );
  void look();
  const timer = setInterval(look, SIZE_INTERVAL_MS).unref();
  return () => clearInterval(timer);
}

type PostgresLogParts = {
  database: PostgresDatabase;
  cluster: Cluster;
  queue: CommitQueue;
  access: PostgresAccess;
  id: string;
  secret: string;
};
type Beside = 'now' | 'trim' | 'keepClock' | 'keptClock' | 'newestMs';

/** Retention is in `retention.ts`. */
class PostgresLog extends PostgresReads implements Omit<Log, Beside> {
  readonly id: string;
  readonly secret: string;
  readonly #cluster: Cluster;
  readonly #queue: CommitQueue;
  readonly #access: PostgresAccess;

  constructor({ database, cluster, queue, access, id, secret }: PostgresLogParts) {
    super(database, cluster.log);
    this.id = id;
    this.secret = secret;
    this.#cluster = cluster;
    this.#queue = queue;
    this.#access = access;
  }

  get epoch(): string {
    return this.#cluster.log.epoch;
  }
  get head(): number {
    return this.#cluster.log.head.seq;
  }
  get headHashPrefix(): string {
    return this.#cluster.log.head.hashPrefix;
  }
  get oldest(): number {
    return this.#cluster.log.oldest;
  }
  get erasures(): number {
    return this.#cluster.log.erasures;
  }
  get newestMs(): number {
    return Math.max(this.#cluster.log.recordedAtMs, this.#access.newestMs);
  }

  get isCurrent(): boolean {
    return this.#cluster.isCurrent;
  }

  append: Log['append'] = (batch) => this.#queue.add(batch);

  subscribe(listener: (records: readonly StoredEvent[]) => void): () => void {
    return this.#cluster.feed.subscribe(listener);
  }
  onEpoch(listener: () => void): () => void {
    return this.#cluster.feed.onEpoch(listener);
  }
  durableHead(caller?: Caller): Promise<LogHead> {
    return this.#cluster.durableHead(caller);
  }
  reached(seq: number, timeoutMs: number): Promise<boolean> {
    return this.#cluster.feed.reached(seq, timeoutMs);
  }
}

/** Reports a new epoch that the start has given. */
async function recordEpoch(
  access: PostgresAccess,
  { reason, before, epoch }: NonNullable<Proof['renewed']>,
  health: Pick<Health, 'note'>,
  path: string,
): Promise<void> {
  const err = new Error(`the epoch was ${before} and is ${epoch}: ${reason}`);
  health.note('the event log may lack events that clients have seen: it has a new epoch, and they get a gap', {
    path,
    err,
  });
  const entry = { sub: null, action: 'log.epoch', outcome: 'ok', via: 'caller', detail: reason, count: 1 } as const;
  await access.write([{ at: new Date().toISOString(), ...entry }]);
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
