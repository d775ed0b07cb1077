import type { ChainHead } from '../commit/commit-fold.ts';
import type { CommitTables, Entry } from '../commit/commit-group.ts';
import type { RunCache } from '../commit/run-cache.ts';
import { type RowStatements, SqliteRun, YIELD_ROWS } from './rows.ts';
import { INSERT_ROWS, type LogStatements } from './statements.ts';

export type CommitTablesParts = {
  statements: LogStatements;
  rows: RowStatements;
  cache: RunCache<SqliteRun>;
  /** Whether the database is in memory. */
  isInMemory: boolean;
};

/**
 * The SQL of a commit. It runs inside one BEGIN IMMEDIATE, so that no other process (`sqlite3` in a shell, for example) can
 * change the tables. In this process slices are kept back while a commit is open.
 *
 * The rows of the runs that were committed last are in a cache. Work that changes rows otherwise drops them from it: an
 * erasure, and the removal of runs. A failed commit drops all, and so does a write of another process.
 */
export class SqliteCommitTables implements CommitTables<SqliteRun> {
  readonly #statements: LogStatements;
  readonly #rows: RowStatements;
  readonly #cache: RunCache<SqliteRun>;
  readonly #isInMemory: boolean;
  /** Parameters of the statements that insert events: one event, and several. */
  readonly #value: Value[] = new Array(EVENT_COLUMNS).fill(0);
  readonly #values: Value[] = new Array(EVENT_COLUMNS * INSERT_ROWS).fill(0);
  #dataVersion: unknown;

  constructor({ statements, rows, cache, isInMemory }: CommitTablesParts) {
    this.#statements = statements;
    this.#rows = rows;
    this.#cache = cache;
    this.#isInMemory = isInMemory;
  }

  begin(): void {
    const { begin, dataVersion } = this.#statements;
    begin.run();
    if (this.#isInMemory) return; // It has no other connection.
    // It changes with each commit of another connection.
    const { data_version } = dataVersion.get() as { data_version: number };
    if (data_version !== this.#dataVersion) this.#cache.clear();
    this.#dataVersion = data_version;
  }

  committed(run: SqliteRun): void {
    run.committed();
    if (run.row) this.#cache.put(run);
  }

  failed(): void {
    this.#cache.clear();
  }

  findEvents(
    projectId: string,
    eventIds: readonly string[],
    found: (eventId: string, seq: number, runSeq: number) => void,
  ): void {
    for (const value of this.#statements.findEvents.all(JSON.stringify(eventIds), projectId)) {
      const { event_id, seq, run_seq } = value as { event_id: string; seq: number; run_seq: number };
      found(event_id, seq, run_seq);
    }
  }

  openRun(key: string, projectId: string, runId: string): SqliteRun {
    return this.#cache.get(key) ?? SqliteRun.find(this.#rows, projectId, runId);
  }

  *insertEvents(entries: readonly Entry<SqliteRun>[], head: ChainHead): Generator<undefined, void> {
    const { insertEvent, insertEvents, insertUser, moveHead } = this.#statements;
    let at = 0;
    for (; at + INSERT_ROWS <= entries.length; at += INSERT_ROWS) {
      for (let row = 0; row < INSERT_ROWS; row++) setValues(this.#values, row, entries[at + row] as Entry<SqliteRun>);
      insertEvents.run(...this.#values);
      yield;
    }
    for (; at < entries.length; at++) {
      setValues(this.#value, 0, entries[at] as Entry<SqliteRun>);
      insertEvent.run(...this.#value);
      yield;
    }
    let rows = 0;
    for (const { record } of entries) {
      for (const user of record.users ?? []) {
        insertUser.run(user, record.seq);
        if (++rows % YIELD_ROWS === 0) yield;
      }
    }
    moveHead.run(head.seq, head.hash);
  }
}

type Value = string | number | Uint8Array;

const EVENT_COLUMNS = 12;

/** Sets the columns of an event, in the order of the INSERT statement. */
function setValues(values: Value[], index: number, { record, rows, row, salt }: Entry<SqliteRun>): void {
  const from = index * EVENT_COLUMNS;
  values[from] = row.seq;
  values[from + 1] = rows.tables.rowId as number;
  values[from + 2] = row.runSeq;
  values[from + 3] = row.projectId;
  values[from + 4] = row.type;
  values[from + 5] = row.eventId;
  values[from + 6] = row.actor;
  values[from + 7] = row.recordedAtMs;
  values[from + 8] = record.json;
  values[from + 9] = salt;
  values[from + 10] = row.payloadHash;
  values[from + 11] = row.prevHash;
}
