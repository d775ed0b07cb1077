import type { StoredEvent } from '../event-log/contract/log.ts';

export type WindowLimits = { records: number; bytes: number };

/** The latest records of the log in memory, shared by all readers: a reader that keeps up never reads the store. */
export class Window {
  readonly #limits: WindowLimits;
  #records: (StoredEvent | undefined)[] = [];
  /** Index of the oldest record. Earlier entries are undefined; `push` removes them in one step when they are many. */
  #start = 0;
  #bytes = 0;

  constructor(limits: WindowLimits) {
    this.#limits = limits;
  }

  push(records: readonly StoredEvent[]): void {
    for (const record of records) {
      this.#records.push(record);
      this.#bytes += record.json.length;
    }
    while (this.#records.length - this.#start > this.#limits.records || this.#bytes > this.#limits.bytes) {
      this.#bytes -= (this.#records[this.#start] as StoredEvent).json.length;
      this.#records[this.#start] = undefined;
      this.#start++;
    }
    if (this.#start < this.#limits.records) return;
    this.#records = this.#records.slice(this.#start);
    this.#start = 0;
  }

  /** Replaces the record with the same `seq`, if the window has it. */
  replace(record: StoredEvent): void {
    const index = this.#records.findIndex((known) => known?.seq === record.seq);
    if (index < 0) return;
    this.#bytes += record.json.length - (this.#records[index] as StoredEvent).json.length;
    this.#records[index] = record;
  }

  clear(): void {
    this.#records = [];
    this.#start = 0;
    this.#bytes = 0;
  }

  /** Whether the window has every record after a position. */
  covers(after: number): boolean {
    const first = this.#records[this.#start];
    return first !== undefined && first.seq <= after + 1;
  }

  /** Returns at most `limit` matching records after a position. The window must cover this position. */
  read(after: number, limit: number, matches: (record: StoredEvent) => boolean) {
    const records: StoredEvent[] = [];
    let scannedTo = after;
    const first = (this.#records[this.#start]?.seq ?? 0) - this.#start;
    for (let index = after + 1 - first; index < this.#records.length; index++) {
      const record = this.#records[index] as StoredEvent;
      scannedTo = record.seq;
      if (!matches(record)) continue;
      records.push(record);
      if (records.length >= limit) break;
    }
    return { records, scannedTo };
  }
}
