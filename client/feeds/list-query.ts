import { type InfiniteData, InfiniteQueryObserver, type QueryClient, type QueryKey } from '@tanstack/react-query';
import { MAX_ANSWER_MS, within } from '../connection/timer.ts';
import { runwireErrorOf } from '../errors.ts';
import type { FeedScope } from './feed-scope.ts';
import { MAX_PENDING_FAILURES, retryOptions, type SubscriptionState } from './subscription.ts';

/** A page of a list. `position` is the position of the log that the page was fetched at. */
export type ListPage = { nextCursor?: string | undefined; position: string };
export type ListPages<Page> = InfiniteData<Page, string | null>;

export type ListState = SubscriptionState & {
  status: 'pending' | 'success' | 'error';
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
};

/**
 * The pages of a list in React Query's cache, which a feed keeps up to date. A feed may write them only while `isWritable`:
 * the result of a fetch replaces the pages, and a write would end an invalidation.
 */
export class ListQuery<Page extends ListPage> {
  readonly #feeds: FeedScope;
  readonly #queries: QueryClient;
  readonly #key: { queryKey: QueryKey; exact: true };
  readonly #observer: InfiniteQueryObserver<Page, Error, ListPages<Page>, QueryKey, string | null>;
  #stop: (() => void) | undefined;

  constructor(
    feeds: FeedScope,
    queries: QueryClient,
    queryKey: QueryKey,
    fetchPage: (cursor: string | null, signal: AbortSignal) => Promise<Page>,
  ) {
    this.#feeds = feeds;
    this.#queries = queries;
    this.#key = { queryKey, exact: true };
    this.#observer = new InfiniteQueryObserver(queries, {
      queryKey,
      queryFn: ({ pageParam, signal }) =>
        within(MAX_ANSWER_MS, 'the server', signal, (limited) => fetchPage(pageParam, limited)),
      initialPageParam: null as string | null,
      getNextPageParam: (page) => page.nextCursor,
      ...retryOptions,
      staleTime: Number.POSITIVE_INFINITY,
      refetchOnMount: true, // React Query fetches an invalidated list again.
      refetchOnWindowFocus: false,
      refetchOnReconnect: false,
      structuralSharing: false,
      // Without `data`, which the feed itself writes.
      notifyOnChangeProps: ['status', 'error', 'failureCount', 'fetchStatus', 'hasNextPage', 'isFetchingNextPage'],
    });
  }

  get data(): ListPages<Page> | undefined {
    return this.#queries.getQueryData<ListPages<Page>>(this.#key.queryKey);
  }

  get isFetching(): boolean {
    return this.#queries.getQueryState(this.#key.queryKey)?.fetchStatus !== 'idle';
  }

  /** True from `invalidate()` until the list has been fetched again, by this feed or another. */
  get isInvalidated(): boolean {
    return this.#queries.getQueryState(this.#key.queryKey)?.isInvalidated ?? false;
  }

  get isWritable(): boolean {
    return !this.isFetching && !this.isInvalidated && !this.#feeds.isEnded;
  }

  /** Why the last fetch failed and is not tried again; null otherwise. */
  get error(): Error | null {
    return this.#observer.getCurrentResult().error;
  }

  get hasNextPage(): boolean {
    return this.#observer.getCurrentResult().hasNextPage;
  }

  write(data: ListPages<Page>): ListPages<Page> | undefined {
    return this.#queries.setQueryData<ListPages<Page>>(this.#key.queryKey, data);
  }

  /** Fetches the list, unless it is in the cache. Calls `onChange` after a change of its status, until {@link stop}. */
  follow(onChange: () => void): void {
    if (this.#stop) return;
    const unsubscribe = this.#observer.subscribe(onChange);
    const forget = this.#feeds.whenEnded(unsubscribe);
    this.#stop = () => {
      forget();
      unsubscribe();
    };
  }

  stop(): void {
    this.#stop?.();
    this.#stop = undefined;
  }

  /** Fetches the list again. A list that nobody follows is fetched again when it is followed next. */
  invalidate(): void {
    void this.#queries.invalidateQueries(this.#key);
  }

  /** Fetches the list again if the application has removed it from the cache, for example by `queryClient.clear()`. */
  fetchIfRemoved(): void {
    if (!this.#stop || this.#feeds.isEnded || this.#queries.getQueryState(this.#key.queryKey)) return;
    this.#observer.setOptions(this.#observer.options as never); // The observer still has the removed entry.
  }

  /** Loads the next page. Does nothing without a next page. If a fetch is under way, waits for that fetch instead. */
  async fetchNextPage(): Promise<void> {
    // `cancelRefetch` would restart a fetch that is under way.
    if (this.#observer.getCurrentResult().hasNextPage) await this.#observer.fetchNextPage({ cancelRefetch: false });
  }

  /** Tries at once what has failed. */
  retry(): void {
    const { failureCount, isFetchingNextPage } = this.#observer.getCurrentResult();
    if (failureCount === 0 || !this.#stop) return;
    const repeat = () => (isFetchingNextPage ? this.fetchNextPage() : this.#queries.refetchQueries(this.#key));
    void this.#queries.cancelQueries(this.#key).then(repeat);
  }

  /** Returns the state of a list. `isSearching`: the pages are empty, and further ones are being fetched. */
  state(subscription: SubscriptionState, isSearching: boolean): ListState {
    const result = this.#observer.getCurrentResult();
    const { status, failureCount, hasNextPage, isFetchingNextPage } = result;
    const failure = result.error ?? result.failureReason;
    const isLoaded = this.data !== undefined && !(isSearching && !failure);
    const isFailing = failureCount >= MAX_PENDING_FAILURES;
    const isIdle = this.#stop === undefined;
    return {
      ...subscription,
      ...(isIdle ? { connectionState: 'idle', retryAtMs: null } : {}),
      status: isLoaded ? 'success' : this.data ? 'pending' : isFailing ? 'error' : status,
      error: isIdle ? null : failure ? runwireErrorOf(failure) : subscription.error,
      hasNextPage,
      isFetchingNextPage,
    };
  }
}
