import type { LogRecord } from '../event-log/log.ts';

/** The latest records, shared by all readers: whoever keeps up never asks the store. */
export class Window {
  readonly #limit: number;
  #records: LogRecord[] = [];

  /** Holds at least `limit` records once that many have come, and fewer than twice as many. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  push(records: readonly LogRecord[]): void {
    for (const record of records) this.#records.push(record);
    if (this.#records.length >= 2 * this.#limit) this.#records = this.#records.slice(-this.#limit);
  }

  /** Whether everything after a position is here. */
  covers(after: number): boolean {
    const [first] = this.#records;
    return first !== undefined && first.seq <= after + 1;
  }

  /** Up to `limit` matches after a position that is covered. */
  read(after: number, limit: number, matches: (record: LogRecord) => boolean) {
    const records: LogRecord[] = [];
    let scannedTo = after;
    const first = this.#records[0]?.seq ?? 0;
    for (let index = after + 1 - first; index < this.#records.length; index++) {
      const record = this.#records[index] as LogRecord;
      scannedTo = record.seq;
      if (!matches(record)) continue;
      records.push(record);
      if (records.length >= limit) break;
    }
    return { records, scannedTo };
  }
}
