import type { QueryClient, QueryKey } from '@tanstack/react-query';
import type { RunHeader, RunSummary } from '../../shared/run.ts';
import { runMatcher } from '../../shared/run-filter.ts';
import { Store } from '../connection/store.ts';
import type { FeedCache } from './feed-cache.ts';
import { ListQuery, type ListState } from './list-query.ts';
import { merge, type RunsPage, type RunsPages, runKeyOf } from './merge-runs.ts';
import { type RunsQuery, runsInputOf } from './runs-query.ts';
import { FeedSubscription, reconnectIfDown } from './subscription.ts';

/**
 * A list of runs that stays up to date. React Query's cache holds the pages of the procedure `run.list`. The subscription
 * `onRunSummary` delivers the header of each run that changes after the first page's `position` (in the log).
 *
 * Once a frame, the changed headers are merged into the pages, and the result is written into the cache. During a fetch
 * nothing is written: the result of the fetch replaces the cached pages, and may contain older headers than the
 * subscription has delivered. So the changed headers are kept until the end of the fetch and merged into its result: of two
 * headers of a run, the header with the higher `lastSeq` wins. New runs are kept beside the pages until `showNew()`.
 *
 * After a gap the cache entry is invalidated until the list has been fetched again. So a list that is shown again before
 * that, by this feed or another, is not taken for complete.
 */

export type RunsFeedState = ListState & {
  runs: readonly RunHeader[];
  /** Number of new runs that wait for `showNew()`. */
  newCount: number;
};

const nothing: readonly never[] = [];

export class RunsFeed {
  readonly #feeds: FeedCache;
  readonly #limit: number;
  readonly #matches: (run: RunSummary) => boolean;
  readonly #list: ListQuery<RunsPage>;
  readonly #subscription: FeedSubscription<RunSummary>;
  readonly #store: Store<RunsFeedState>;
  #observerCount = 0;
  /** The list must be fetched again before it is complete: there was a gap, now or in the time of an earlier feed. */
  #isStale = false;
  /** Headers that are not merged into the cached pages yet. */
  readonly #changed = new Map<string, RunSummary>();
  readonly #waiting = new Map<string, RunHeader>();
  readonly #shown = new Set<string>();
  /** The cached pages at the last merge. */
  #cached: RunsPages | undefined;
  #pages: readonly RunsPage[] = nothing;
  #runs: readonly RunHeader[] = nothing;

  constructor(feeds: FeedCache, queries: QueryClient, queryKey: QueryKey, query: RunsQuery) {
    const { client } = feeds;
    this.#feeds = feeds;
    const input = runsInputOf(query);
    this.#limit = input.limit;
    const { needsMyDecision, limit: _, ...filter } = query;
    const matches = runMatcher(filter);
    this.#matches = (run) => matches(run) && (!needsMyDecision || run.needsMyDecision === true);
    this.#list = new ListQuery<RunsPage>(feeds, queries, queryKey, (cursor, signal) =>
      client.run.list.query({ ...input, cursor }, { signal }),
    );
    this.#subscription = new FeedSubscription<RunSummary>(feeds, {
      open: (cursor, observer) => {
        const lastEventId = cursor ?? this.#list.data?.pages[0]?.position;
        return client.onRunSummary.subscribe({ projectId: filter.projectId, needsMyDecision, lastEventId }, observer);
      },
      seqOf: ({ lastSeq }) => lastSeq,
      onItem: (run) => this.#changed.set(runKeyOf(run), run),
      onGap: () => {
        this.#changed.clear();
        this.#waiting.clear();
        this.#isStale = true;
        this.#list.invalidate();
      },
      onChange: () => this.changed(),
    });
    this.#merge();
    this.#store = new Store(this.#stateNow());
  }

  /** Returns the state, as the same object until the state changes. */
  readonly getState = (): RunsFeedState => this.#store.state;
  readonly subscribe = (listener: () => void): (() => void) => this.#store.subscribe(listener);

  /** Fetches the list, unless it is in the cache, and keeps it up to date until the returned function is called. */
  follow(): () => void {
    this.#observerCount++;
    this.#list.follow(() => {
      this.#open();
      this.changed();
    });
    this.#subscription.watch();
    // React's StrictMode follows, leaves and follows again in one task.
    queueMicrotask(() => this.#open());
    this.changed();
    return () => {
      this.#observerCount--;
      queueMicrotask(() => {
        if (this.#observerCount === 0) this.#close();
      });
    };
  }

  /** Adds the waiting runs to the list. */
  readonly showNew = (): void => {
    for (const [key, run] of this.#waiting) {
      this.#changed.set(key, this.#changed.get(key) ?? run);
      this.#shown.add(key);
    }
    this.changed();
  };

  /** Loads the next page. Does nothing without a next page. If a fetch is under way, waits for that fetch instead. */
  readonly fetchNextPage = (): Promise<void> => this.#list.fetchNextPage();

  /** Resumes after an error, and tries at once what waits to be tried again. */
  readonly reconnect = (): void => {
    reconnectIfDown(this.#feeds.connection);
    this.#subscription.failure = null;
    this.#list.retry();
    this.#open();
    this.changed();
  };

  /** Schedules an update for the next frame. */
  readonly changed = (): void => this.#feeds.frames.add(this.#update);

  #open(): void {
    const { isOpen, failure } = this.#subscription;
    if (this.#observerCount === 0 || isOpen || failure || !this.#list.data) return;
    if (this.#list.isInvalidated) this.#isStale = true;
    this.#subscription.open();
  }

  #close(): void {
    this.#feeds.frames.delete(this.#update);
    this.#subscription.end();
    this.#subscription.failure = null;
    this.#list.stop();
    // The next subscription starts at the `position` in the cache. So all changes received so far go into the cache first.
    this.#update();
    this.#subscription.cursor = undefined;
  }

  readonly #update = (): void => {
    this.#list.fetchIfRemoved();
    this.#merge();
    this.#store.state = this.#stateNow();
    this.#store.notify();
    const { error, isFetching } = this.#list;
    if (this.#isIncomplete && !error && !isFetching && this.#observerCount > 0) void this.fetchNextPage();
  };

  /** Merges the changed headers into the pages, and writes the result into the cache unless a fetch is to replace it. */
  #merge(): void {
    const { data, isFetching, isInvalidated } = this.#list;
    if (!data) return;
    if (this.#isStale && !isFetching && !isInvalidated) {
      this.#isStale = false;
      this.#subscription.isInGap = false;
    }
    if (data !== this.#cached) {
      // The waiting runs may be in the new pages. Otherwise they need no look: a merge costs what has changed.
      for (const [key, run] of this.#waiting) this.#changed.set(key, this.#changed.get(key) ?? run);
    }
    const { pages, waiting } = merge(data.pages, this.#changed, this.#shown, this.#matches);
    for (const key of this.#changed.keys()) this.#waiting.delete(key);
    for (const run of waiting) this.#waiting.set(runKeyOf(run), run);
    this.#cached = data;
    this.#setPages(pages);
    if (isFetching || this.#isStale || this.#feeds.isEnded) return;
    this.#write(data);
    this.#changed.clear();
    this.#shown.clear();
  }

  #write(data: RunsPages): void {
    const [first, ...rest] = this.#pages;
    if (!first) return;
    // Runs that wait for `showNew` are in no page. If `position` moved past them, a later subscription would not deliver
    // them again.
    const position = this.#waiting.size === 0 ? (this.#subscription.cursor ?? first.position) : first.position;
    if (position === first.position && this.#pages === data.pages) return;
    const pages = position === first.position ? [...this.#pages] : [{ ...first, position }, ...rest];
    this.#cached = this.#list.write({ ...data, pages });
    this.#setPages(pages);
  }

  #setPages(pages: readonly RunsPage[]): void {
    if (pages === this.#pages) return;
    this.#pages = pages;
    const runs = pages.flatMap((page) => page.runs);
    const isSame = runs.length === this.#runs.length && runs.every((run, index) => run === this.#runs[index]);
    if (!isSame) this.#runs = runs;
  }

  /** The server looks at a bounded number of runs for a page: a page may be short or empty although there are further runs. */
  get #isIncomplete(): boolean {
    const last = this.#pages.at(-1);
    return last?.nextCursor !== undefined && last.oldest === undefined && last.runs.length < this.#limit;
  }

  #stateNow(): RunsFeedState {
    const state = this.#subscription.state({ needsSnapshot: this.#isStale });
    return {
      ...this.#list.state(state, this.#runs.length === 0 && this.#isIncomplete),
      runs: this.#runs,
      newCount: this.#waiting.size,
    };
  }
}
