import type { RunEvent } from '../../shared/events.ts';
import type { RunView } from '../../shared/run.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import { fetchRunAt } from '../connection/fetch-run.ts';
import { MAX_ANSWER_MS, within } from '../connection/timer.ts';
import { runwireErrorOf } from '../errors.ts';
import type { FeedScope } from './feed-scope.ts';
import { foldFor } from './fold.ts';

/** A run as it was just after one of its events. */
export type PastState = {
  run: RunView;
  event: RunEvent;
  /** 1, or the number of the oldest event that retention has kept: the state then lacks the events before it. */
  firstRunSeq: number;
};

/** Events of one page, which is also the distance between two states that are kept. */
const PAGE_EVENTS = 500;
/** Maximum number of pages that are kept with the state before each. The page used longest ago is dropped. */
const MAX_PAGES = 20;

/** The events after a multiple of `PAGE_EVENTS`, and the state before them. */
type Page = { base: RunView | undefined; firstRunSeq: number; events: readonly RunEvent[] };

/**
 * Computes earlier states of a run. The state at a multiple of 500 events comes from the server (`run.at`); the events after
 * it are fetched once and folded here, by the fold of the live page. So a step to a near event needs no request.
 */
export class PastRun {
  readonly #feeds: FeedScope;
  readonly #run: { runId: string; projectId?: string | undefined };
  readonly #foldEvent: ReturnType<typeof foldFor>;
  readonly #pages = new Map<number, Page>();

  constructor(feeds: FeedScope, run: { runId: string; projectId?: string | undefined }) {
    this.#feeds = feeds;
    this.#foldEvent = foldFor(feeds.events);
    this.#run = run;
  }

  /** Rejects with `EVENT_NOT_FOUND` if the run has no event with this number, or retention has removed it. */
  async at(runSeq: number, signal: AbortSignal): Promise<PastState> {
    const index = Math.floor((runSeq - 1) / PAGE_EVENTS);
    let page = this.#pages.get(index);
    if (!page?.events.some((event) => event.runSeq === runSeq)) page = await this.#fetch(index, runSeq, signal);
    // The page used last is at the end of the map.
    this.#pages.delete(index);
    this.#pages.set(index, page);
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= MAX_PAGES) break;
      this.#pages.delete(oldest);
    }
    const rows = new RunMemory(page.base);
    let last: RunEvent | undefined;
    for (const event of page.events) {
      if (event.runSeq > runSeq) break;
      this.#foldEvent(rows, event);
      last = event;
    }
    return { run: rows.view() as RunView, event: last as RunEvent, firstRunSeq: page.firstRunSeq };
  }

  async #fetch(index: number, runSeq: number, signal: AbortSignal): Promise<Page> {
    const first = index * PAGE_EVENTS + 1;
    const [base, events] = await Promise.all([this.#baseBefore(first, signal), this.#events(first, signal)]);
    // Retention may have removed the events before the page or at its beginning.
    const firstRunSeq = base?.firstRunSeq ?? events[0]?.runSeq ?? first;
    if (!events.some((event) => event.runSeq === runSeq)) throw await this.#missing(runSeq, signal);
    return { base: base?.run, firstRunSeq, events };
  }

  async #baseBefore(first: number, signal: AbortSignal) {
    if (first === 1) return undefined;
    try {
      return await fetchRunAt(this.#feeds.client, { ...this.#run, runSeq: first - 1 }, signal);
    } catch (error) {
      if (runwireErrorOf(error).code === 'EVENT_NOT_FOUND') return undefined;
      throw error;
    }
  }

  async #events(first: number, signal: AbortSignal): Promise<RunEvent[]> {
    const events: RunEvent[] = [];
    let cursor: string | undefined;
    do {
      const input = { ...this.#run, fromRunSeq: first, limit: PAGE_EVENTS - events.length, cursor };
      const page = await within(MAX_ANSWER_MS, 'the server', signal, (limited) =>
        this.#feeds.client.run.history.query(input, { signal: limited }),
      );
      events.push(...(page.events as RunEvent[]));
      cursor = page.nextCursor;
    } while (cursor !== undefined && events.length < PAGE_EVENTS);
    return events.filter((event) => event.runSeq < first + PAGE_EVENTS);
  }

  /** The error of the server for an event that no page has. */
  async #missing(runSeq: number, signal: AbortSignal): Promise<unknown> {
    try {
      await fetchRunAt(this.#feeds.client, { ...this.#run, runSeq }, signal);
    } catch (error) {
      return error;
    }
    return new Error('the events of the run changed while they were read');
  }
}
