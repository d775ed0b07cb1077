import type { RunEvent } from '../../../react/index.tsx';
import { isRetryable } from '../../lib/errors.ts';

/**
 * The events of one run by their place in it. `runSeq` is contiguous from 1, so a list of 100,000 is drawn from a number;
 * the events themselves are fetched where the reader looks. One request is under way at a time, and once it is answered
 * the next one is for where the reader looks then: whoever drags through a long run does not load all of it.
 */

/** Events fetched at once. */
const PAGE_EVENTS = 200;
/** Beyond so many, those far from where the reader looks are let go. */
const KEPT_EVENTS = 20_000;
/** While the server is away, which the badge says. */
const RETRY_MS = 3_000;

export type FetchEvents = (fromRunSeq: number, limit: number) => Promise<readonly RunEvent[]>;

export class EventPages {
  readonly #fetch: FetchEvents;
  readonly #listeners = new Set<() => void>();
  readonly #events = new Map<number, RunEvent>();
  /** Events before it are not kept any more, as far as is known. */
  #oldest = 1;
  #wanted: { first: number; last: number } | undefined;
  #isFetching = false;
  #version = 0;

  constructor(fetch: FetchEvents) {
    this.#fetch = fetch;
  }

  /** Another number whenever events have come. */
  readonly getVersion = (): number => this.#version;
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  get(runSeq: number): RunEvent | undefined {
    return this.#events.get(runSeq);
  }
  /** Whether retention has taken it. */
  isGone(runSeq: number): boolean {
    return runSeq < this.#oldest;
  }

  /** Takes in events that came by themselves, the latest last; says nothing of it. */
  put(events: readonly RunEvent[]): void {
    for (let index = events.length - 1; index >= 0; index--) {
      const event = events[index] as RunEvent;
      if (this.#events.has(event.runSeq)) break;
      this.#events.set(event.runSeq, event);
    }
    this.#forget();
  }

  /** Where the reader looks, both ends inclusive: what is missing there is fetched. */
  want(first: number, last: number): void {
    this.#wanted = { first, last };
    if (!this.#isFetching) void this.#fill();
  }

  async #fill(): Promise<void> {
    this.#isFetching = true;
    try {
      let asked: number | undefined;
      // What was asked for and did not come, the server does not have: it is not asked for over and over.
      for (let from = this.#missing(); from !== undefined && from !== asked; from = this.#missing()) {
        const last = this.#wanted?.last ?? from;
        this.#take(from, last, await this.#fetch(from, PAGE_EVENTS));
        asked = from;
      }
    } catch (error) {
      if (isRetryable(error)) setTimeout(this.#tryAgain, RETRY_MS);
    }
    this.#isFetching = false;
  }

  readonly #tryAgain = (): void => {
    if (!this.#isFetching && this.#listeners.size > 0) void this.#fill();
  };

  /** Where to fetch from: when scrolling up, what is above is wanted next. */
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

  /** `last`: what was wanted when they were asked for. */
  #take(from: number, last: number, events: readonly RunEvent[]): void {
    for (const event of events) this.#events.set(event.runSeq, event);
    const [first] = events;
    // What comes after those that are asked for is there, for the reader was told of it: so these are gone.
    if ((first?.runSeq ?? last + 1) > from) this.#oldest = first?.runSeq ?? last + 1;
    this.#forget();
    this.#version++;
    for (const listener of [...this.#listeners]) listener();
  }

  #forget(): void {
    if (!this.#wanted || this.#events.size <= KEPT_EVENTS) return;
    const { first, last } = this.#wanted;
    for (const runSeq of this.#events.keys()) {
      if (runSeq < first - KEPT_EVENTS / 4 || runSeq > last + KEPT_EVENTS / 4) this.#events.delete(runSeq);
    }
  }
}
