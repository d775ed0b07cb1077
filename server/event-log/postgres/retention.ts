import type { Log } from '../contract/log.ts';
import type { RunStore } from '../contract/runs.ts';
import { attest } from '../integrity/attestation.ts';
import { type ChainedRow, rowHash } from '../integrity/canonical.ts';
import { lockHead, type PostgresDatabase, putMeta, type Query } from './database.ts';
import { CHAINED_COLUMNS, readHead } from './head.ts';
import type { Signing } from './integrity.ts';

/**
 * Removes old events, and runs without events, in short transactions that lock the head: publishers wait for one at a time.
 *
 * A run is removed in two steps: one transaction deletes its row, so that the run is unknown at once, and keeps its id in
 * `removed_runs`; later ones delete its stages and artifacts. Its approvals stay.
 */

/** Events in one transaction. */
const EVENTS_AT_ONCE = 1_000;
const RUNS_AT_ONCE = 100;
/** Rows of runs that one statement looks at. */
const RUNS_SEARCHED = 2_000;
const CHILD_ROWS_AT_ONCE = 2_000;
const ERASURES_AT_ONCE = 1_000;

/** An event counts as recorded at the time of a later repair of the clock. $2: exclusive position. */
const LAST_BEFORE = `SELECT max(seq) AS seq FROM (
    SELECT e.seq, least(e.recorded_at_ms, (SELECT min(k.at_ms) FROM clock_repairs k WHERE k.seq >= e.seq)) AS at_ms
    FROM events e WHERE e.seq >= $1 AND e.seq < $2 ORDER BY e.seq LIMIT ${EVENTS_AT_ONCE}) e
  WHERE at_ms < $3`;
const CHAINED_ROW = `SELECT ${CHAINED_COLUMNS} FROM events e WHERE e.seq = $1`;
export const TRIM_STATEMENTS = [
  'DELETE FROM events WHERE seq <= $1',
  'DELETE FROM checkpoints WHERE seq <= $1 AND seq < (SELECT max(seq) FROM checkpoints)',
];
/** In batches of their own, since an event may have many users. Without its event, such a row is found by no read. */
const TRIM_USERS = `DELETE FROM event_users WHERE ctid = ANY (ARRAY
  (SELECT ctid FROM event_users WHERE seq < $1 LIMIT ${CHILD_ROWS_AT_ONCE})) RETURNING 1`;
/** Ended runs without events and without a pending approval, among the runs after a row. */
const ENDED_RUNS = `SELECT r.row_id AS "rowId", r.last_seq < $2 AND r.status IN ('completed', 'failed')
    AND r.state::json ->> 'endedAt' < $3
    AND NOT EXISTS (SELECT FROM approvals a WHERE a.run_row = r.row_id AND a.status = 'pending') AS "isRemovable"
  FROM runs r WHERE r.row_id > $1 ORDER BY r.row_id LIMIT ${RUNS_SEARCHED}`;
const REMOVE_RUNS = `WITH removed AS (DELETE FROM runs WHERE row_id = ANY ($1) AND last_seq < $2 RETURNING row_id)
  INSERT INTO removed_runs (row_id) SELECT row_id FROM removed RETURNING row_id`;
const deleteChildren = (table: 'stages' | 'artifacts') => `DELETE FROM ${table} WHERE ctid = ANY (ARRAY
  (SELECT ctid FROM ${table} WHERE run_row = $1 LIMIT ${CHILD_ROWS_AT_ONCE})) RETURNING 1`;
const CHILDREN = [deleteChildren('stages'), deleteChildren('artifacts')];
const OLD_ERASURES = `SELECT seq, erasure::json ->> 'at' AS at FROM erasures WHERE seq > $1 AND seq < $2
  ORDER BY seq LIMIT ${ERASURES_AT_ONCE}`;

type Parts = Signing & {
  database: PostgresDatabase;
  index: { trimmed(query: Query, seq: number): Promise<void>; cut(oldest: number): Promise<void> };
  /** Tables beside the events that are trimmed with them. */
  beside: readonly { trim(beforeMs: number): Promise<unknown> }[];
  /** Called after each change of the oldest position. Resolves once this node knows it. */
  changed: () => Promise<unknown>;
};

export class PostgresRetention implements Pick<Log, 'trim' | 'keepClock' | 'keptClock'>, Pick<RunStore, 'remove'> {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async keepClock(nowMs: number): Promise<void> {
    await putMeta((statement) => this.#parts.database.run(statement), 'clock', String(nowMs));
  }

  async keptClock(): Promise<number | undefined> {
    const text = `SELECT value FROM meta WHERE key = 'clock'`;
    const [row] = await this.#parts.database.read<{ value: string }>({ text });
    return row && Number(row.value);
  }

  async trim(recordedBeforeMs: number): Promise<{ removed: number }> {
    const { database, index, beside, changed } = this.#parts;
    let removed = 0;
    let oldest = 0;
    for (;;) {
      const trimmed = await database.write((query) => this.#trimSome(query, recordedBeforeMs));
      if (!trimmed) break;
      removed += trimmed.removed;
      oldest = trimmed.oldest;
      await changed();
    }
    if (removed > 0) await index.cut(oldest);
    for (let count = removed === 0 ? 0 : CHILD_ROWS_AT_ONCE; count === CHILD_ROWS_AT_ONCE; ) {
      count = (await database.run({ text: TRIM_USERS, values: [oldest] })).length;
    }
    for (const table of beside) await table.trim(recordedBeforeMs);
    return { removed };
  }

  /** The times never decrease along `seq`: the deleted rows are the oldest ones, and the kept rows stay contiguous. */
  async #trimSome(query: Query, beforeMs: number): Promise<{ removed: number; oldest: number } | undefined> {
    await lockHead(query);
    const { oldest, seq: head } = await readHead(query);
    const [last] = await query<{ seq: number | null }>({ text: LAST_BEFORE, values: [oldest, head, beforeMs] });
    const seq = last?.seq;
    if (typeof seq !== 'number') return undefined;
    await this.#attestTrimming(query, seq);
    for (const text of TRIM_STATEMENTS) await query({ text, values: [seq] });
    await query({ text: 'UPDATE head SET oldest = $1', values: [seq + 1] });
    await this.#parts.index.trimmed(query, seq);
    return { removed: seq + 1 - oldest, oldest: seq + 1 };
  }

  /** Signs and stores the hash of the last row to be trimmed: the oldest kept row has this hash as `prevHash`. */
  async #attestTrimming(query: Query, seq: number): Promise<void> {
    const { keys, id: epoch } = this.#parts;
    const [row] = await query<ChainedRow>({ text: CHAINED_ROW, values: [seq] });
    const trimming = attest(keys, 'trimming', { epoch, seq, hash: rowHash(row as ChainedRow).toString('hex') });
    await putMeta(query, 'trimming', JSON.stringify(trimming));
  }

  async remove(endedBefore: string): Promise<{ removed: number }> {
    const removed = await this.#removeRuns(endedBefore);
    await this.#clearRemoved();
    await this.#removeErasures(endedBefore);
    return { removed };
  }

  async #removeRuns(endedBefore: string): Promise<number> {
    const { database } = this.#parts;
    let removed = 0;
    for (let after = 0; ; ) {
      const { oldest } = await readHead((statement) => database.read(statement));
      const statement = { text: ENDED_RUNS, values: [after, oldest, endedBefore] };
      const rows = await database.read<{ rowId: number; isRemovable: boolean | null }>(statement);
      const found = rows.filter(({ isRemovable }) => isRemovable).map(({ rowId }) => rowId);
      for (let at = 0; at < found.length; at += RUNS_AT_ONCE) {
        const values = [found.slice(at, at + RUNS_AT_ONCE), oldest];
        const gone = await database.write(async (query) => {
          await lockHead(query); // No run gets an event meanwhile.
          return query({ text: REMOVE_RUNS, values });
        });
        removed += gone.length;
      }
      const last = rows.at(-1);
      if (rows.length < RUNS_SEARCHED || !last) return removed;
      after = last.rowId;
    }
  }

  async #clearRemoved(): Promise<void> {
    const { database } = this.#parts;
    for (;;) {
      const rows = await database.read<{ row_id: number }>({ text: 'SELECT row_id FROM removed_runs LIMIT 100' });
      if (rows.length === 0) return;
      for (const { row_id: row } of rows) {
        for (const text of CHILDREN) {
          for (let count = CHILD_ROWS_AT_ONCE; count === CHILD_ROWS_AT_ONCE; ) {
            count = (await database.run({ text, values: [row] })).length;
          }
        }
        await database.run({ text: 'DELETE FROM removed_runs WHERE row_id = $1', values: [row] });
      }
    }
  }

  /** Deletes the records of erasures of trimmed events from before an instant. */
  async #removeErasures(before: string): Promise<void> {
    const { database } = this.#parts;
    const { oldest } = await readHead((statement) => database.read(statement));
    for (let after = 0; ; ) {
      const statement = { text: OLD_ERASURES, values: [after, oldest] };
      const rows = await database.read<{ seq: number; at: string }>(statement);
      const old = rows.filter(({ at }) => at < before).map(({ seq }) => seq);
      if (old.length > 0) await database.run({ text: 'DELETE FROM erasures WHERE seq = ANY ($1)', values: [old] });
      const last = rows.at(-1);
      if (rows.length < ERASURES_AT_ONCE || !last) return;
      after = last.seq;
    }
  }
}
