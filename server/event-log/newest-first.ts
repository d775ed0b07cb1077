/**
 * Merges the rows of several sources into one sequence, newest first. Each source reads one project through an index, so
 * the rows of projects that the caller may not read are never scanned.
 */

const ROWS_AT_ONCE = 128;

/** Returns at most `limit` rows with a key below `below`, the greatest key first. */
export type Source<Row, Key = number> = (below: Key, limit: number) => Row[];

type Reading<Row, Key> = { read: Source<Row, Key>; below: Key; queue: Row[]; isDone: boolean };

export class NewestFirst<Row, Key extends number | string = number> {
  readonly #keyOf: (row: Row) => Key;
  readonly #limit: number;
  readonly #sources: Reading<Row, Key>[];
  #known: Key;

  constructor(sources: readonly Source<Row, Key>[], keyOf: (row: Row) => Key, below: Key) {
    this.#keyOf = keyOf;
    this.#known = below;
    // The more sources, the fewer rows each one reads ahead: the total stays about the same.
    this.#limit = Math.max(2, Math.ceil(ROWS_AT_ONCE / Math.max(1, sources.length)));
    this.#sources = sources.map((read) => ({ read, below, queue: [], isDone: false }));
  }

  /**
   * Returns the next rows. `known`: all rows with this key or a greater one have been returned; undefined at the end. At
   * `until` (a time of `performance.now()`) it returns without rows if some sources are still unread. `reads`: how many
   * sources it has read.
   */
  next(until = Number.POSITIVE_INFINITY): { rows: Row[]; known: Key | undefined; reads: number } {
    const keyOf = this.#keyOf;
    let reads = 0;
    for (const source of this.#sources) {
      if (source.isDone || source.queue.length > 0) continue;
      if (reads > 0 && performance.now() > until) return { rows: [], known: this.#known, reads };
      source.queue = source.read(source.below, this.#limit);
      source.isDone = source.queue.length < this.#limit;
      source.below = source.queue.length > 0 ? keyOf(source.queue.at(-1) as Row) : source.below;
      reads++;
    }
    // A source may have unread rows with keys below its last read key. So all rows below that key wait until the source is
    // read again.
    let known: Key | undefined;
    for (const { isDone, below } of this.#sources) if (!isDone && (known === undefined || below > known)) known = below;
    if (known !== undefined) this.#known = known;
    const rows: Row[] = [];
    for (const source of this.#sources) {
      const count =
        known === undefined ? source.queue.length : source.queue.filter((row) => keyOf(row) >= known).length;
      rows.push(...source.queue.splice(0, count));
    }
    return { rows: rows.sort((a, b) => (keyOf(a) < keyOf(b) ? 1 : -1)), known, reads };
  }
}
