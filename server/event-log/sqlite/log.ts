import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync, type DatabaseSyncInstance, type StatementSyncInstance } from '@photostructure/sqlite';
import { RunwireError } from '../../../shared/errors.ts';
import type { Approval, RunHeader, RunRows, RunView } from '../../../shared/run.ts';
import type { ApprovalPage, ApprovalQuery, StoredApproval } from '../contract/approvals.ts';
import type { Checkpoint, EraseRequest, Erasure, Verdict, VerifyOptions } from '../contract/integrity.ts';
import { type Batch, type Page, type ReadQuery, type Receipt, type Scope, StoredEvent } from '../contract/log.ts';
import type { ChangeQuery, RunPage, RunQuery } from '../contract/runs.ts';
import type { SearchPage, SearchQuery } from '../contract/search.ts';
import type { EventLog } from '../contract/store.ts';
import { attest } from '../integrity/attestation.ts';
import { type ChainedRow, KeyOrder, rowHash } from '../integrity/canonical.ts';
import { type Link, verifyChain } from '../integrity/chain.ts';
import { AuditKeys } from '../integrity/keys.ts';
import { SqliteAccess } from './access.ts';
import { type ChainHead, CommitGroup, type CommitGroupParts } from './commit-group.ts';
import { lockFile, PRAGMAS, transact } from './database.ts';
import { SqliteErasure } from './erasure.ts';
import { readHead, SqliteChain } from './integrity.ts';
import { SqliteRevocations } from './revocations.ts';
import { prepareRowStatements } from './rows.ts';
import { SqliteViews } from './runs.ts';
import { migrate } from './schema.ts';
import { SqliteSearch } from './search.ts';
import { SearchIndex } from './search-index.ts';
import { Slices, sliceMs } from './slices.ts';
import { prepareStatements } from './statements.ts';

/**
 * The event log in one SQLite file.
 *
 * One connection, one writer. `append` only queues; once a turn of the event loop, everything queued goes into one
 * transaction, a {@link CommitGroup}, and one fsync makes all of it durable (WAL, synchronous=FULL). SQLite's calls block
 * the loop, so reads run as {@link Slices} and step their statement only inside one slice.
 */

/** Drafts in one transaction: bounds how long a commit holds the loop. */
const GROUP_LIMIT = 1_000;
const TRIM_ROWS = 100;
/** Bytes of payload in one page. */
const PAGE_BYTES = 1 << 20;
/** Events read at once: 4 MiB where all are as large as they may be. */
const ROWS_AT_ONCE = 64;

export type SqliteOptions = {
  /** Path of the file, or `:memory:`. */
  path: string;
  /** Folds a logged event into its run. */
  fold: (rows: RunRows, event: never) => void;
  /** Unix ms; the log never lets its own clock go back. */
  now?: () => number;
  /** Told why SQLite failed, each time that somebody is answered `UNAVAILABLE`. */
  onFailure?: (error: unknown) => void;
  /** Told of each commit: how many events it made durable, and how long it took. */
  onCommit?: (commit: Commit) => void;
  /** Told that the last row is not the one that was logged last. */
  onDamage?: (damage: { seq: number }) => void;
};

export type Commit = { events: number; ms: number };

type Pending = { batch: Batch; resolve: (receipts: Receipt[]) => void; reject: (error: unknown) => void };
type EventRow = {
  seq: number;
  run_seq: number;
  /** Absent where a run is read. */
  project_id?: string;
  run_id?: string;
  type: string;
  payload: string;
};

export async function openSqliteLog(options: SqliteOptions): Promise<EventLog> {
  try {
    return new SqliteLog(options);
  } catch (error) {
    throw asUnavailable(error);
  }
}

class SqliteLog implements EventLog {
  readonly epoch: string;
  readonly revocations: SqliteRevocations;
  readonly access: SqliteAccess;
  readonly secret: string;
  readonly #db: DatabaseSyncInstance;
  readonly #lock: DatabaseSyncInstance | undefined;
  readonly #onFailure: (error: unknown) => void;
  readonly #onCommit: (commit: Commit) => void;
  readonly #statements: ReturnType<typeof prepareStatements>;
  readonly #groupParts: CommitGroupParts;
  readonly #views: SqliteViews;
  readonly #keys: AuditKeys;
  readonly #chain: SqliteChain;
  readonly #erasure: SqliteErasure;
  readonly #now: () => number;
  readonly #index: SearchIndex;
  readonly #search: SqliteSearch;
  readonly #slices = new Slices();
  readonly #listeners = new Set<(records: readonly StoredEvent[]) => void>();
  readonly #erasureListeners = new Set<(record: StoredEvent) => void>();
  #pending: Pending[] = [];
  #isCommitScheduled = false;
  #isClosed = false;
  #tip: ChainHead;
  /** What the log says of its end in its file: the same as the tip, unless it was damaged when it was opened. */
  #told: Link | undefined;
  #oldest: number;

  constructor(options: SqliteOptions) {
    const { path, fold, now = Date.now, onFailure = () => undefined, onCommit = () => undefined } = options;
    this.#onFailure = onFailure;
    this.#onCommit = onCommit;
    this.#now = now;
    if (path !== ':memory:') {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      // SQLite gives its WAL the mode of the database.
      for (const file of [path, `${path}-lock`]) closeSync(openSync(file, 'a', 0o600));
      this.#lock = lockFile(`${path}-lock`);
    }
    let db: DatabaseSyncInstance | undefined;
    try {
      db = new DatabaseSync(path, { timeout: 5_000 });
      // This refuses a file that is not ours; the journal mode is written into the file, so it has to come after.
      let keys: AuditKeys | undefined;
      const keysOf = () => {
        keys ??= path === ':memory:' ? AuditKeys.make() : AuditKeys.inFile(join(dirname(path), 'audit.key'));
        return keys;
      };
      migrate(db, keysOf);
      db.exec(PRAGMAS);
      this.#db = db;
      this.#keys = keysOf();
      this.epoch = readMeta(db, 'epoch', 8);
      this.secret = readMeta(db, 'secret', 32);
      this.#statements = prepareStatements(db);
      const rows = prepareRowStatements(db);
      this.#groupParts = { statements: this.#statements, rows, fold, now, order: new KeyOrder() };
      this.#chain = new SqliteChain(db, this.epoch);
      this.#erasure = new SqliteErasure({
        ...{ db, path, epoch: this.epoch, keys: this.#keys, rows, fold, now, onFailure },
        onErasing: (seq) => this.#index.erasing(seq),
      });
      this.#erasure.clean(true);
      this.#told = this.#chain.head();
      const { tip, damage } = readHead(db, this.#told, now());
      this.#tip = tip;
      if (damage) options.onDamage?.(damage);
      this.#oldest = this.#readOldest();
      const slice = <T>(work: (until: number) => T) => this.#slice(work);
      const head = () => this.head;
      this.#views = new SqliteViews({ statements: this.#statements, rows, slice, head });
      this.#index = new SearchIndex({ db, slice, head });
      this.#search = new SqliteSearch({ db, index: this.#index, slice, head, oldest: () => this.oldest });
      this.revocations = new SqliteRevocations(db, slice);
      this.access = new SqliteAccess({ db, slice });
    } catch (error) {
      db?.close();
      this.#lock?.close();
      throw error;
    }
  }

  get head(): number {
    return this.#tip.seq;
  }
  get oldest(): number {
    return this.#oldest;
  }
  get publicKey(): string {
    return this.#keys.publicKey;
  }

  append(batch: Batch): Promise<Receipt[]> {
    if (this.#isClosed) return Promise.reject(closedError());
    return new Promise((resolve, reject) => {
      this.#pending.push({ batch, resolve, reject });
      if (this.#isCommitScheduled) return;
      this.#isCommitScheduled = true;
      setImmediate(this.#commitTurn);
    });
  }

  readonly #commitTurn = (): void => {
    this.#isCommitScheduled = false;
    let drafts = 0;
    let count = 0;
    for (const { batch } of this.#pending) {
      if (count > 0 && drafts + batch.drafts.length > GROUP_LIMIT) break;
      drafts += batch.drafts.length;
      count++;
    }
    const group = this.#pending.splice(0, count);
    if (this.#pending.length > 0) {
      this.#isCommitScheduled = true;
      setImmediate(this.#commitTurn);
    }
    if (group.length > 0) this.#commit(group);
  };

  #commit(members: Pending[]): void {
    const group = new CommitGroup(this.#groupParts, this.#tip);
    const outcomes: (() => void)[] = [];
    const begun = performance.now();
    let isWritten = false;
    try {
      this.#statements.begin.run();
      group.find(members.map(({ batch }) => batch));
      for (const { batch, resolve, reject } of members) {
        try {
          const receipts = group.add(batch);
          outcomes.push(() => resolve(receipts));
        } catch (error) {
          if (!this.#db.isTransaction) throw error;
          const refusal = this.#refusalOf(error);
          outcomes.push(() => reject(refusal));
        }
      }
      group.write();
      isWritten = true;
      this.#statements.commit.run();
    } catch (error) {
      // Disk full and the like undo the whole transaction by themselves. What does not may be about one batch alone.
      const isUndone = !this.#db.isTransaction;
      if (!isUndone) this.#db.exec('ROLLBACK');
      if (!isUndone && !isWritten && members.length > 1) {
        for (const member of members) this.#commit([member]);
        return;
      }
      const refusal = this.#refusalOf(error);
      for (const { reject } of members) reject(refusal);
      return;
    }
    const { records } = group;
    this.#onCommit({ events: records.length, ms: performance.now() - begun });
    if (this.#oldest > this.#tip.seq && records.length > 0) this.#oldest = this.#tip.seq + 1;
    this.#tip = group.tip;
    if (records.length > 0) this.#told = group.tip;
    if (records.length > 0) for (const listener of this.#listeners) listener(records);
    this.#index.ring();
    for (const settle of outcomes) settle();
  }

  subscribe(listener: (records: readonly StoredEvent[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  read({ scope, after, types, limit }: ReadQuery): Promise<Page> {
    return this.#slice((until) => {
      const records: StoredEvent[] = [];
      let bytes = 0;
      let scannedTo = after;
      for (;;) {
        const wanted = types ? ROWS_AT_ONCE : Math.min(ROWS_AT_ONCE, limit - records.length);
        const rows = this.#eventsOf(scope, scannedTo, wanted);
        for (const row of rows) {
          scannedTo = row.seq;
          if (!types || types.has(row.type)) {
            records.push(toRecord(row, scope));
            bytes += row.payload.length;
          }
          if (records.length >= limit || bytes >= PAGE_BYTES) return { records, scannedTo };
        }
        if (rows.length < wanted) return { records, scannedTo: Math.max(after, this.head) };
        if (performance.now() > until) return { records, scannedTo };
      }
    });
  }

  /** The next rows of a scope, without those that the scope names. */
  #eventsOf(scope: Scope, after: number, count: number): EventRow[] {
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

  projectsOf(runId: string, among?: readonly string[]): Promise<string[]> {
    return this.#views.projectsOf(runId, among);
  }

  search(query: SearchQuery): Promise<SearchPage> {
    return this.#search.search(query);
  }
  positionBefore(recordedAtMs: number): Promise<number> {
    return this.#search.positionBefore(recordedAtMs);
  }
  run(projectId: string, runId: string): Promise<{ run: RunView; position: number } | undefined> {
    return this.#views.run(projectId, runId);
  }
  runs(query: RunQuery): Promise<RunPage> {
    return this.#views.runs(query);
  }
  runsChangedSince(query: ChangeQuery): Promise<{ runs: RunHeader[]; scannedTo: number }> {
    return this.#views.runsChangedSince(query);
  }

  approval(projectId: string, runId: string, approvalId: string): Promise<Approval | undefined> {
    return this.#views.approval(projectId, runId, approvalId);
  }
  approvals(query: ApprovalQuery): Promise<ApprovalPage> {
    return this.#views.approvals(query);
  }
  pendingApprovals(of: { projectId: string; runId: string } | 'expiring', limit: number): Promise<StoredApproval[]> {
    return this.#views.pendingApprovals(of, limit);
  }

  async trim(recordedBeforeMs: number): Promise<{ removed: number }> {
    let removed = 0;
    let isDone = false;
    while (!isDone) {
      await this.#slice(() => {
        // recorded_at_ms never falls along seq, so what goes is always a prefix, and what stays is contiguous.
        const last = this.#statements.lastBefore.get(TRIM_ROWS, this.head, recordedBeforeMs) as { seq: number | null };
        if (last.seq === null) {
          isDone = true;
          return;
        }
        const { seq } = last;
        transact(this.#db, 'FULL', () => {
          this.#attestTrimming(seq);
          this.#statements.trimUsers.run(this.#oldest, seq);
          removed += Number(this.#statements.trimEvents.run(seq).changes);
          this.#index.trimmed(seq);
        });
        this.#oldest = seq + 1;
      });
    }
    if (removed > 0) await this.#index.cut(this.#oldest);
    await this.access.trim(recordedBeforeMs);
    return { removed };
  }

  /** What comes after the rows that are about to go is built on the last of them. */
  #attestTrimming(seq: number): void {
    const hash = rowHash(this.#statements.chainedRow.get(seq) as ChainedRow).toString('hex');
    const trimming = attest(this.#keys, 'trimming', { epoch: this.epoch, seq, hash });
    this.#statements.keepTrimming.run(JSON.stringify(trimming));
    this.#statements.trimCheckpoints.run(seq);
  }

  async verify({ checkpoints, signal }: VerifyOptions = {}): Promise<Verdict> {
    const verifying = verifyChain(this.#chain, { head: this.#told, keys: this.#keys, checkpoints });
    for (;;) {
      signal?.throwIfAborted();
      const verdict = await this.#slice((until) => {
        do {
          const step = verifying.next();
          if (step.done) return step.value;
        } while (performance.now() < until);
        return undefined;
      });
      if (verdict) return verdict;
    }
  }

  checkpoint(): Promise<{ checkpoint: Checkpoint; isNew: boolean }> {
    return this.#slice(() => {
      const { seq, hash } = this.#tip;
      const row = this.#statements.lastCheckpoint.get() as { checkpoint: string } | undefined;
      const last = row && (JSON.parse(row.checkpoint) as Checkpoint);
      if (last?.seq === seq) return { checkpoint: last, isNew: false };
      const checkpoint = attest(this.#keys, 'checkpoint', {
        epoch: this.epoch,
        seq,
        hash: hash.toString('hex'),
        oldest: this.oldest,
        at: new Date(this.#now()).toISOString(),
      });
      this.#statements.keepCheckpoint.run(seq, JSON.stringify(checkpoint));
      return { checkpoint, isNew: true };
    });
  }

  erase(request: EraseRequest): Promise<Erasure> {
    return this.#slice(() => {
      const { erasure, record } = this.#erasure.erase(request);
      if (record) {
        this.#views.erased();
        this.#index.erased(record.seq);
        for (const listener of this.#erasureListeners) listener(record);
      }
      this.#erasure.clean();
      return erasure;
    });
  }

  onErased(listener: (record: StoredEvent) => void): () => void {
    this.#erasureListeners.add(listener);
    return () => this.#erasureListeners.delete(listener);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#index.close();
    while (this.#pending.length > 0) this.#commitTurn();
    this.#erasure.close();
    // The last connection to close would empty the WAL, but ours lives on until its statements are garbage, which the
    // binding cannot finalize; and the file alone would lack the newest events. Where it fails, the WAL stays.
    this.#erasure.emptyWal();
    this.#db.close();
    this.#lock?.close();
  }

  #readOldest(): number {
    const row = this.#db.prepare('SELECT min(seq) AS seq FROM events').get() as { seq: number | null };
    return row.seq ?? this.#tip.seq + 1;
  }

  /** What those who asked are told. Why the store failed is for `onFailure` alone. */
  #refusalOf(error: unknown): RunwireError {
    if (error instanceof RunwireError) return error;
    // A fold that throws, for one: sent again, it would throw again.
    if (!isOfStore(error)) return new RunwireError('INTERNAL', 'an internal error', { cause: error });
    this.#onFailure(error);
    return asUnavailable(error);
  }

  /** Runs a piece of reading; `until` is when it should stop. */
  #slice<T>(work: (until: number) => T): Promise<T> {
    return this.#slices.run(() => {
      if (this.#isClosed) throw closedError();
      try {
        return work(performance.now() + sliceMs);
      } catch (error) {
        throw this.#refusalOf(error);
      }
    });
  }
}

const toRecord = (row: EventRow, scope: Scope): StoredEvent => {
  const { project_id: projectId, run_id: runId } = row;
  const run = scope.kind === 'run' ? scope : { projectId: projectId as string, runId: runId as string };
  return new StoredEvent({
    seq: row.seq,
    runSeq: row.run_seq,
    projectId: run.projectId,
    runId: run.runId,
    type: row.type,
    json: row.payload,
  });
};

/** What a log has made up about itself, once; a log that was there before gets what it has not. */
function readMeta(db: DatabaseSyncInstance, key: 'epoch' | 'secret', bytes: number): string {
  const row = db.prepare('SELECT value FROM meta WHERE key = ?').get(key) as { value: string } | undefined;
  if (row) return row.value;
  const value = randomBytes(bytes).toString('hex');
  db.prepare('INSERT INTO meta (key, value) VALUES (?, ?)').run(key, value);
  return value;
}

const isOfStore = (error: unknown): boolean =>
  ['ERR_SQLITE_ERROR', 'ERR_INVALID_STATE'].includes((error as { code?: string } | undefined)?.code ?? '');
const closedError = () => new RunwireError('UNAVAILABLE', 'the event log is closed');
const asUnavailable = (cause: unknown) =>
  cause instanceof RunwireError ? cause : new RunwireError('UNAVAILABLE', 'the event log failed', { cause });
