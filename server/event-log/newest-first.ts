/**
 * Merges the rows of several sources into one sequence, newest first. Each source reads one project through an index, so
 * the rows of projects that the caller may not read are never scanned.
 */

const ROWS_AT_ONCE = 128;

/** Returns at most `limit` rows with a key below `below`, the greatest key first. */
export type Source<Row> = (below: number, limit: number) => Row[];

export class NewestFirst<Row> {
  readonly #keyOf: (row: Row) => number;
  readonly #limit: number;
  readonly #sources: { read: Source<Row>; queue: Row[]; isDone: boolean }[];

  constructor(sources: readonly Source<Row>[], keyOf: (row: Row) => number, below: number) {
    this.#keyOf = keyOf;
    // The more sources, the fewer rows each one reads ahead: the total stays about the same.
    this.#limit = Math.max(2, Math.ceil(ROWS_AT_ONCE / Math.max(1, sources.length)));
    this.#sources = sources.map((read) => {
      const queue = read(below, this.#limit);
      return { read, queue, isDone: queue.length < this.#limit };
    });
  }

  /** Returns the next rows. `known`: all rows with this key or a greater one have been returned; 0 at the end. */
  next(): { rows: Row[]; known: number } {
    const keyOf = this.#keyOf;
    const last = ({ queue }: { queue: Row[] }) => {
      const row = queue.at(-1);
      return row === undefined ? 0 : keyOf(row);
    };
    // A source may have unread rows with keys below its last read key. So all rows below that key wait until the source is
    // read again.
    const known = Math.max(0, ...this.#sources.map((source) => (source.isDone ? 0 : last(source))));
    const rows: Row[] = [];
    for (const source of this.#sources) {
      const count = source.queue.filter((row) => keyOf(row) >= known).length;
      rows.push(...source.queue.splice(0, count));
      if (source.queue.length > 0 || source.isDone) continue;
      source.queue = source.read(known, this.#limit);
      source.isDone = source.queue.length < this.#limit;
    }
    return { rows: rows.sort((a, b) => keyOf(b) - keyOf(a)), known };
  }
}
