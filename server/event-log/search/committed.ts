import type { StoredEvent } from '../contract/log.ts';

/**
 * The newest committed events, until the index has read them: a contiguous range, bounded in number and size. What does not
 * fit, and what precedes the start of the server, the index reads from the store.
 */

const MAX_EVENTS = 8_192;
const MAX_CHARS = 1 << 22;

export type CommittedEvent = Pick<StoredEvent, 'seq' | 'projectId' | 'json'>;

export class CommittedEvents {
  #events: CommittedEvent[] = [];
  #chars = 0;

  /** Adds the events of a commit: those that follow the last one here, as many as fit. */
  add(records: readonly CommittedEvent[]): void {
    for (const record of records) {
      const last = this.#events.at(-1);
      if (last && last.seq + 1 !== record.seq) return;
      if (this.#events.length >= MAX_EVENTS || this.#chars + record.json.length > MAX_CHARS) return;
      this.#events.push(record);
      this.#chars += record.json.length;
    }
  }

  /** Returns at most `limit` events that directly follow a position; undefined if they are not here. */
  after(position: number, limit: number): readonly CommittedEvent[] | undefined {
    const first = this.#events[0]?.seq ?? 0;
    if (first === 0 || first > position + 1) return undefined;
    let begin = position + 1 - first;
    // Half at a time: the rest is moved.
    if (2 * begin >= this.#events.length) {
      for (const { json } of this.#events.splice(0, begin)) this.#chars -= json.length;
      begin = 0;
    }
    return this.#events.length === 0 ? undefined : this.#events.slice(begin, begin + limit);
  }

  /** Drops all events: an erasure or a trim may have changed them in the store. */
  clear(): void {
    this.#events = [];
    this.#chars = 0;
  }
}
