import type { Caller } from '../../slices.ts';
import { MAX_LISTED } from '../bounds.ts';
import type { PostgresDatabase } from './database.ts';

/**
 * Reads the rows of several projects in one order. Each project is a source, which is read through an index of this
 * order. So the rows of projects that the caller may not read are never scanned. One statement reads the next rows of
 * many sources, and their rows are merged here.
 */

/** Rows that one statement returns at most. */
const MAX_ROWS = 1_024;
const MIN_TAKE = 2;

/** Place of a row in an order: by `at`, then by `num`. */
export type Key = { at: string; num: number };

export type Order = {
  /** Name of the prepared statements. */
  name: string;
  table: string;
  where?: string;
  /** The expressions of {@link Key}. Without `at`, the order is by `num` alone. */
  at?: string;
  num: string;
  isAscending?: boolean;
  /** Further columns of the rows; may use the parameters from $5 on. */
  columns: string;
};

/**
 * Returns the statement that reads sources: of a project each, or one source of all projects.
 *
 * The indexes of all projects are on expressions (`created_at || ''`, `request_seq + 0`), so that a statement of one
 * project cannot follow them: PostgreSQL would do so, and read the rows of the other projects, if it takes the project for
 * one with many rows.
 */
export function keysetText(order: Order, isOfProjects: boolean): string {
  const { table, where = 'true', isAscending = false, columns } = order;
  const [direction, sign] = isAscending ? ['ASC', '>'] : ['DESC', '<'];
  const at = order.at && (isOfProjects ? order.at : `(${order.at} || '')`);
  const num = at || isOfProjects ? order.num : `(${order.num} + 0)`;
  return `SELECT s.n, k.* FROM unnest($1::text[], $2::text[], $3::bigint[], $4::integer[]) WITH ORDINALITY
      AS s (project_id, at, num, take, n)
    CROSS JOIN LATERAL (
      SELECT ${at ?? `''`} AS at, ${num} AS num, ${columns} FROM ${table}
      WHERE ${isOfProjects ? 'project_id = s.project_id AND ' : ''}${where}
        AND ${at ? `(${at}, ${num}) ${sign} (s.at, s.num)` : `${num} ${sign} s.num`}
      ORDER BY ${at ? `${at} ${direction}, ` : ''}${num} ${direction} LIMIT s.take
    ) k`;
}

type Source<Row> = { projectId: string; after: Key; take: number; queue: Row[]; isDone: boolean };

const isUnread = <Row>({ isDone, queue }: Source<Row>): boolean => !isDone && queue.length === 0;

type KeysetOptions = {
  database: PostgresDatabase;
  order: Order;
  /** The sources; `all` is one source. */
  projects: readonly string[] | 'all';
  /** Where all sources begin. */
  start: Key;
  /** Values of the parameters from $5 on. */
  values?: readonly unknown[];
  /** About how many rows the first statement reads. */
  firstRows: number;
  caller: Caller;
};

/** What a list does with the rows that it walks over. */
export type Visitor<Row, Value> = {
  /** Whether a row is listed, as far as its columns show. */
  isListed(row: Row): boolean;
  /** Whether the list ends before a row. */
  isAfterEnd?(row: Row): boolean;
  /** Whether the page has room for no further item. */
  isFull(): boolean;
  /** Reads the values of the first of these rows, at least of one; undefined for a row that is not listed after all. */
  read(rows: readonly Row[]): Promise<Map<number, Value | undefined>>;
  take(value: Value): void;
};

export class Keyset<Row extends Key> {
  readonly #options: KeysetOptions;
  readonly #sources: Source<Row>[];
  readonly #sign: 1 | -1;

  constructor(options: KeysetOptions) {
    const { projects, order, start: after, firstRows } = options;
    this.#options = options;
    this.#sign = order.isAscending ? 1 : -1;
    const ids = projects === 'all' ? [''] : [...new Set(projects)];
    const take = Math.max(MIN_TAKE, Math.ceil(firstRows / Math.max(1, ids.length)));
    this.#sources = ids.map((projectId) => ({ projectId, after, take, queue: [], isDone: false }));
  }

  /** Returns the next rows, in order; undefined at the end. */
  async next(): Promise<Row[] | undefined> {
    for (;;) {
      while (this.#sources.some(isUnread)) await this.#read(this.#nearest());
      const rows = this.#known();
      if (rows.length > 0) return rows;
      if (this.#sources.every(({ isDone }) => isDone)) return undefined;
    }
  }

  /**
   * The sources that one statement reads: those without a row in memory, then those with rows in memory that end first. The
   * next rows would otherwise take a statement for each source.
   */
  #nearest(): Source<Row>[] {
    const open = this.#sources.filter(({ isDone }) => !isDone);
    open.sort((a, b) => Number(isUnread(b)) - Number(isUnread(a)) || this.#compare(a.after, b.after));
    let rows = 0;
    return open.filter(({ take }, index) => {
      rows += take;
      return index === 0 || rows <= MAX_ROWS;
    });
  }

  /**
   * Walks over the rows in order, until a listed row finds no room, or for {@link MAX_LISTED} rows. Returns the last row
   * that it has passed; undefined at the end of the list.
   */
  async walk<Value>(visitor: Visitor<Row, Value>): Promise<Row | undefined> {
    let last: Row | undefined;
    let looked = 0;
    for (;;) {
      const rows = await this.next();
      if (!rows) return undefined;
      const listed = rows.filter((row) => visitor.isListed(row));
      let values = new Map<number, Value | undefined>();
      for (const row of rows) {
        if (visitor.isAfterEnd?.(row)) return undefined;
        if (listed[0] === row) {
          if (visitor.isFull()) return last;
          if (!values.has(row.num)) values = await visitor.read(listed);
          listed.shift();
          const value = values.get(row.num);
          if (value !== undefined) visitor.take(value);
        }
        if (looked++ === MAX_LISTED) return last;
        last = row;
      }
    }
  }

  async #read(sources: Source<Row>[]): Promise<void> {
    const { database, order, projects, values = [], caller } = this.#options;
    const isOfProjects = projects !== 'all';
    const rows = await database.read<Row & { n: number }>(
      {
        name: `${order.name}${isOfProjects ? 'OfProjects' : ''}`,
        text: keysetText(order, isOfProjects),
        values: [
          sources.map(({ projectId }) => projectId),
          sources.map(({ after }) => after.at),
          sources.map(({ after }) => after.num),
          sources.map(({ take }) => take),
          ...values,
        ],
      },
      caller,
    );
    const read = sources.map((): Row[] => []);
    for (const row of rows) read[row.n - 1]?.push(row);
    for (const [index, source] of sources.entries()) {
      const next = (read[index] as Row[]).sort(this.#compare);
      source.queue.push(...next);
      source.isDone = next.length < source.take;
      source.after = next.at(-1) ?? source.after;
      // A source with many of the next rows is read in fewer statements.
      source.take = Math.min(MAX_ROWS, source.take * 2);
    }
  }

  /** Takes the rows before which no source can have an unread one. */
  #known(): Row[] {
    let end: Key | undefined;
    for (const { isDone, after } of this.#sources) {
      if (!isDone && (!end || this.#compare(after, end) < 0)) end = after;
    }
    const rows: Row[] = [];
    for (const { queue } of this.#sources) {
      const count = queue.findIndex((row) => end !== undefined && this.#compare(row, end) > 0);
      rows.push(...queue.splice(0, count === -1 ? queue.length : count));
    }
    return rows.sort(this.#compare);
  }

  readonly #compare = (a: Key, b: Key): number => this.#sign * (a.at === b.at ? a.num - b.num : a.at < b.at ? -1 : 1);
}
