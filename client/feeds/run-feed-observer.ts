import type { RunEvent } from '../../shared/events.ts';
import type { ConnectionState } from '../connection/reconnect-policy.ts';
import type { FeedCache } from './feed-cache.ts';
import { Handlers, report } from './handlers.ts';
import { keyOf, type RunFeedQuery } from './query.ts';
import type { FeedObserver, Resume, RunFeed, RunFeedState, Snapshot } from './run-feed.ts';

/** What one hook makes of a feed that it may share: its handlers, its latest events, and whether it is on at all. */

export type RunFeedObserverState = RunFeedState & {
  /** {@link keyOf} the query that this came of. */
  key: string | undefined;
  /** The latest events, oldest first, at most `limit`. */
  events: readonly RunEvent[];
};

export const DEFAULT_LIMIT = 1_000;

export const blankState = (key: string | undefined, connectionState: ConnectionState): RunFeedObserverState => ({
  key,
  connectionState,
  error: null,
  retryAtMs: null,
  events: [],
  run: undefined,
  phase: 'replaying',
  seq: null,
  gap: null,
});

export class RunFeedObserver implements FeedObserver {
  readonly handlers = new Handlers();
  readonly wantsRun: boolean;
  /** Called when the subscription ends with an error, and when the connection has failed for good. */
  onError: ((error: Error) => void) | undefined;
  /** Given what the run has become, before the listeners are told. */
  onSnapshot: ((snapshot: Snapshot) => void) | undefined;
  /** One that is at hand from before. */
  snapshot: Snapshot | undefined;

  readonly #feeds: FeedCache;
  readonly #listeners = new Set<() => void>();
  #limit = DEFAULT_LIMIT;
  #query: RunFeedQuery | undefined;
  #key: string | undefined;
  /** Whether somebody follows, and whether `disconnect()` was called since. */
  #isFollowed = false;
  #isDisconnected = false;
  #feed: RunFeed | undefined;
  /** Where it left the last feed. */
  #resume: Resume | undefined;
  #events: RunEvent[] = [];
  #haveEventsChanged = false;
  #state = blankState(undefined, 'idle');

  constructor(feeds: FeedCache, { wantsRun = false } = {}) {
    this.#feeds = feeds;
    this.wantsRun = wantsRun;
  }

  /** The same object until something changes; changes are told at most once a frame. */
  readonly getState = (): RunFeedObserverState => this.#state;
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  set limit(limit: number) {
    if (limit === this.#limit) return;
    this.#limit = limit;
    this.#haveEventsChanged = true;
    this.changed();
  }

  /**
   * Follows a query until the function returned is called. The same query again goes on after the last event; another
   * one begins anew. Delivery begins in a later task, so that whoever mounts together with this can add handlers first.
   */
  follow(query: RunFeedQuery): () => void {
    const key = keyOf(query);
    if (key !== this.#key) {
      this.#query = query;
      this.#key = key;
      this.#resume = undefined;
      this.#events = [];
      this.#haveEventsChanged = true;
      this.#state = blankState(key, 'connecting');
    }
    this.#isFollowed = true;
    this.#join();
    this.changed();
    return () => {
      this.#isFollowed = false;
      this.#leave();
      if (this.#listeners.size > 0) this.changed();
      else this.#feeds.frames.delete(this.#update);
    };
  }

  /** Ends the subscription and keeps its cursor. */
  readonly disconnect = (): void => {
    this.#isDisconnected = true;
    this.#leave({ isAtOnce: true });
    this.changed();
  };

  /**
   * Subscribes anew after the last event, failures forgotten; a subscription that others share and that stands is left
   * alone. Where the connection itself is down, tries that now.
   */
  readonly reconnect = (): void => {
    this.#isDisconnected = false;
    const { state } = this.#feeds.connection.getStatus();
    if (state === 'failed' || state === 'reconnecting') this.#feeds.connection.reconnect();
    if (this.#feed?.failure) this.#leave();
    if (this.#feed && !this.#feed.isShared) this.#feed.reopen();
    else this.#join();
    this.changed();
  };

  receive(event: RunEvent): void {
    this.#events.push(event);
    this.#haveEventsChanged = true;
    if (this.#events.length >= 2 * this.#limit + 64) this.#events = this.#latest();
    this.handlers.deliver(event);
  }

  clear(): void {
    this.#events = [];
    this.#haveEventsChanged = true;
  }

  failed(error: Error): void {
    try {
      this.onError?.(error);
    } catch (thrown) {
      report(thrown);
    }
  }

  changed(): void {
    this.#feeds.frames.add(this.#update);
  }

  #join(): void {
    if (!this.#isFollowed || this.#isDisconnected || this.#feed) return;
    this.#feed = this.#feeds.join(this.#query as RunFeedQuery, this, this.#resume);
  }

  #leave(how: { isAtOnce?: boolean } = {}): void {
    if (!this.#feed) return;
    this.#resume = this.#feed.resume;
    this.#feed.leave(this, how);
    this.#feed = undefined;
  }

  #latest(): RunEvent[] {
    return this.#events.slice(Math.max(0, this.#events.length - this.#limit));
  }

  readonly #update = (): void => {
    const events = this.#haveEventsChanged ? this.#latest() : this.#state.events;
    this.#haveEventsChanged = false;
    this.#state = { ...(this.#feed?.state ?? this.#stateWithoutFeed()), key: this.#key, events };
    const snapshot = this.onSnapshot && this.#feed?.snapshot;
    if (snapshot) this.onSnapshot?.(snapshot);
    for (const listener of [...this.#listeners]) listener();
  };

  #stateWithoutFeed(): RunFeedState {
    const { run, seq = null, gap = null, isInGap = false } = this.#resume ?? {};
    const connectionState = this.#isFollowed ? 'disconnected' : 'idle';
    return { connectionState, error: null, retryAtMs: null, run, phase: isInGap ? 'gap' : 'replaying', seq, gap };
  }
}
