import type { Log } from '../contract/log.ts';
import type { RunStore } from '../contract/runs.ts';
import { attest } from '../integrity/attestation.ts';
import { type ChainedRow, rowHash } from '../integrity/canonical.ts';
import type { SearchIndexer } from '../search/indexer.ts';
import { type SqliteDatabase, transact } from './database.ts';
import type { DatabaseSyncInstance } from './driver.ts';
import type { LogState } from './integrity.ts';
import { CHAINED_ROWS } from './schema.ts';

/**
 * Removes old events, and runs without events.
 *
 * A run is removed in two steps: one transaction moves its row to `removed_runs`, so that the run is unknown at once; later
 * slices delete its stages and artifacts. The row in `removed_runs` stays as long as the run has approvals. SQLite gives a
 * new run the greatest row id plus 1, so the run with the greatest row id stays: no other run gets the id of a removed one.
 */

const ROWS_AT_ONCE = 100;
const CHILD_ROWS_AT_ONCE = 250;

type Parts = {
  database: SqliteDatabase;
  state: LogState;
  index: SearchIndexer;
  /** Called when rows of runs were removed. */
  onRemoved: () => void;
  /** Tables beside the events that are trimmed with them. */
  beside: readonly { trim(beforeMs: number): Promise<void> }[];
};

export class SqliteRetention implements Pick<Log, 'trim' | 'keepClock' | 'keptClock'>, Pick<RunStore, 'remove'> {
  readonly #parts: Parts;
  readonly #statements: ReturnType<typeof prepareRetention>;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#statements = prepareRetention(parts.database.db);
  }

  async keepClock(nowMs: number): Promise<void> {
    await this.#parts.database.write(() => this.#statements.keepClock.run(String(nowMs)));
  }

  keptClock(): Promise<number | undefined> {
    return this.#parts.database.slice(() => {
      const row = this.#statements.keptClock.get() as { value: string } | undefined;
      return row && Number(row.value);
    });
  }

  async trim(recordedBeforeMs: number): Promise<{ removed: number }> {
    const { database, state, index, beside } = this.#parts;
    let removed = 0;
    let isDone = false;
    while (!isDone) {
      await database.write(() => {
        // The times never decrease along `seq`: the deleted rows are the oldest ones, and the kept rows stay contiguous.
        const repaired = state.repairs.positionBefore(recordedBeforeMs);
        const last = this.#statements.lastBefore.get(ROWS_AT_ONCE, state.head.seq, recordedBeforeMs, repaired);
        const { seq } = last as { seq: number | null };
        if (seq === null) {
          isDone = true;
          return;
        }
        transact(database.db, 'FULL', () => {
          this.#attestTrimming(seq);
          this.#statements.trimUsers.run(state.oldest, seq);
          removed += Number(this.#statements.trimEvents.run(seq).changes);
          index.trimmed(seq);
        });
        state.oldest = seq + 1;
      });
    }
    if (removed > 0) await index.cut(state.oldest);
    for (const table of beside) await table.trim(recordedBeforeMs);
    return { removed };
  }

  /** Signs and stores the hash of the last row to be trimmed: the oldest kept row has this hash as `prevHash`. */
  #attestTrimming(seq: number): void {
    const { epoch, keys } = this.#parts.database;
    const hash = rowHash(this.#statements.chainedRow.get(seq) as ChainedRow).toString('hex');
    this.#statements.keepTrimming.run(JSON.stringify(attest(keys, 'trimming', { epoch, seq, hash })));
    this.#statements.trimCheckpoints.run(seq);
  }

  async remove(endedBefore: string): Promise<{ removed: number }> {
    const removed = await this.#removeRows(endedBefore);
    await this.#clearRemoved();
    await this.#removeErasures(endedBefore);
    return { removed };
  }

  /** Moves the rows of the runs to `removed_runs`. Such a transaction does not wait for the disk: a lost one is repeated. */
  async #removeRows(endedBefore: string): Promise<number> {
    const { database, state, onRemoved } = this.#parts;
    const { withoutEvents, keepRemoved, deleteRun } = this.#statements;
    let removed = 0;
    await this.#eachPage((after, until) => {
      const rows = withoutEvents.all(after, state.oldest, ROWS_AT_ONCE) as EndedRow[];
      if (rows.length === 0) return undefined;
      let last = after;
      transact(database.db, 'NORMAL', () => {
        for (const row of rows) {
          last = row.last_seq;
          if (row.ended_at !== null && row.ended_at < endedBefore && row.is_removable === 1) {
            keepRemoved.run(row.row_id);
            deleteRun.run(row.row_id);
            removed++;
          }
          if (performance.now() > until) return;
        }
      });
      onRemoved();
      return last;
    });
    return removed;
  }

  async #clearRemoved(): Promise<void> {
    const { database } = this.#parts;
    const { uncleared, deleteStages, deleteArtifacts, setCleared, forgetRemoved } = this.#statements;
    await this.#eachPage((after, until) => {
      const row = uncleared.get(after) as { row_id: number } | undefined;
      if (!row) return undefined;
      transact(database.db, 'NORMAL', () => {
        for (const statement of [deleteStages, deleteArtifacts]) {
          while (statement.run(row.row_id, row.row_id, CHILD_ROWS_AT_ONCE).changes === CHILD_ROWS_AT_ONCE) {
            if (performance.now() > until) return;
          }
        }
        setCleared.run(row.row_id);
        forgetRemoved.run(row.row_id);
      });
      return row.row_id - 1; // The next page begins with this row again, if it is not cleared.
    });
  }

  async #removeErasures(before: string): Promise<void> {
    const { database, state } = this.#parts;
    const { erasures, deleteErasure } = this.#statements;
    await this.#eachPage((after) => {
      const rows = erasures.all(after, state.oldest, ROWS_AT_ONCE) as { seq: number; at: string }[];
      transact(database.db, 'NORMAL', () => {
        for (const { seq, at } of rows) if (at < before) deleteErasure.run(seq);
      });
      return rows.at(-1)?.seq;
    });
  }

  /** Calls `page` in slices, each time with the position that it returned before, until it returns none. */
  async #eachPage(page: (after: number, until: number) => number | undefined): Promise<void> {
    let after: number | undefined = -1;
    while (after !== undefined) {
      const position: number = after;
      after = await this.#parts.database.write((until) => page(position, until));
    }
  }
}

type EndedRow = { row_id: number; last_seq: number; ended_at: string | null; is_removable: 0 | 1 };

export function prepareRetention(db: DatabaseSyncInstance) {
  const children = (table: string, id: string) =>
    db.prepare(
      `DELETE FROM ${table} WHERE run_row = ? AND ${id} IN (SELECT ${id} FROM ${table} WHERE run_row = ? LIMIT ?)`,
    );
  return {
    keepClock: db.prepare(`INSERT OR REPLACE INTO meta (key, value) VALUES ('clock', ?)`),
    keptClock: db.prepare(`SELECT value FROM meta WHERE key = 'clock'`),
    lastBefore: db.prepare(
      `SELECT max(seq) AS seq FROM (SELECT seq, recorded_at_ms FROM events ORDER BY seq LIMIT ?)
       WHERE seq < ? AND (recorded_at_ms < ? OR seq <= ?)`,
    ),
    chainedRow: db.prepare(`${CHAINED_ROWS} WHERE seq = ?`),
    keepTrimming: db.prepare(`INSERT OR REPLACE INTO meta (key, value) VALUES ('trimming', ?)`),
    trimCheckpoints: db.prepare('DELETE FROM checkpoints WHERE seq <= ? AND seq < (SELECT max(seq) FROM checkpoints)'),
    trimEvents: db.prepare('DELETE FROM events WHERE seq <= ?'),
    trimUsers: db.prepare('DELETE FROM event_users WHERE seq BETWEEN ? AND ?'),
    withoutEvents: db.prepare(
      `SELECT r.row_id, r.last_seq, json_extract(state, '$.endedAt') AS ended_at,
         r.row_id < (SELECT max(row_id) FROM runs) AND status IN ('completed', 'failed')
           AND NOT EXISTS (SELECT 1 FROM approvals WHERE run_row = r.row_id AND approvals.status = 'pending') AS is_removable
       FROM (SELECT row_id, last_seq FROM runs WHERE last_era BETWEEN ?1 >> 12 AND ?2 >> 12 AND last_seq > ?1 AND last_seq < ?2
         ORDER BY last_era, last_seq LIMIT ?3) AS found
       CROSS JOIN runs r ON r.row_id = found.row_id ORDER BY found.last_seq`,
    ),
    keepRemoved: db.prepare(
      'INSERT INTO removed_runs (row_id, project_id, run_id) SELECT row_id, project_id, run_id FROM runs WHERE row_id = ?',
    ),
    deleteRun: db.prepare('DELETE FROM runs WHERE row_id = ?'),
    uncleared: db.prepare(
      'SELECT row_id FROM removed_runs WHERE is_cleared = 0 AND row_id > ? ORDER BY row_id LIMIT 1',
    ),
    deleteStages: children('stages', 'stage_id'),
    deleteArtifacts: children('artifacts', 'artifact_id'),
    setCleared: db.prepare('UPDATE removed_runs SET is_cleared = 1 WHERE row_id = ?'),
    forgetRemoved: db.prepare(
      'DELETE FROM removed_runs WHERE row_id = ? AND NOT EXISTS (SELECT 1 FROM approvals WHERE run_row = row_id)',
    ),
    erasures: db.prepare(
      `SELECT seq, json_extract(erasure, '$.at') AS at FROM erasures WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?`,
    ),
    deleteErasure: db.prepare('DELETE FROM erasures WHERE seq = ?'),
  };
}
