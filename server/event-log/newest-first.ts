import { type Awaitable, resultOf, type Steps } from './steps.ts';

/**
 * Merges the rows of several sources into one sequence, newest first. Each source reads one project through an index, so
 * the rows of projects that the caller may not read are never scanned.
 */

const ROWS_AT_ONCE = 128;

/** Returns at most `limit` rows with a key below `below`, the greatest key first. */
export type Source<Row, Key = number> = (below: Key, limit: number) => Row[];

/** Sources by number. `read` reads up to `atOnce` of them, as {@link Source}, and returns their rows in the order of `of`. */
export type Sources<Row, Key = number> = {
  count: number;
  atOnce: number;
  read: (of: readonly { source: number; below: Key }[], limit: number) => Awaitable<Row[][]>;
};

/** `known`: all rows with this key or a greater one have been returned; undefined at the end. */
type Next<Row, Key> = { rows: Row[]; known: Key | undefined; reads: number };
type Reading<Row, Key> = { below: Key; queue: Row[]; isDone: boolean };

class Merge<Row, Key extends number | string> {
  readonly limit: number;
  readonly #keyOf: (row: Row) => Key;
  readonly #sources: Reading<Row, Key>[];
  known: Key;

  constructor(count: number, keyOf: (row: Row) => Key, below: Key) {
    this.#keyOf = keyOf;
    this.known = below;
    // The more sources, the fewer rows each one reads ahead: the total stays about the same.
    this.limit = Math.max(2, Math.ceil(ROWS_AT_ONCE / Math.max(1, count)));
    this.#sources = Array.from({ length: count }, () => ({ below, queue: [], isDone: false }));
  }

  /** Returns the sources that must be read before the next rows are known. */
  unread(): { source: number; below: Key }[] {
    const unread: { source: number; below: Key }[] = [];
    for (const [source, { below, queue, isDone }] of this.#sources.entries()) {
      if (!isDone && queue.length === 0) unread.push({ source, below });
    }
    return unread;
  }

  put(source: number, rows: Row[]): void {
    const reading = this.#sources[source] as Reading<Row, Key>;
    reading.queue = rows;
    reading.isDone = rows.length < this.limit;
    if (rows.length > 0) reading.below = this.#keyOf(rows.at(-1) as Row);
  }

  take(reads: number): Next<Row, Key> {
    const keyOf = this.#keyOf;
    // A source may have unread rows with keys below its last read key. So all rows below that key wait until the source is
    // read again.
    let known: Key | undefined;
    for (const { isDone, below } of this.#sources) if (!isDone && (known === undefined || below > known)) known = below;
    if (known !== undefined) this.known = known;
    const rows: Row[] = [];
    for (const { queue } of this.#sources) {
      const count = known === undefined ? queue.length : queue.filter((row) => keyOf(row) >= known).length;
      rows.push(...queue.splice(0, count));
    }
    return { rows: rows.sort((a, b) => (keyOf(a) < keyOf(b) ? 1 : -1)), known, reads };
  }
}

export class NewestFirst<Row, Key extends number | string = number> {
  readonly #sources: readonly Source<Row, Key>[];
  readonly #merge: Merge<Row, Key>;

  constructor(sources: readonly Source<Row, Key>[], keyOf: (row: Row) => Key, below: Key) {
    this.#sources = sources;
    this.#merge = new Merge(sources.length, keyOf, below);
  }

  /** Returns the next rows. At `until` (a time of `performance.now()`) it returns none if some sources are still unread. */
  next(until = Number.POSITIVE_INFINITY): Next<Row, Key> {
    const merge = this.#merge;
    let reads = 0;
    for (const { source, below } of merge.unread()) {
      if (reads > 0 && performance.now() > until) return { rows: [], known: merge.known, reads };
      merge.put(source, (this.#sources[source] as Source<Row, Key>)(below, merge.limit));
      reads++;
    }
    return merge.take(reads);
  }
}

/** As {@link NewestFirst}, in steps: for sources that answer later, and are read several at once. */
export class NewestFirstSteps<Row, Key extends number | string = number> {
  readonly #sources: Sources<Row, Key>;
  readonly #merge: Merge<Row, Key>;

  constructor(sources: Sources<Row, Key>, keyOf: (row: Row) => Key, below: Key) {
    this.#sources = sources;
    this.#merge = new Merge(sources.count, keyOf, below);
  }

  *next(): Steps<Next<Row, Key>> {
    const merge = this.#merge;
    const unread = merge.unread();
    for (let from = 0; from < unread.length; from += this.#sources.atOnce) {
      const some = unread.slice(from, from + this.#sources.atOnce);
      const rows = yield* resultOf(this.#sources.read(some, merge.limit));
      for (const [index, { source }] of some.entries()) merge.put(source, rows[index] as Row[]);
    }
    return merge.take(unread.length);
  }
}

/** Sources that answer at once, read one by one. */
export const sourcesOf = <Row, Key>(sources: readonly Source<Row, Key>[]): Sources<Row, Key> => ({
  count: sources.length,
  atOnce: 1,
  read: (of, limit) => of.map(({ source, below }) => (sources[source] as Source<Row, Key>)(below, limit)),
});
