/**
 * Rows of several sources as one sequence, newest first: of the projects that somebody may see, each by an index of its own,
 * so that the rows of others are not gone through.
 */

const ROWS_AT_ONCE = 128;

/** Rows of a source with a key below a limit, the greatest first, at most so many. */
export type Source<Row> = (below: number, limit: number) => Row[];

export class NewestFirst<Row> {
  readonly #keyOf: (row: Row) => number;
  readonly #limit: number;
  readonly #sources: { read: Source<Row>; queue: Row[]; isDone: boolean }[];

  constructor(sources: readonly Source<Row>[], keyOf: (row: Row) => number, below: number) {
    this.#keyOf = keyOf;
    // What is read ahead does not grow with the sources.
    this.#limit = Math.max(2, Math.ceil(ROWS_AT_ONCE / Math.max(1, sources.length)));
    this.#sources = sources.map((read) => {
      const queue = read(below, this.#limit);
      return { read, queue, isDone: queue.length < this.#limit };
    });
  }

  /** The next rows of all sources, and the key down to which that is all there is: 0 once there is no more. */
  next(): { rows: Row[]; known: number } {
    const keyOf = this.#keyOf;
    const last = ({ queue }: { queue: Row[] }) => {
      const row = queue.at(-1);
      return row === undefined ? 0 : keyOf(row);
    };
    // As far as the first source that has to be asked again.
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
