import type { Health } from '../../health.ts';
import { sliceEnd } from '../../slices.ts';
import { CommitGroup, type CommitParts, GroupParts } from '../commit/commit-group.ts';
import type { Batch, Receipt, StoredEvent } from '../contract/log.ts';
import {
  BUSY_LIMIT_MS,
  BUSY_RETRY_MS,
  causeOf,
  closedError,
  endTransaction,
  isBusy,
  isSqliteError,
  refusalFor,
  type SqliteDatabase,
  tryRollback,
  tryWaitForDisk,
} from './database.ts';
import type { LogState } from './integrity.ts';
import type { SqliteRun } from './rows.ts';
import type { LogStatements } from './statements.ts';

/**
 * The batches that wait for their commit. Once in a turn of the event loop, one transaction (a {@link CommitGroup}) logs the
 * waiting batches, and one fsync makes them durable.
 *
 * - A transaction that takes longer than a slice goes on in the next turns. On a slow disk the fsync runs in another thread.
 *   Slices are kept back meanwhile: they would read what is not committed, or not durable.
 * - While another process holds the write lock, the batches wait, and a timer tries again.
 * - After a failure, the condition `commit` has a problem, and a trial write every second finds out when it has ended.
 * - After an fsync that failed, the transaction is in the WAL, and may be on the disk or not. Its batches are refused, and the
 *   log refuses everything until the database file has the transaction.
 */

/** Maximum cost of a transaction. Readers of the store wait for its end, and further batches for the next one. */
const GROUP_COST = 1_000;
/** Maximum cost of the waiting batches: at 4 KiB each, 400 MiB. */
const MAX_WAITING_COST = 100_000;
/** A shorter wait for the lock is no problem to report. */
const BUSY_REPORT_MS = 500;
const PROBE_MS = 1_000;

export type Commit = { events: number; ms: number };

export type CommitQueueParts = {
  database: SqliteDatabase;
  state: LogState;
  statements: LogStatements;
  group: CommitParts<SqliteRun>;
  health: Pick<Health, 'report'>;
  onCommit: (commit: Commit) => void;
  onCommitFailure: () => void;
  /** Called with the records of a commit, before the promises of its batches resolve. MUST NOT throw. */
  onCommitted: (records: readonly StoredEvent[]) => void;
};

type Waiting = {
  batch: Batch;
  cost: number;
  sinceMs: number;
  resolve: (receipts: Receipt[]) => void;
  reject: (error: unknown) => void;
};

/** The next wait of a commit. `sync`: for the fsync, which returns its error. `probe`: one second. Undefined: none. */
type Step = 'sync' | 'probe' | undefined;
type Commits = Generator<Step, void, unknown>;

/** Why a transaction has not ended its batches. */
type Unfinished = { reason: 'busy' | 'divide'; error: unknown };

export class CommitQueue {
  readonly #parts: CommitQueueParts;
  readonly #group: GroupParts<SqliteRun>;
  #waiting: Waiting[] = [];
  #waitingCost = 0;
  #isScheduled = false;
  /** The commit with the open transaction. */
  #running: Commits | undefined;
  /** The probe's timer; defined while the condition `commit` has a problem. */
  #probe: NodeJS.Timeout | undefined;

  constructor(parts: CommitQueueParts) {
    this.#parts = parts;
    this.#group = new GroupParts(parts.group);
  }

  add(batch: Batch): Promise<Receipt[]> {
    const { isClosed, refusal } = this.#parts.database;
    if (isClosed) return Promise.reject(closedError());
    if (refusal) return Promise.reject(refusal);
    const cost = batch.cost ?? batch.drafts.length;
    if (this.#waitingCost > 0 && this.#waitingCost + cost > MAX_WAITING_COST) {
      return Promise.reject(refusalFor(undefined, 'too many events wait for the event log'));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ batch, cost, sinceMs: performance.now(), resolve, reject });
      this.#waitingCost += cost;
      this.#schedule();
    });
  }

  /**
   * Commits or refuses all waiting batches. MUST NOT be called while `wal.sync` is in progress: of two calls of fsync, one
   * returns the error of the disk.
   */
  close(): void {
    clearTimeout(this.#probe);
    if (this.#running) this.#runToEnd(this.#running);
    while (this.#waiting.length > 0) this.#runToEnd(this.#commit(this.#take()));
  }

  #runToEnd(commit: Commits): void {
    const { wal } = this.#parts.database;
    let step = commit.next();
    while (!step.done && step.value !== 'probe') step = commit.next(step.value && wal?.syncNow());
    if (this.#running) this.#parts.database.resumeSlices();
    this.#running = undefined;
  }

  #schedule(): void {
    if (this.#isScheduled || this.#running || this.#waiting.length === 0) return;
    this.#isScheduled = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    const wait = this.#parts.database.wal?.wait();
    if (wait) return void wait.then(this.#turn);
    this.#isScheduled = false;
    const members = this.#take();
    if (members.length > 0) this.#run(this.#commit(members));
  };

  #take(): Waiting[] {
    let cost = 0;
    let count = 0;
    for (const waiting of this.#waiting) {
      if (count > 0 && cost + waiting.cost > GROUP_COST) break;
      cost += waiting.cost;
      count++;
    }
    this.#waitingCost -= cost;
    return this.#waiting.splice(0, count);
  }

  /** Runs a commit for the time of a slice, and the rest in the next turns. `result`: of what it waited for. */
  #run(commit: Commits, result?: unknown): void {
    const until = sliceEnd();
    for (let step = commit.next(result); !step.done; step = commit.next()) {
      if (step.value === undefined && performance.now() < until) continue;
      // While the log refuses everything, slices run, and are refused.
      if (!this.#running && !this.#parts.database.refusal) this.#parts.database.pauseSlices();
      this.#running = commit;
      this.#wait(step.value);
      return;
    }
    if (this.#running) this.#parts.database.resumeSlices();
    this.#running = undefined;
    this.#schedule();
  }

  #wait(step: Step): void {
    if (step === 'sync') this.#parts.database.wal?.sync(this.#continue);
    else if (step === 'probe') setTimeout(this.#continue, PROBE_MS);
    else setImmediate(this.#continue);
  }

  readonly #continue = (result?: unknown): void => {
    if (this.#running) this.#run(this.#running, result);
  };

  *#commit(members: Waiting[]): Commits {
    const unfinished = yield* this.#transaction(members);
    if (unfinished?.reason === 'busy') this.#waitForLock(members, unfinished.error);
    if (unfinished?.reason !== 'divide') return;
    for (let member = members.shift(); member; member = members.shift()) {
      const again = yield* this.#transaction([member], members);
      if (again) return this.#waitForLock([member, ...members], again.error);
    }
  }

  /** `rest`: batches of the same commit that have a transaction of their own later. */
  *#transaction(members: Waiting[], rest: Waiting[] = []): Generator<Step, Unfinished | undefined, unknown> {
    const { database, state, statements, onCommit } = this.#parts;
    const { db, wal } = database;
    const group = new CommitGroup(this.#group, state.head);
    const outcomes: (() => void)[] = [];
    const startedMs = performance.now();
    let isWritten = false;
    let failure: unknown;
    try {
      endTransaction(db);
      if (wal) db.exec('PRAGMA synchronous = NORMAL');
      group.begin(members.map(({ batch }) => batch));
      for (const { batch, resolve, reject } of members) {
        try {
          const receipts = yield* group.add(batch);
          outcomes.push(() => resolve(receipts));
        } catch (error) {
          if (!db.isTransaction) throw error;
          if (isSqliteError(error)) failure = error;
          outcomes.push(() => reject(refusalFor(error)));
        }
      }
      yield* group.write();
      isWritten = true;
      database.files?.check();
      statements.commit.run();
    } catch (error) {
      group.failed();
      if (isBusy(error) && !db.isTransaction && !database.isClosed) return { reason: 'busy', error };
      // On a full disk, for example, SQLite has already rolled back: all batches fail. One batch may be the cause of any
      // other error, so each batch is then committed alone.
      const isRolledBack = !db.isTransaction;
      tryRollback(db);
      if (!isRolledBack && !isWritten && members.length > 1) return { reason: 'divide', error };
      if (isSqliteError(error)) this.#fails(error);
      for (const { reject } of members) reject(refusalFor(error));
      return undefined;
    } finally {
      if (wal) tryWaitForDisk(db);
    }
    const { records } = group;
    if (wal && records.length > 0) {
      const problem = wal.isFast ? wal.syncNow() : yield 'sync';
      if (problem !== undefined) yield* this.#moveToFile([...members, ...rest.splice(0)], problem);
      wal.written(records.length);
    }
    group.committed();
    onCommit({ events: records.length, ms: performance.now() - startedMs });
    if (state.oldest > state.head.seq && records.length > 0) state.oldest = state.head.seq + 1;
    state.head = group.head;
    if (records.length > 0) state.storedHead = group.head;
    if (failure !== undefined) this.#fails(failure);
    else if (this.#probe) this.#works();
    this.#parts.onCommitted(records);
    for (const settle of outcomes) settle();
    return undefined;
  }

  /**
   * Refuses all batches, and waits until the database file has the transaction and the WAL is empty. The WAL on the disk may
   * lack frames, and a later fsync does not write them: Linux takes them for written, and may drop them from memory. So the
   * WAL is written again at once after each failure.
   */
  *#moveToFile(members: Waiting[], problem: unknown): Generator<Step, void, unknown> {
    const { database } = this.#parts;
    const refusal = refusalFor(undefined, 'the disk has not confirmed the events: they may be in the log');
    for (const { reject } of [...members, ...this.#waiting.splice(0)]) reject(refusal);
    this.#waitingCost = 0;
    database.refusal = refusalFor(undefined, 'the event log waits for the disk');
    database.resumeSlices();
    this.#fails(problem);
    let isWritten: boolean;
    do {
      isWritten = yield* this.#rewriteWal();
      yield 'probe';
    } while (!isWritten || database.emptyWal() !== undefined || database.wal?.syncNow() !== undefined);
    database.refusal = undefined;
    database.pauseSlices();
  }

  /** Returns whether all of the WAL was written again. The write lock keeps other processes from writing into it meanwhile. */
  *#rewriteWal(): Generator<Step, boolean, unknown> {
    const { database, statements } = this.#parts;
    const { db, wal } = database;
    try {
      endTransaction(db);
      statements.begin.run();
      if (wal) yield* wal.rewrite();
      return true;
    } catch (error) {
      this.#report(error);
      return false;
    } finally {
      tryRollback(db);
    }
  }

  /** Puts the batches back and tries again from a timer. Refuses those that have waited too long. */
  #waitForLock(members: Waiting[], error: unknown): void {
    const now = performance.now();
    const all = [...members, ...this.#waiting];
    const late = all.filter(({ sinceMs }) => now - sinceMs >= BUSY_LIMIT_MS);
    this.#waiting = all.filter(({ sinceMs }) => now - sinceMs < BUSY_LIMIT_MS);
    this.#waitingCost = this.#waiting.reduce((sum, { cost }) => sum + cost, 0);
    if (all.some(({ sinceMs }) => now - sinceMs >= BUSY_REPORT_MS)) this.#report(error);
    if (late.length > 0) this.#parts.onCommitFailure();
    for (const { reject } of late) reject(refusalFor(error));
    this.#isScheduled = true;
    setTimeout(this.#turn, BUSY_RETRY_MS);
  }

  #fails(error: unknown): void {
    this.#parts.onCommitFailure();
    this.#report(error);
  }

  #report(error: unknown): void {
    const { database, health } = this.#parts;
    const message = !database.refusal && this.#hasForeignEvents() ? FOREIGN_EVENTS : causeOf(error);
    health.report('commit', { message, path: database.path, err: error });
    this.#probe ??= setTimeout(this.#tryWrite, PROBE_MS).unref();
  }

  #works(): void {
    clearTimeout(this.#probe);
    this.#probe = undefined;
    this.#parts.health.report('commit', undefined);
  }

  /** Writes as much as an event may take and removes it, if no commit is due. */
  readonly #tryWrite = (): void => {
    const { database, statements } = this.#parts;
    const { db } = database;
    if (database.isClosed) return;
    this.#probe?.refresh();
    if (this.#running || this.#waiting.length > 0) return;
    try {
      endTransaction(db);
      statements.begin.run();
      statements.insertProbe.run();
      statements.deleteProbe.run();
      statements.commit.run();
      if (this.#hasForeignEvents()) this.#report(undefined);
      else this.#works();
    } catch (error) {
      tryRollback(db);
      this.#report(error);
    }
  };

  /** Whether the file has events beyond the head: another process has given their positions away. */
  #hasForeignEvents(): boolean {
    try {
      const { seq } = this.#parts.statements.lastSeq.get() as { seq: number | null };
      return (seq ?? 0) > this.#parts.state.head.seq;
    } catch {
      return false;
    }
  }
}

const FOREIGN_EVENTS = 'another process writes events into this database: only one server may have it open';
