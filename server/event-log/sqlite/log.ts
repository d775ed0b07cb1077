import type { RunRows } from '../../../shared/run.ts';
import type { Health } from '../../health.ts';
import type { Caller } from '../../slices.ts';
import {
  type Batch,
  type Log,
  type Page,
  type ReadQuery,
  type Receipt,
  type ScanQuery,
  type Scope,
  StoredEvent,
} from '../contract/log.ts';
import type { EventLog } from '../contract/store.ts';
import { hashPrefixOf } from '../cursor.ts';
import { KeyOrder } from '../integrity/canonical.ts';
import { SearchIndexer } from '../search/indexer.ts';
import { BlockSearch } from '../search/search.ts';
import { SqliteAccess } from './access.ts';
import { SqliteApprovals } from './approvals.ts';
import { SqliteCommitTables } from './commit-group.ts';
import { type Commit, CommitQueue, type CommitQueueParts } from './commit-queue.ts';
import { causeOf, isDamage, leaveWalMode, openError, SqliteDatabase } from './database.ts';
import type { StatementSyncInstance } from './driver.ts';
import { SqliteErasure } from './erasure.ts';
import type { FileSizes } from './files.ts';
import { type LogState, readState, SqliteIntegrity } from './integrity.ts';
import { SqliteProducerState } from './producer-state.ts';
import { SqliteRetention } from './retention.ts';
import { SqliteRevocations } from './revocations.ts';
import { prepareRowStatements } from './rows.ts';
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
  /** Folds a logged event into its run. */
  fold: (rows: RunRows, event: never) => void;
  /** Unix ms; default `Date.now`. `recordedAt` does not go back even if this clock does. */
  now?: () => number;
  /** Receives the problem of the condition `commit`, and a note of each other failure. Default: nothing is reported. */
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
    database = new SqliteDatabase(path, onFailure);
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
    const erasure = new SqliteErasure({ database, rows, fold, now, onFailure, onErasing });
    erasure.clean(true);
    const access = new SqliteAccess({ db, slice, write });
    const producerState = new SqliteProducerState(db, { slice, write });
    const retention = new SqliteRetention({ database, state, index, beside: [access, producerState, webhooks] });
    const group = { tables: new SqliteCommitTables(statements, rows), fold, now, order: new KeyOrder() };
    const queue = { database, state, statements, group, health, onCommit, onCommitFailure };
    const log = new SqliteLog({ ...queue, index, access, onFailure });
    const hashPrefixesAt = (seqs: readonly number[]) => log.findHashPrefixes(seqs);
    const runs = new SqliteRuns({ statements, rows, slice, head, hashPrefixesAt });
    const oldest = () => state.oldest;
    const positionBeforeTime = (recordedBeforeMs: number) => log.findPositionBeforeTime(recordedBeforeMs);
    const onErased = (seq: number) => {
      runs.erased();
      index.erased(seq);
    };
    const opened = database;
    opened.files?.watch(health, onSizes);
    return Object.assign(log, {
      trim: (recordedBeforeMs: number) => retention.trim(recordedBeforeMs),
      keepClock: (nowMs: number) => retention.keepClock(nowMs),
      keptClock: () => retention.keptClock(),
      runs: Object.assign(runs, { remove: (endedBefore: string) => retention.remove(endedBefore) }),
      access,
      producerState,
      webhooks,
      approvals: new SqliteApprovals({ statements, rows, slice }),
      search: new BlockSearch({ tables: new SqliteSearchTables(db), index, slice, head, oldest, positionBeforeTime }),
      revocations: new SqliteRevocations(db, { slice, write }),
      sessions: new SqliteSessions(db, { slice, write }),
      integrity: new SqliteIntegrity({
        database,
        state,
        erasure,
        now,
        onErased,
        capAccessTimes: (ms) => access.capTimes(ms),
      }),
      close: async () => {
        if (opened.isClosed) return;
        opened.refuseSlices();
        index.close();
        log.commitAll();
        erasure.close();
        // Empties the WAL, so that the database file alone has all events. SQLite empties the WAL when its last connection
        // closes, but it keeps the connection until the prepared statements are garbage-collected. If this fails, the WAL
        // stays, and no event is lost.
        erasure.emptyWal();
        leaveWalMode(db);
        opened.close();
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

type Retained = Pick<Log, 'trim' | 'keepClock' | 'keptClock'>;

type SqliteLogParts = Omit<CommitQueueParts, 'onCommitted'> & {
  index: SearchIndexer;
  access: SqliteAccess;
  onFailure: (error: unknown, message?: string) => void;
};

/** The rest of the contract is in `retention.ts`. */
class SqliteLog implements Omit<Log, keyof Retained> {
  readonly secret: string;
  readonly #database: SqliteDatabase;
  readonly #state: LogState;
  readonly #statements: LogStatements;
  readonly #access: SqliteAccess;
  readonly #queue: CommitQueue;
  readonly #listeners = new Set<(records: readonly StoredEvent[]) => void>();

  constructor({ index, access, onFailure, ...queue }: SqliteLogParts) {
    const { database, state, statements } = queue;
    this.secret = database.secret;
    this.#database = database;
    this.#state = state;
    this.#statements = statements;
    this.#access = access;
    this.#queue = new CommitQueue({
      ...queue,
      onCommitted: (records) => {
        for (const listener of records.length > 0 ? this.#listeners : []) {
          try {
            listener(records);
          } catch (error) {
            onFailure(error, 'a listener of the event log failed');
          }
        }
        index.wake();
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
  get newestMs(): number {
    return Math.max(this.#state.head.recordedAtMs, this.#access.newestMs);
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

  subscribe(listener: (records: readonly StoredEvent[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
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
          if (records.length >= limit || bytes >= PAGE_BYTES) return { records, scannedTo };
        }
        if (rows.length < wanted) return { records, scannedTo: Math.max(after, this.head) };
        if (performance.now() > until) return { records, scannedTo };
      }
    }, caller);
  }

  scan({ projectId, runId, after, visit, ...caller }: ScanQuery): Promise<{ scannedTo: number }> {
    return this.#database.slice((until) => {
      let scannedTo = after;
      for (;;) {
        const rows = this.#statements.scanRun.all(projectId, runId, scannedTo, ROWS_AT_ONCE) as ScannedRow[];
        for (const { seq, payload } of rows) {
          scannedTo = seq;
          if (!visit(payload)) return { scannedTo };
          if (performance.now() > until) return { scannedTo };
        }
        if (rows.length < ROWS_AT_ONCE) return { scannedTo: Math.max(after, this.head) };
      }
    }, caller);
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
