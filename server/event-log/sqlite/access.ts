import type { AccessEntry } from '../../../shared/audit.ts';
import type { Slice } from '../../slices.ts';
import { type AccessRow, type AccessTables, listAccess } from '../access-list.ts';
import type { AccessLog, AccessPage, AccessQuery } from '../contract/access.ts';
import { type Source, sourcesOf } from '../newest-first.ts';
import { inSlices, type RunSteps } from '../steps.ts';
import { transact } from './database.ts';
import type { DatabaseSyncInstance, StatementSyncInstance } from './driver.ts';

/**
 * The access log, in the same database as the events: one row for each entry, in the order of writing. `at_ms` never
 * decreases along this order.
 */

const TRIM_ROWS = 1_000;

export type SqliteAccessParts = {
  db: DatabaseSyncInstance;
  slice: Slice;
  write: <T>(work: () => T) => Promise<T>;
};

export class SqliteAccess implements AccessLog {
  readonly #parts: SqliteAccessParts;
  readonly #statements: ReturnType<typeof prepareAccess>;
  readonly #run: RunSteps;
  #newestMs: number;

  constructor(parts: SqliteAccessParts) {
    this.#parts = parts;
    this.#run = inSlices(parts.slice);
    this.#statements = prepareAccess(parts.db);
    this.#newestMs = (this.#statements.lastMs.get() as { ms: number | null }).ms ?? 0;
  }

  /** Time of the newest entry; 0 if there is none. */
  get newestMs(): number {
    return this.#newestMs;
  }

  async write(entries: readonly AccessEntry[]): Promise<void> {
    const { insert } = this.#statements;
    await this.#parts.write(() => {
      let newestMs = this.#newestMs;
      transact(this.#parts.db, 'NORMAL', () => {
        for (const { at, sub, action, projectId, runId, outcome, via, detail, count } of entries) {
          // `list` and `trim` search by time, so the time must not decrease, even if the clock was set back.
          const atMs = Math.max(Date.parse(at), newestMs);
          newestMs = atMs;
          insert.run(atMs, sub, action, projectId ?? null, runId ?? null, outcome, via, detail ?? null, count);
        }
      });
      this.#newestMs = newestMs;
    });
  }

  list(query: AccessQuery): Promise<AccessPage> {
    return this.#run(() => listAccess(this.#tables(), query), query);
  }

  #tables(): AccessTables {
    const { firstSince, newestOfAll, newestOfProject } = this.#statements;
    const source = (statement: StatementSyncInstance, low: number, ...of: string[]): Source<AccessRow> => {
      return (below, limit) => statement.all(...of, low, below, limit) as AccessRow[];
    };
    return {
      firstSince: (ms) => (firstSince.get(ms) as { id: number | null }).id ?? undefined,
      sources: (projects, low) =>
        sourcesOf(
          projects === 'all' ? [source(newestOfAll, low)] : projects.map((id) => source(newestOfProject, low, id)),
        ),
    };
  }

  /** Deletes entries before an instant (Unix ms), in slices. */
  async trim(beforeMs: number): Promise<void> {
    for (let removed = TRIM_ROWS; removed === TRIM_ROWS; ) {
      removed = await this.#parts.write(() => {
        let changes = 0;
        transact(this.#parts.db, 'NORMAL', () => {
          changes = Number(this.#statements.trim.run(beforeMs, TRIM_ROWS).changes);
        });
        return changes;
      });
    }
  }

  /** Sets the times of entries that are after an instant to this instant, in slices. New entries continue from there. */
  async capTimes(ms: number): Promise<void> {
    for (let changed = TRIM_ROWS; changed === TRIM_ROWS; ) {
      changed = await this.#parts.write(() => {
        let changes = 0;
        transact(this.#parts.db, 'NORMAL', () => {
          changes = Number(this.#statements.capTimes.run(ms, ms, TRIM_ROWS).changes);
        });
        if (changes < TRIM_ROWS) this.#newestMs = Math.min(this.#newestMs, ms);
        return changes;
      });
    }
  }
}

export function prepareAccess(db: DatabaseSyncInstance) {
  const newest = (where: string) =>
    db.prepare(`SELECT * FROM access WHERE ${where} id >= ? AND id < ? ORDER BY id DESC LIMIT ?`);
  return {
    lastMs: db.prepare('SELECT max(at_ms) AS ms FROM access'),
    firstSince: db.prepare(
      'SELECT min(id) AS id FROM (SELECT id FROM access WHERE at_ms >= ? ORDER BY at_ms, id LIMIT 1)',
    ),
    insert: db.prepare(
      `INSERT INTO access (at_ms, sub, action, project_id, run_id, outcome, via, detail, count)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    newestOfAll: newest(''),
    newestOfProject: newest('project_id = ? AND'),
    trim: db.prepare('DELETE FROM access WHERE id IN (SELECT id FROM access WHERE at_ms < ? ORDER BY at_ms LIMIT ?)'),
    capTimes: db.prepare(
      'UPDATE access SET at_ms = ? WHERE id IN (SELECT id FROM access WHERE at_ms > ? ORDER BY at_ms LIMIT ?)',
    ),
  };
}
