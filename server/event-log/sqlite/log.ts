import type { RunRows } from '../../../shared/run.ts';
import type { Health, Problem } from '../../health.ts';
import type { Caller } from '../../slices.ts';
import { RunCache } from '../commit/run-cache.ts';
import {
  type Batch,
  type Log,
  type LogHead,
  type Page,
  type ReadQuery,
  type Receipt,
  type ScanQuery,
  type Scope,
  type Snapshot,
  StoredEvent,
} from '../contract/log.ts';
import type { EventLog } from '../contract/store.ts';
import { hashPrefixOf } from '../cursor.ts';
import { KeyOrder } from '../integrity/canonical.ts';
import { Listeners } from '../listeners.ts';
import { SearchIndexer } from '../search/indexer.ts';
import { BlockSearch } from '../search/search.ts';
import { inSlices } from '../steps.ts';
import { SqliteAccess } from './access.ts';
import { SqliteApprovals } from './approvals.ts';
import { SqliteCommitTables } from './commit-group.ts';
import { type Commit, CommitQueue, type CommitQueueParts } from './commit-queue.ts';
import { causeOf, isDamage, leaveWalMode, openError, SqliteDatabase } from './database.ts';
import type { StatementSyncInstance } from './driver.ts';
import { SqliteErasure } from './erasure.ts';
import type { FileSizes } from './files.ts';
import { type LogState, readState, SqliteIntegrity } from './integrity.ts';
import { OnlyNode } from './nodes.ts';
import { SqliteProducerState } from './producer-state.ts';
import { SqliteRetention } from './retention.ts';
import { SqliteRevocations } from './revocations.ts';
import { prepareRowStatements, type SqliteRun } from './rows.ts';
import { SqliteRuns } from './runs.ts';
import { SqliteSearchTables } from './search.ts';
import { SqliteBlocks } from './search-index.ts';
import { SqliteSessions } from './sessions.ts';
import { type LogStatements, prepareStatements } from './statements.ts';
import { SqliteWebhooks } from './webhooks.ts';

/**
 * The event log in one SQLite file. One connection reads and writes. `append` only queues a batch ({@link CommitQueue}). After
 * the commit, the log first calls its listeners, then settles the promises of `append`.
 */

/**
 * A page of `read` ends when its events have this much JSON. A reader with a full socket drops the rest of its page and reads it
 * again later, so a page is not much larger than what a socket takes at once.
 */
const PAGE_BYTES = 1 << 18;
/** Rows that one statement reads: at most 4 MiB, since an event has at most 64 KiB. */
const ROWS_AT_ONCE = 64;

export type SqliteOptions = {
  /** Path of the file, or `:memory:`. */
  path: string;
  /** The module of SQLite, for tests. Default: {@link sqliteDriver}. */
  driver?: string;
  /** Folds a logged event into its run. */
  fold: (rows: RunRows, event: never) => void;
  /** Unix ms; default `Date.now`. `recordedAt` does not go back even if this clock does. */
  now?: () => number;
  /** Receives the problems of the log's conditions, and a note of each other failure. Default: nothing is reported. */
  health?: Pick<Health, 'report' | 'note'>;
  /** Called after each commit with the number of its events and its duration. */
  onCommit?: (commit: Commit) => void;
  /** Called after each commit that the store has refused. */
  onCommitFailure?: () => void;
  /** Called every second with the sizes of the files. */
  onSizes?: (sizes: FileSizes) => void;
  /** Called when the log is opened, if the last row of the file is not the last row that was logged. */
  onDamage?: (damage: { seq: number }) => void;
};

/** Opens the file, or creates it, and returns the log. Throws `UNAVAILABLE` if the file cannot be opened. */
export async function openSqliteLog(options: SqliteOptions): Promise<EventLog> {
  const { path, fold, now = Date.now, onCommit = () => undefined, onCommitFailure = () => undefined } = options;
  const { onSizes = () => undefined } = options;
  const { health = { report: () => undefined, note: () => undefined } } = options;
  const onFailure = (err: unknown, message = 'the event log failed') => {
    health.note(message, { path, err });
    // Until the next start: nothing shows that a page is readable again.
    if (isDamage(err)) health.report('database_damage', { message: causeOf(err), path, err });
  };
  let database: SqliteDatabase | undefined;
  try {
    database = new SqliteDatabase(path, onFailure, options.driver);
    const { db, slice, write } = database;
    const statements = prepareStatements(db);
    const rows = prepareRowStatements(db);
    const { state, damage } = readState(db, now());
    if (damage) options.onDamage?.(damage);
    const head = () => state.head.seq;

    const index = new SearchIndexer({ blocks: new SqliteBlocks(db), slice, write, head });
    const webhooks = new SqliteWebhooks({ db, slice, write });
    const onErasing = (seq: number) => {
      index.erasing(seq);
      webhooks.erasing(seq);
    };
    const cache = new RunCache<SqliteRun>();
    const report = (problem: Problem | undefined) => health.report('erasure', problem);
    const erasure = new SqliteErasure({ database, rows, cache, fold, now, report, onErasing });
    erasure.clean(true);
    const access = new SqliteAccess({ db, slice, write });
    const producerState = new SqliteProducerState(db, { slice, write });
    const onRemoved = () => cache.clear();
    const retention = new SqliteRetention({
      database,
      state,
      index,
      onRemoved,
      beside: [access, producerState, webhooks],
    });
    const tables = new SqliteCommitTables({ statements, rows, cache, isInMemory: !database.files });
    const group = { tables, fold, now, order: new KeyOrder() };
    const queue = { database, state, statements, group, health, onCommit, onCommitFailure };
    const log = new SqliteLog({ ...queue, index, access, onFailure });
    const hashPrefixesAt = (seqs: readonly number[]) => log.findHashPrefixes(seqs);
    const erasures = () => state.erasures;
    const runs = new SqliteRuns({ statements, rows, slice, head, erasures, hashPrefixesAt });
    const nodes = new OnlyNode();
    const reads = { tables: new SqliteSearchTables(db), blocks: index.blocks };
    const oldest = () => state.oldest;
    const positionBeforeTime = (recordedBeforeMs: number) => log.findPositionBeforeTime(recordedBeforeMs);
    const onErased = (seq: number) => {
      state.erasures++;
      index.erased(seq);
    };
    const opened = database;
    opened.files?.watch(health, (sizes) => {
      opened.wal?.look();
      if (opened.wal) health.report('wal', opened.wal.problem);
      onSizes(sizes);
    });
    const close = async () => {
      opened.refuseSlices();
      index.close();
      nodes.close();
      await opened.wal?.synced();
      log.commitAll();
      erasure.close();
      await opened.wal?.close();
      // Empties the WAL, so that the database file alone has all events. SQLite empties the WAL when its last connection
      // closes, but it keeps the connection until the prepared statements are garbage-collected. If this fails, the WAL
      // stays, and no event is lost.
      opened.emptyWal();
      leaveWalMode(db);
      opened.close();
    };
    let closing: Promise<void> | undefined;
    return Object.assign(log, {
      trim: (recordedBeforeMs: number) => retention.trim(recordedBeforeMs),
      keepClock: (nowMs: number) => retention.keepClock(nowMs),
      keptClock: () => retention.keptClock(),
      now,
      runs: Object.assign(runs, { remove: (endedBefore: string) => retention.remove(endedBefore) }),
      access,
      nodes,
      producerState,
      webhooks,
      approvals: new SqliteApprovals({ statements, rows, slice }),
      search: new BlockSearch({ reads: () => reads, index, run: inSlices(slice), head, oldest, positionBeforeTime }),
      revocations: new SqliteRevocations(db, { slice, write }),
      sessions: new SqliteSessions(db, { slice, write }),
      integrity: new SqliteIntegrity({
        database,
        state,
        erasure,
        now,
        onErased,
        onEpoch: () => log.renewed(),
        onFailure,
        capAccessTimes: (ms) => access.capTimes(ms),
      }),
      close: () => {
        closing ??= close();
        return closing;
      },
    });
  } catch (error) {
    database?.close();
    throw openError(path, error);
  }
}

type EventRow = {
  seq: number;
  run_seq: number;
  /** Absent if only one run is read: the query names it. */
  project_id?: string;
  run_id?: string;
  type: string;
  payload: string;
  /** Empty for the last row. */
  hash_prefix: string;
};

type ScannedRow = { seq: number; payload: string };

type Retained = Pick<Log, 'now' | 'trim' | 'keepClock' | 'keptClock'>;

type SqliteLogParts = Omit<CommitQueueParts, 'onCommitted'> & {
  index: SearchIndexer;
  access: SqliteAccess;
  onFailure: (error: unknown, message?: string) => void;
};

/** The rest of the contract is in `retention.ts`. */
class SqliteLog implements Omit<Log, keyof Retained> {
  readonly id: string;
  readonly secret: string;
  /** Nothing happens to the log that this process does not do. */
  readonly isCurrent = true;
  readonly subscribe: Log['subscribe'];
  readonly onEpoch: Log['onEpoch'];
  /** Calls the listeners of `onEpoch`. */
  readonly renewed: () => void;
  readonly #database: SqliteDatabase;
  readonly #state: LogState;
  readonly #statements: LogStatements;
  readonly #access: SqliteAccess;
  readonly #queue: CommitQueue;

  constructor({ index, access, onFailure, ...queue }: SqliteLogParts) {
    const { database, state, statements } = queue;
    this.id = database.epoch;
    this.secret = database.secret;
    this.#database = database;
    this.#state = state;
    this.#statements = statements;
    this.#access = access;
    const onThrow = (error: unknown) => onFailure(error, 'a listener of the event log failed');
    const committed = new Listeners<[records: readonly StoredEvent[]]>(onThrow);
    const renewed = new Listeners(onThrow);
    this.subscribe = committed.add;
    this.onEpoch = renewed.add;
    this.renewed = () => renewed.call();
    this.#queue = new CommitQueue({
      ...queue,
      onCommitted: (records) => {
        if (records.length > 0) committed.call(records);
        index.add(records);
      },
    });
  }

  get epoch(): string {
    return this.#database.historyEpoch;
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
    return Math.max(this.#state.head.recordedAtMs, this.#access.newestMs);
  }

  durableHead(caller?: Caller): Promise<LogHead> {
    return this.#database.slice(() => ({ seq: this.head, hashPrefix: this.headHashPrefix }), caller);
  }

  async reached(seq: number): Promise<boolean> {
    return seq <= this.head;
  }

  append(batch: Batch): Promise<Receipt[]> {
    return this.#queue.add(batch);
  }

  /** Commits or refuses all waiting batches. */
  commitAll(): void {
    this.#queue.close();
  }

  seqOf(projectId: string, eventId: string): Promise<number | undefined> {
    return this.#database.slice(
      () => (this.#statements.seqOf.get(projectId, eventId) as { seq: number } | undefined)?.seq,
    );
  }

  read({ scope, after, types, limit, ...caller }: ReadQuery): Promise<Page> {
    return this.#database.slice((until) => {
      const records: StoredEvent[] = [];
      let bytes = 0;
      let scannedTo = after;
      for (;;) {
        const wanted = types ? ROWS_AT_ONCE : Math.min(ROWS_AT_ONCE, limit - records.length);
        const rows = this.#rowsOf(scope, scannedTo, wanted);
        for (const row of rows) {
          scannedTo = row.seq;
          if (!types || types.has(row.type)) {
            records.push(this.#toRecord(row, scope));
            bytes += row.payload.length;
          }
          if (records.length >= limit || bytes >= PAGE_BYTES) return { records, ...this.#upTo(scannedTo) };
        }
        if (rows.length < wanted) return { records, ...this.#upTo(Math.max(after, this.head)) };
        if (performance.now() > until) return { records, ...this.#upTo(scannedTo) };
      }
    }, caller);
  }

  scan({ projectId, runId, after, visit, ...caller }: ScanQuery): Promise<Snapshot & { scannedTo: number }> {
    return this.#database.slice((until) => {
      let scannedTo = after;
      for (;;) {
        const rows = this.#statements.scanRun.all(projectId, runId, scannedTo, ROWS_AT_ONCE) as ScannedRow[];
        for (const { seq, payload } of rows) {
          scannedTo = seq;
          if (!visit(payload) || performance.now() > until) return this.#upTo(scannedTo);
        }
        if (rows.length < ROWS_AT_ONCE) return this.#upTo(Math.max(after, this.head));
      }
    }, caller);
  }

  #upTo(scannedTo: number): Snapshot & { scannedTo: number } {
    const { head, oldest, erasures } = this;
    return { scannedTo, isExhausted: scannedTo >= head, oldest, erasures };
  }

  #rowsOf(scope: Scope, after: number, count: number): EventRow[] {
    const { readAll, readProject, readRun, readUser } = this.#statements;
    const rows = (statement: StatementSyncInstance, ...of: string[]) =>
      statement.all(...of, after, count) as EventRow[];
    switch (scope.kind) {
      case 'all':
        return rows(readAll);
      case 'project':
        return rows(readProject, scope.projectId);
      case 'run':
        return rows(readRun, scope.projectId, scope.runId);
      case 'user':
        return rows(readUser, scope.userId);
    }
  }

  hashPrefixesAt(seqs: readonly number[]): Promise<(string | undefined)[]> {
    return this.#database.slice(() => this.findHashPrefixes(seqs));
  }

  /** Like `hashPrefixesAt`, for callers inside a slice. */
  findHashPrefixes(seqs: readonly number[]): (string | undefined)[] {
    const rows = this.#statements.hashPrefixes.all(JSON.stringify(seqs)) as { seq: number; hash_prefix: string }[];
    const found = new Map(rows.map((row) => [row.seq, row.hash_prefix]));
    return seqs.map((seq) => (seq === this.head ? this.headHashPrefix : found.get(seq)));
  }

  positionBeforeTime(recordedBeforeMs: number, caller?: Caller): Promise<number> {
    return this.#database.slice(() => this.findPositionBeforeTime(recordedBeforeMs), caller);
  }

  /**
   * Like `positionBeforeTime`, for callers inside a slice. A binary search works because the times never decrease along
   * `seq`, and positions are contiguous.
   */
  findPositionBeforeTime(recordedBeforeMs: number): number {
    let low = this.oldest - 1;
    let high = this.head;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const row = this.#statements.recordedAt.get(middle) as { ms: number } | undefined;
      if (row && this.#state.repairs.timeOf(middle, row.ms) < recordedBeforeMs) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #toRecord(row: EventRow, scope: Scope): StoredEvent {
    const { seq, project_id: projectId, run_id: runId } = row;
    const run = scope.kind === 'run' ? scope : { projectId: projectId as string, runId: runId as string };
    return new StoredEvent({
      seq,
      runSeq: row.run_seq,
      projectId: run.projectId,
      runId: run.runId,
      type: row.type,
      json: row.payload,
      hashPrefix: row.hash_prefix || (seq === this.head ? this.headHashPrefix : undefined),
    });
  }
}
