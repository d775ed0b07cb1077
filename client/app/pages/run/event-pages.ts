import type { RunEvent } from '../../../hooks/index.ts';
import { isRetryable } from '../../lib/errors.ts';

/**
 * Holds events of one run by `runSeq` (position in the run). `runSeq` counts from 1 without gaps, so the event list can
 * place 100,000 rows without their events. Only the events of visible rows are fetched.
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

export type FetchEvents = (fromRunSeq: number, limit: number) => Promise<readonly RunEvent[]>;

export class EventPages {
  readonly #fetch: FetchEvents;
  readonly #listeners = new Set<() => void>();
  readonly #events = new Map<number, RunEvent>();
  /** The server has no events before this `runSeq`: retention has removed them. 1 until an answer shows it. */
  #oldest = 1;
  #wanted: { first: number; last: number } | undefined;
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
  /** True when retention has removed the event. */
  isRemoved(runSeq: number): boolean {
    return runSeq < this.#oldest;
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

  /** Fetches the missing events of the visible rows, `first` to `last` inclusive. */
  want(first: number, last: number): void {
    this.#wanted = { first, last };
    if (!this.#isFetching) void this.#fill();
  }

  async #fill(): Promise<void> {
    this.#isFetching = true;
    try {
      let requested: number | undefined;
      // If a position is still missing after its request, the server does not have the event, and the loop stops.
      for (let from = this.#missing(); from !== undefined && from !== requested; from = this.#missing()) {
        const last = this.#wanted?.last ?? from;
        this.#add(from, last, await this.#fetch(from, PAGE_EVENTS));
        requested = from;
      }
    } catch (error) {
      if (isRetryable(error)) setTimeout(this.#retry, RETRY_MS);
    }
    this.#isFetching = false;
  }

  readonly #retry = (): void => {
    if (!this.#isFetching && this.#listeners.size > 0) void this.#fill();
  };

  /**
   * Returns the position to fetch from; undefined if no event is missing. If the first visible row is missing, the user is
   * probably scrolling up, so rows above it are fetched too.
   */
  #missing(): number | undefined {
    if (!this.#wanted) return undefined;
    const { last } = this.#wanted;
    const first = Math.max(this.#wanted.first, this.#oldest);
    for (let runSeq = first; runSeq <= last; runSeq++) {
      if (this.#events.has(runSeq)) continue;
      return runSeq === first ? Math.max(this.#oldest, first - PAGE_EVENTS / 2) : runSeq;
    }
    return undefined;
  }

  /** Stores an answer. `last` is the last visible row at the time of the request. */
  #add(from: number, last: number, events: readonly RunEvent[]): void {
    for (const event of events) this.#events.set(event.runSeq, event);
    const [first] = events;
    // The run had an event at each requested position. If events are missing at the start, retention has removed them.
    if ((first?.runSeq ?? last + 1) > from) this.#oldest = first?.runSeq ?? last + 1;
    this.#evict();
    this.#version++;
    for (const listener of [...this.#listeners]) listener();
  }

  #evict(): void {
    if (!this.#wanted || this.#events.size <= MAX_EVENTS) return;
    const { first, last } = this.#wanted;
    for (const runSeq of this.#events.keys()) {
      if (runSeq < first - MAX_EVENTS / 4 || runSeq > last + MAX_EVENTS / 4) this.#events.delete(runSeq);
    }
  }
}
