import type { AccessEntry } from '../../../shared/audit.ts';
import type { Slice } from '../../slices.ts';
import type { AccessLog, AccessPage, AccessQuery } from '../contract/access.ts';
import { NewestFirst, type Source } from '../newest-first.ts';
import { transact } from './database.ts';
import type { DatabaseSyncInstance, StatementSyncInstance } from './driver.ts';

/**
 * The access log, in the same database as the events: one row for each entry, in the order of writing. `at_ms` never
 * decreases along this order.
 */

/** Maximum number of rows that one call of `list` reads. */
const MAX_ROWS = 50_000;
const TRIM_ROWS = 1_000;

export type SqliteAccessParts = {
  db: DatabaseSyncInstance;
  slice: Slice;
  write: <T>(work: () => T) => Promise<T>;
};

type Row = {
  id: number;
  at_ms: number;
  sub: string | null;
  action: string;
  project_id: string | null;
  run_id: string | null;
  outcome: string;
  via: AccessEntry['via'];
  detail: string | null;
  count: number;
};

export class SqliteAccess implements AccessLog {
  readonly #parts: SqliteAccessParts;
  readonly #statements: ReturnType<typeof prepareAccess>;
  #newestMs: number;

  constructor(parts: SqliteAccessParts) {
    this.#parts = parts;
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

  /** Reads each wanted project through an index, or the whole table for all projects. */
  async list({ projects, before, sinceMs, untilMs, limit, user, signal, ...query }: AccessQuery): Promise<AccessPage> {
    const { firstSince, newestOfAll, newestOfProject } = this.#statements;
    const caller = { user, signal };
    const wantedProjects =
      query.projectId === undefined
        ? projects
        : projects === 'all' || projects.includes(query.projectId)
          ? [query.projectId]
          : [];
    const entries: AccessEntry[] = [];
    let position = before ?? Number.MAX_SAFE_INTEGER;
    const low = await this.#parts.slice(() => {
      const idOf = (ms: number) => (firstSince.get(ms) as { id: number | null }).id ?? Number.MAX_SAFE_INTEGER;
      if (untilMs !== undefined) position = Math.min(position, idOf(untilMs));
      return sinceMs === undefined ? 0 : idOf(sinceMs);
    }, caller);
    const source = (statement: StatementSyncInstance, ...of: string[]): Source<Row> => {
      return (below, limit) => statement.all(...of, low, below, limit) as Row[];
    };
    const sources =
      wantedProjects === 'all'
        ? [source(newestOfAll)]
        : wantedProjects.map((projectId) => source(newestOfProject, projectId));
    const rows = new NewestFirst(sources, ({ id }) => id, position);
    let read = 0;
    let isDone = false;
    const isFull = () => entries.length >= limit || read >= MAX_ROWS;
    while (!isDone && !isFull()) {
      await this.#parts.slice((until) => {
        do {
          const next = rows.next(until);
          for (const row of next.rows) {
            if (isFull()) return;
            position = row.id;
            read++;
            if (matches(row, query)) entries.push(toEntry(row));
          }
          // All rows down to `known` have been returned: the next page can begin there.
          position = Math.min(position, next.known ?? position);
          isDone = next.known === undefined;
        } while (!isDone && !isFull() && performance.now() < until);
      }, caller);
    }
    return isDone ? { entries } : { entries, next: position };
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

function matches(row: Row, { sub, action, runId, outcome }: Pick<AccessQuery, 'sub' | 'action' | 'runId' | 'outcome'>) {
  return (
    (sub === undefined || row.sub === sub) &&
    (action === undefined || row.action === action) &&
    (runId === undefined || row.run_id === runId) &&
    (outcome === undefined || row.outcome === outcome)
  );
}

function toEntry({ at_ms, sub, action, project_id, run_id, outcome, via, detail, count }: Row): AccessEntry {
  return {
    at: new Date(at_ms).toISOString(),
    sub,
    action,
    ...(project_id === null ? {} : { projectId: project_id }),
    ...(run_id === null ? {} : { runId: run_id }),
    outcome,
    via,
    ...(detail === null ? {} : { detail }),
    count,
  };
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
