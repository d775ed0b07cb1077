import type { QueryClient, QueryKey } from '@tanstack/react-query';
import type { RunHeader } from '../../shared/run.ts';
import { type RunFilter, runMatcher } from '../../shared/run-filter.ts';
import { Store } from '../connection/store.ts';
import type { FeedCache } from './feed-cache.ts';
import { emptyOverlay, merge, type Overlay, type RunsPage, type RunsPages, runKeyOf } from './merge-runs.ts';
import { FeedSubscription, reconnectIfDown, retryLoading, type SubscriptionState } from './subscription.ts';

/**
 * A list of runs that stays up to date. React Query's cache holds the pages of the procedure `run.list`. The subscription
 * `onRunSummary` delivers the header of each run that changes after the first page's `position` (in the log).
 *
 * Once a frame, the changed headers are written into the cached pages. During a fetch this is not enough:
 * - the result of the fetch replaces the cached pages, and with them the headers that were written meanwhile;
 * - the result may contain older headers than the subscription has delivered.
 *
 * So during a fetch all changed headers are also kept in an overlay. `merge` combines pages and overlay at each read: of
 * two headers of a run, the header with the higher `lastSeq` wins. After the fetch the overlay keeps only the new runs
 * that wait until the user wants to see them (`showNew()`).
 */

export type RunsFeedState = SubscriptionState & { overlay: Overlay };

export class RunsFeed {
  readonly #feeds: FeedCache;
  readonly #queries: QueryClient;
  readonly #queryKey: QueryKey;
  readonly #matches: (run: RunHeader) => boolean;
  readonly #subscription: FeedSubscription<RunHeader>;
  readonly #store = new Store<RunsFeedState>({
    overlay: emptyOverlay,
    connectionState: 'idle',
    error: null,
    retryAtMs: null,
    phase: 'replaying',
    seq: null,
    gap: null,
  });
  #observerCount = 0;
  /** Aborted when the last hook has stopped following the list. */
  #following: AbortController | undefined;
  #changed = new Map<string, RunHeader>();
  #shown = new Set<string>();
  /** Copies of `#changed` and `#shown`. Each change sets `emptyOverlay`; {@link #currentOverlay} then makes new copies. */
  #overlay = emptyOverlay;
  #runs: readonly RunHeader[] = [];

  constructor(feeds: FeedCache, queries: QueryClient, queryKey: QueryKey, filter: RunFilter) {
    this.#feeds = feeds;
    this.#queries = queries;
    this.#queryKey = queryKey;
    this.#matches = runMatcher(filter);
    const { projectId } = filter;
    this.#subscription = new FeedSubscription<RunHeader>(feeds, {
      open: (cursor, observer) => {
        const lastEventId = cursor ?? this.#pages?.pages[0]?.position;
        return feeds.client.onRunSummary.subscribe({ projectId, lastEventId }, observer);
      },
      seqOf: ({ lastSeq }) => lastSeq,
      onItem: (run) => {
        this.#changed.set(runKeyOf(run), run);
        this.#overlay = emptyOverlay;
      },
      onGap: (_gap, wasInGap) => {
        this.#changed = new Map();
        this.#overlay = emptyOverlay;
        if (!wasInGap) void this.#refetch();
      },
      onChange: () => this.changed(),
    });
  }

  /** Returns the state, as the same object until the state changes. */
  readonly getState = this.#store.getState;
  readonly subscribe = this.#store.subscribe;

  /** Returns the runs to show (the same array until a run changes), and the number of new runs that wait. */
  listOf(pages: readonly RunsPage[], overlay: Overlay): { runs: readonly RunHeader[]; newCount: number } {
    const merged = merge(pages, overlay, this.#matches);
    const runs = merged.pages.flatMap((page) => page.runs);
    const isSame = runs.length === this.#runs.length && runs.every((run, index) => run === this.#runs[index]);
    if (!isSame) this.#runs = runs;
    return { runs: this.#runs, newCount: merged.waiting.length };
  }

  /** Keeps the list up to date until the returned function is called. The first page must be in the cache. */
  follow(): () => void {
    this.#observerCount++;
    this.#subscription.watch();
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
    const pages = this.#pages;
    if (!pages) return;
    for (const run of merge(pages.pages, this.#currentOverlay(), this.#matches).waiting) this.#shown.add(runKeyOf(run));
    this.#overlay = emptyOverlay;
    this.changed();
  };

  readonly reconnect = (): void => {
    reconnectIfDown(this.#feeds.connection);
    this.#subscription.failure = null;
    this.#open();
    this.changed();
  };

  /** Schedules an update for the next frame. Call it after a change of the cached pages or of their fetch status. */
  changed(): void {
    this.#feeds.frames.add(this.#update);
  }

  get #pages(): RunsPages | undefined {
    return this.#queries.getQueryData<RunsPages>(this.#queryKey);
  }

  #open(): void {
    if (this.#observerCount === 0 || this.#subscription.isOpen || this.#subscription.failure) return;
    this.#following ??= new AbortController();
    this.#subscription.open();
  }

  #close(): void {
    this.#following?.abort();
    this.#following = undefined;
    this.#subscription.end();
    this.#subscription.failure = null;
    // The next subscription starts at the `position` in the cache. So all changes received so far go into the cache first.
    if (this.#feeds.frames.delete(this.#update)) this.#update();
    this.#subscription.cursor = undefined;
  }

  /** Fetches the list again, until the server answers, and ends the gap. */
  async #refetch(): Promise<void> {
    const signal = this.#following?.signal;
    if (!signal) return;
    const refetch = async () => {
      await this.#queries.refetchQueries({ queryKey: this.#queryKey, exact: true });
      const error = this.#queries.getQueryState(this.#queryKey)?.error;
      if (error) throw error;
    };
    await retryLoading(refetch, signal).catch(() => undefined); // React Query keeps the error for the hook.
    this.#subscription.isInGap = false;
    this.changed();
  }

  #currentOverlay(): Overlay {
    if (this.#overlay === emptyOverlay && this.#changed.size > 0) {
      this.#overlay = { changed: new Map(this.#changed), shown: new Set(this.#shown) };
    }
    return this.#overlay;
  }

  readonly #update = (): void => {
    this.#patch();
    const overlay = this.#currentOverlay();
    const state = this.#subscription.state();
    const isIdle = this.#observerCount === 0;
    this.#store.state = isIdle
      ? { ...state, overlay, connectionState: 'idle', error: null, retryAtMs: null }
      : { ...state, overlay };
    this.#store.notify();
  };

  /** Writes changed headers into the cached pages, and removes headers from the overlay that the pages now contain. */
  #patch(): void {
    const data = this.#pages;
    if (!data) return;
    const { pages, waiting } = merge(data.pages, this.#currentOverlay(), this.#matches);
    const [first, ...rest] = pages;
    if (!first) return;
    const isFetching = this.#queries.getQueryState(this.#queryKey)?.fetchStatus !== 'idle';
    const isBusy = this.#subscription.isInGap || isFetching;
    // Runs that wait for `showNew` are in no page. If `position` moved past them, a later subscription would not deliver
    // them again.
    const isComplete = !isBusy && waiting.length === 0;
    const position = isComplete ? (this.#subscription.cursor ?? first.position) : first.position;
    const isSame = pages === data.pages && position === first.position;
    if (!isSame) {
      const patched = position === first.position ? pages : [{ ...first, position }, ...rest];
      this.#queries.setQueryData<RunsPages>(this.#queryKey, { ...data, pages: [...patched] });
    }
    if (isBusy || this.#changed.size === waiting.length) return;
    this.#changed = new Map(waiting.map((run) => [runKeyOf(run), run]));
    this.#shown = new Set();
    this.#overlay = emptyOverlay;
  }
}
