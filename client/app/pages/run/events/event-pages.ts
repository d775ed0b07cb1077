import type { RunEvent } from '../../../../hooks/index.ts';
import { isRetryable } from '../../../lib/errors.ts';

/**
 * Holds events of one run by `runSeq` (position in the run). Only the events of visible rows, and of rows near them, are
 * fetched.
 *
 * One request runs at a time. After its answer, the next request is for the rows that are visible then. So a user who drags
 * the scrollbar through a long run does not load the whole run.
 *
 * This class does not use `client/connection/store.ts`: the app imports only the public entry of the client.
 */

/** Events per request. */
const PAGE_EVENTS = 200;
/** If more events than this are in memory, the events far from the visible rows are removed. */
const MAX_EVENTS = 20_000;
/** Delay before the next attempt when the server cannot be reached. */
const RETRY_MS = 3_000;

/** Fetches events of the list from a `runSeq` on. */
export type FetchEvents = (fromRunSeq: number, limit: number) => Promise<readonly RunEvent[]>;

/** Positions that follow each other in the list: one request has their events. */
export type Segment = readonly number[];

export class EventPages {
  readonly #fetch: FetchEvents;
  readonly #listeners = new Set<() => void>();
  readonly #events = new Map<number, RunEvent>();
  /** Events that the server no longer has: retention has removed them since their positions were fetched. */
  readonly #removed = new Set<number>();
  #wanted: readonly Segment[] = [];
  #isFetching = false;
  #version = 0;

  constructor(fetch: FetchEvents) {
    this.#fetch = fetch;
  }

  /** Returns a number that changes with each answer of the server. */
  readonly getVersion = (): number => this.#version;
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  get(runSeq: number): RunEvent | undefined {
    return this.#events.get(runSeq);
  }
  isRemoved(runSeq: number): boolean {
    return this.#removed.has(runSeq);
  }

  /** Adds events of the subscription, the latest last. Calls no listeners: the caller is rendering these events already. */
  put(events: readonly RunEvent[]): void {
    for (let index = events.length - 1; index >= 0; index--) {
      const event = events[index] as RunEvent;
      if (this.#events.has(event.runSeq)) break;
      this.#events.set(event.runSeq, event);
    }
    this.#evict();
  }

  /** Fetches the missing events of these rows, those of the first segments first. */
  want(segments: readonly Segment[]): void {
    this.#wanted = segments;
    if (!this.#isFetching) void this.#fill();
  }

  async #fill(): Promise<void> {
    this.#isFetching = true;
    try {
      for (let missing = this.#missing(); missing; missing = this.#missing()) {
        const from = missing[0] as number;
        const limit = Math.min(PAGE_EVENTS, missing.length);
        this.#add(missing, await this.#fetch(from, limit));
      }
    } catch (error) {
      if (isRetryable(error)) setTimeout(this.#retry, RETRY_MS);
    }
    this.#isFetching = false;
  }

  readonly #retry = (): void => {
    if (!this.#isFetching && this.#listeners.size > 0) void this.#fill();
  };

  /** Returns the first segment with a missing event, from that event on. */
  #missing(): Segment | undefined {
    for (const segment of this.#wanted) {
      const index = segment.findIndex((runSeq) => !this.#events.has(runSeq) && !this.#removed.has(runSeq));
      if (index !== -1) return segment.slice(index);
    }
    return undefined;
  }

  #add(requested: Segment, events: readonly RunEvent[]): void {
    for (const event of events) this.#events.set(event.runSeq, event);
    // The list has an event at each requested position, in this order.
    const last = events.at(-1)?.runSeq ?? Number.MAX_SAFE_INTEGER;
    for (const runSeq of requested) {
      if (runSeq > last) break;
      if (!this.#events.has(runSeq)) this.#removed.add(runSeq);
    }
    this.#evict();
    this.#version++;
    for (const listener of [...this.#listeners]) listener();
  }

  #evict(): void {
    const [first, last] = [this.#wanted[0]?.[0], this.#wanted.at(-1)?.at(-1)];
    if (first === undefined || last === undefined || this.#events.size <= MAX_EVENTS) return;
    for (const runSeq of this.#events.keys()) {
      if (runSeq < first - MAX_EVENTS / 4 || runSeq > last + MAX_EVENTS / 4) this.#events.delete(runSeq);
    }
  }
}
