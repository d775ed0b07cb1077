import type { AccessEntry } from '../../../shared/audit.ts';
import { isStorable } from '../../../shared/issues.ts';
import { type Caller, Turns } from '../../slices.ts';
import { type AccessRow, type AccessTables, listAccess } from '../access-list.ts';
import type { AccessLog, AccessPage, AccessQuery } from '../contract/access.ts';
import type { Projects } from '../contract/search.ts';
import type { Sources } from '../newest-first.ts';
import { inTurns } from '../steps.ts';
import type { PostgresDatabase, Query } from './database.ts';

/**
 * The access log in PostgreSQL. A write locks the row `access_head` until its commit, so ids are given in the order of the
 * commits, and no page skips an entry of a node that commits late. Each node writes once a second, so nodes rarely wait.
 *
 * Times never decrease along the ids. An entry of a node with another clock than that of the database gets the
 * database's time, so a clock ahead does not carry the times of the other nodes with it.
 *
 * A write with an unknown outcome may be written again by its caller: then its entries are there twice.
 */

const TRIM_ROWS = 1_000;
const SOURCES_AT_ONCE = 64;
/** Smaller differences between two clocks are left as they are. */
const MAX_SKEW_MS = 1_000;

const COLUMNS = 'id, at_ms, sub, action, project_id, run_id, outcome, via, detail, count';
const STATEMENTS = {
  head: 'SELECT at_ms FROM access_head',
  lock: `SELECT last_id, at_ms, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms
    FROM access_head FOR UPDATE`,
  insert: `INSERT INTO access (${COLUMNS})
    SELECT ${COLUMNS} FROM json_to_recordset($1::json) AS e (id bigint, at_ms bigint, sub text, action text,
      project_id text, run_id text, outcome text, via text, detail text, count integer)`,
  move: 'UPDATE access_head SET last_id = $1, at_ms = $2',
  firstSince: 'SELECT id FROM access WHERE at_ms >= $1 ORDER BY at_ms, id LIMIT 1',
  newestOfAll: `SELECT 0 AS source, ${COLUMNS} FROM access WHERE id >= $1 AND id < $2 ORDER BY id DESC LIMIT $3`,
  // Rows are compared, so that no plan can use another index than that of the project.
  newestOfProjects: `SELECT w.source, e.*
    FROM unnest($1::int[], $2::text[], $3::bigint[]) AS w (source, project_id, below)
    CROSS JOIN LATERAL (
      SELECT ${COLUMNS} FROM access
      WHERE project_id IS NOT NULL AND (project_id, id) >= (w.project_id, $4) AND (project_id, id) < (w.project_id, w.below)
      ORDER BY project_id DESC, id DESC LIMIT $5
    ) e`,
  trim: `DELETE FROM access WHERE id IN (SELECT id FROM access WHERE at_ms < $1 ORDER BY at_ms, id LIMIT ${TRIM_ROWS})
    RETURNING 1`,
  capHead: 'UPDATE access_head SET at_ms = least(at_ms, $1)',
  cap: `UPDATE access SET at_ms = $1
    WHERE id IN (SELECT id FROM access WHERE at_ms > $1 ORDER BY at_ms, id LIMIT ${TRIM_ROWS}) RETURNING 1`,
};

type Parts = {
  database: Pick<PostgresDatabase, 'read' | 'write'>;
  /** Unix ms by the clock of this node. Absent: entries keep their times, whatever the clock of the database is. */
  clock: (() => number) | undefined;
};

export class PostgresAccess implements AccessLog {
  readonly #database: Parts['database'];
  readonly #clock: Parts['clock'];
  readonly #run = inTurns(new Turns());
  #newestMs = 0;

  constructor({ database, clock }: Parts) {
    this.#database = database;
    this.#clock = clock;
  }

  /** Time of the newest entry that this node knows; 0 if there is none. */
  get newestMs(): number {
    return this.#newestMs;
  }

  /** Reads the time of the newest entry. */
  async load(): Promise<void> {
    const [row] = await this.#database.read<{ at_ms: number }>({ text: STATEMENTS.head });
    this.#newestMs = row?.at_ms ?? 0;
  }

  async write(entries: readonly AccessEntry[]): Promise<void> {
    this.#newestMs = await this.#database.write((query) => this.#insert(query, entries));
  }

  async #insert(query: Query, entries: readonly AccessEntry[]): Promise<number> {
    const beganMs = this.#clock?.() ?? 0;
    const [head] = await query<{ last_id: number; at_ms: number; now_ms: number }>({ text: STATEMENTS.lock });
    const databaseMs = head?.now_ms ?? 0;
    let { last_id: id, at_ms: newestMs } = head ?? { last_id: 0, at_ms: 0 };
    const nowMs = this.#clock?.() ?? databaseMs;
    const isSame = databaseMs >= beganMs - MAX_SKEW_MS && databaseMs <= nowMs + MAX_SKEW_MS;
    const skewMs = isSame ? 0 : databaseMs - nowMs;
    const rows: AccessRow[] = entries.map(({ at, projectId, runId, detail, ...entry }) => {
      newestMs = Math.max(Date.parse(at) + skewMs, newestMs);
      id++;
      const about = { project_id: projectId ?? null, run_id: runId ?? null, detail: detail ?? null };
      return { ...entry, id, at_ms: newestMs, ...about };
    });
    if (rows.length === 0) return newestMs;
    await query({ text: STATEMENTS.insert, values: [JSON.stringify(rows)] });
    await query({ text: STATEMENTS.move, values: [id, newestMs] });
    return newestMs;
  }

  list(query: AccessQuery): Promise<AccessPage> {
    return this.#run(() => listAccess(this.#tables(query), query), query);
  }

  #tables(caller: Caller): AccessTables {
    return {
      firstSince: async (ms) => {
        const statement = { text: STATEMENTS.firstSince, values: [ms] };
        const [row] = await this.#database.read<{ id: number }>(statement, caller);
        return row?.id;
      },
      sources: (projects, low) => this.#sources(projects, low, caller),
    };
  }

  #sources(projects: Projects, low: number, caller: Caller): Sources<AccessRow> {
    if (projects === 'all') {
      return {
        count: 1,
        atOnce: 1,
        read: async ([first], limit) => {
          const values = [low, first?.below, limit];
          return [await this.#database.read<AccessRow>({ text: STATEMENTS.newestOfAll, values }, caller)];
        },
      };
    }
    const ids = projects.filter(isStorable);
    return {
      count: ids.length,
      atOnce: SOURCES_AT_ONCE,
      read: async (of, limit) => {
        const found: AccessRow[][] = of.map(() => []);
        const values = [
          of.map((_, at) => at),
          of.map(({ source }) => ids[source]),
          of.map(({ below }) => below),
          low,
          limit,
        ];
        const text = STATEMENTS.newestOfProjects;
        const rows = await this.#database.read<AccessRow & { source: number }>({ text, values }, caller);
        for (const row of rows) found[row.source]?.push(row);
        return found.map((each) => each.sort((a, b) => b.id - a.id));
      },
    };
  }

  /** Deletes entries before an instant (Unix ms), some at a time. */
  async trim(beforeMs: number): Promise<void> {
    await this.#eachPage({ text: STATEMENTS.trim, values: [beforeMs] });
  }

  /** Sets the times of entries that are after an instant to this instant. New entries continue from there. */
  async capTimes(ms: number): Promise<void> {
    await this.#database.write((query) => query({ text: STATEMENTS.capHead, values: [ms] }));
    await this.#eachPage({ text: STATEMENTS.cap, values: [ms] });
    this.#newestMs = Math.min(this.#newestMs, ms);
  }

  async #eachPage(statement: { text: string; values: unknown[] }): Promise<void> {
    for (let changed = TRIM_ROWS; changed === TRIM_ROWS; ) {
      changed = (await this.#database.write((query) => query(statement))).length;
    }
  }
}
