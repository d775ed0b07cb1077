import type { ChainHead } from '../commit/commit-fold.ts';
import type { CommitTables, Entry } from '../commit/commit-group.ts';
import { type RunCache, runKey } from '../commit/run-cache.ts';
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
    const stored = run.committed();
    if (stored.row) this.#cache.put(runKey(stored.projectId, stored.runId), stored);
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

  openRun(projectId: string, runId: string): SqliteRun {
    const cached = this.#cache.get(runKey(projectId, runId));
    return cached ?? SqliteRun.find(this.#rows, projectId, runId);
  }

  *insertEvents(entries: readonly Entry<SqliteRun>[], head: ChainHead): Generator<undefined, void> {
    const { insertEvent, insertEvents, insertUser, moveHead } = this.#statements;
    const together = entries.length - (entries.length % INSERT_ROWS);
    let values: Value[] = [];
    for (const [index, entry] of entries.entries()) {
      pushValues(values, entry);
      if (index < together && (index + 1) % INSERT_ROWS !== 0) continue;
      (index < together ? insertEvents : insertEvent).run(...values);
      values = [];
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

/** Adds the columns of an event, in the order of the INSERT statement. */
function pushValues(values: Value[], { record, rows, row, salt }: Entry<SqliteRun>): void {
  const { seq, runSeq, projectId, type, eventId, actor, recordedAtMs, payloadHash, prevHash } = row;
  values.push(seq, rows.tables.rowId as number, runSeq, projectId, type, eventId, actor, recordedAtMs);
  values.push(record.json, salt, payloadHash, prevHash);
}
