import type { RunwireError } from '../../shared/errors.ts';
import type { RunEvent } from '../../shared/events.ts';
import type { RunView } from '../../shared/run.ts';
import type { ConnectionState } from '../connection/reconnect-policy.ts';
import { Store } from '../connection/store.ts';
import { callSafely } from '../errors.ts';
import type { FeedCache } from './feed-cache.ts';
import type { Snapshot } from './folded-run.ts';
import { Handlers } from './handlers.ts';
import { keyOf, type RunFeedQuery } from './query.ts';
import { type FeedObserver, isOtherLog, type Resume, RunFeed, type RunFeedState } from './run-feed.ts';
import { type Gap, reconnectIfDown } from './subscription.ts';

export type RunFeedObserverState = RunFeedState & {
  /** The key ({@link keyOf}) of the query that this state belongs to; undefined before the first query. */
  key: string | undefined;
  /** The latest events, oldest first, at most `limit`. */
  events: readonly RunEvent[];
  /**
   * The position after the last event that the hook was handed; null before its first position. A later hook continues there
   * with `lastEventId`, also after a reload of the page.
   */
  cursor: string | null;
};

/** An event that ends a run. */
export type RunEndEvent = Extract<RunEvent, { type: 'run.completed' | 'run.failed' }>;

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
  cursor: null,
});

/**
 * One hook that uses a feed. Several hooks may share a feed (`run-feed.ts`), which has the subscription. The observer has
 * the hook's handlers, its latest events, and its position while it is disconnected. The hook's state changes at most once
 * per frame of the display.
 */
export class RunFeedObserver implements FeedObserver {
  readonly handlers: Handlers;
  readonly startsAtSnapshot: boolean;
  /** Called for each event, before the handlers. */
  onEvent: ((event: RunEvent, cursor: string) => unknown) | undefined;
  /** Called for each event that ends the run, after the handlers. */
  onEnd: ((event: RunEndEvent) => unknown) | undefined;
  /** Called when the server could not deliver some events to this hook. */
  onGap: ((gap: Gap) => unknown) | undefined;
  /** Called when the subscription ends with an error, and when the connection becomes `failed`. */
  onError: ((error: RunwireError) => unknown) | undefined;
  /** Called with the run and its cursor at each update, before the listeners of the state. */
  onSnapshot: ((snapshot: Snapshot) => void) | undefined;
  snapshot: Snapshot | undefined;

  readonly #feeds: FeedCache;
  readonly #store = new Store(blankState(undefined, 'idle'));
  #limit = DEFAULT_LIMIT;
  #query: RunFeedQuery | undefined;
  #key: string | undefined;
  #isFollowing = false;
  #isDisconnected = false;
  #isPaused = false;
  #isStopped = false;
  #stopsOnEnd = false;
  #hasEnded = false;
  #feed: RunFeed | undefined;
  #resume: Resume | undefined;
  #events: RunEvent[] = [];
  #haveEventsChanged = false;
  #wantsRun: boolean;
  /** The calls for the last event that are still to be made. */
  #calls: Iterator<() => void> | undefined;

  /** `startsAtSnapshot`: the run is loaded before the subscription starts. Without it, {@link wantsRun} is false at first. */
  constructor(feeds: FeedCache, { startsAtSnapshot = false, handlers = new Handlers(feeds.events) } = {}) {
    this.#feeds = feeds;
    this.handlers = handlers;
    this.startsAtSnapshot = startsAtSnapshot;
    this.#wantsRun = startsAtSnapshot;
  }

  /**
   * True if the state of the run is used. Without it, `run` in the state is undefined, no snapshot is requested, and the phase
   * is `live` without one. May be set at any time, also during a render.
   */
  get wantsRun(): boolean {
    return this.#wantsRun;
  }

  set wantsRun(wantsRun: boolean) {
    if (wantsRun === this.#wantsRun) return;
    this.#wantsRun = wantsRun;
    this.#feed?.runWanted();
    if (this.#key !== undefined) this.changed();
  }

  /**
   * True to end the subscription once the run has ended and everything up to now was delivered. The run is then wanted, since
   * it may have ended before the first event.
   */
  set stopsOnEnd(stopsOnEnd: boolean) {
    if (stopsOnEnd === this.#stopsOnEnd) return;
    this.#stopsOnEnd = stopsOnEnd;
    if (stopsOnEnd) this.wantsRun = true;
    else if (this.#isStopped) {
      this.#isStopped = false;
      this.#join();
    }
    if (this.#key !== undefined) this.changed();
  }

  /** True to end the subscription for a while. It keeps its position. */
  set isPaused(isPaused: boolean) {
    if (isPaused === this.#isPaused) return;
    this.#isPaused = isPaused;
    if (isPaused) this.#leave();
    else this.#join();
    this.changed();
  }

  /** The cursor of the last event that this hook was handed; undefined before its first position. */
  get cursor(): string | undefined {
    return this.#feed ? this.#feed.cursorOf(this) : this.#resume?.cursor;
  }

  /** Returns the state, as the same object until the state changes. */
  readonly getState = this.#store.getState;
  readonly subscribe = this.#store.subscribe;

  set limit(limit: number) {
    if (limit === this.#limit) return;
    this.#limit = limit;
    this.#haveEventsChanged = true;
    this.changed();
  }

  /**
   * Subscribes to a query until the returned function is called. If the last query was equal, the subscription resumes
   * after the last event; otherwise the old events are dropped, and it starts after the cursor `lastEventId`, if given.
   * Delivery starts in a microtask, so that handlers can be added first.
   */
  follow(query: RunFeedQuery, lastEventId?: string): () => void {
    const key = keyOf(query);
    if (key !== this.#key) {
      this.#query = query;
      this.#key = key;
      this.#resume = lastEventId === undefined ? undefined : resumeAfter(lastEventId);
      this.#calls = undefined;
      this.#isStopped = false;
      this.#hasEnded = false;
      this.#events = [];
      this.#haveEventsChanged = true;
      this.#store.state = blankState(key, 'connecting');
    }
    this.#isFollowing = true;
    this.#join();
    this.changed();
    return () => {
      this.#isFollowing = false;
      this.#leave();
      if (this.#store.hasListeners) this.changed();
      else this.#feeds.frames.delete(this.#update);
    };
  }

  /** Ends the hook's subscription and keeps its position. */
  readonly disconnect = (): void => {
    this.#isDisconnected = true;
    this.#leave({ isAtOnce: true });
    this.changed();
  };

  /** Resumes after `disconnect()` or an error. An open subscription is opened again, unless other hooks share it. */
  readonly reconnect = (): void => {
    this.#isDisconnected = false;
    this.#isStopped = false;
    reconnectIfDown(this.#feeds.connection);
    if (this.#feed?.failure) this.#leave();
    if (this.#feed && !this.#feed.isShared) this.#feed.reopen();
    else this.#join();
    this.changed();
  };

  receive(event: RunEvent): void {
    this.#events.push(event);
    this.#haveEventsChanged = true;
    if (this.#events.length >= 2 * this.#limit + 64) this.#events = this.#latest();
    if (isEnd(event)) this.#hasEnded = true;
    this.#calls = this.#callsFor(event);
    this.#callHandlers();
  }

  missed(gap: Gap): void {
    if (isOtherLog(gap)) {
      this.#events = [];
      this.#haveEventsChanged = true;
    }
    callSafely(() => this.onGap?.(gap));
  }

  failed(error: RunwireError): void {
    callSafely(() => this.onError?.(error));
  }

  changed(): void {
    this.#feeds.frames.add(this.#update);
  }

  #join(): void {
    const isOff = this.#isDisconnected || this.#isPaused || this.#isStopped;
    if (!this.#isFollowing || isOff || this.#feed) return;
    // A handler may have disconnected the hook while further handlers waited for the same event. They come first.
    queueMicrotask(() => this.#callHandlers());
    this.#feed = this.#feeds.join(RunFeed, this.#query as RunFeedQuery, this, this.#resume);
  }

  #leave(options: { isAtOnce?: boolean } = {}): void {
    if (!this.#feed) return;
    this.#resume = this.#feed.leave(this, options);
    this.#feed = undefined;
  }

  *#callsFor(event: RunEvent): Generator<() => void, undefined> {
    const { onEvent, onEnd } = this;
    const { cursor = '' } = this; // Set before an event is received.
    if (onEvent) yield () => callSafely(() => onEvent(event, cursor));
    yield* this.handlers.calls(event);
    if (onEnd && isEnd(event) && this.#query?.runId !== undefined) yield () => callSafely(() => onEnd(event));
  }

  /** Makes the remaining calls for the last event, until one of them disconnects the hook. */
  #callHandlers(): void {
    while (this.#feed && !this.#feeds.isEnded) {
      const next = this.#calls?.next();
      if (!next || next.done) return;
      next.value();
    }
  }

  #latest(): RunEvent[] {
    return this.#events.slice(Math.max(0, this.#events.length - this.#limit));
  }

  readonly #update = (): void => {
    const events = this.#haveEventsChanged ? this.#latest() : this.#store.state.events;
    this.#haveEventsChanged = false;
    const snapshot = this.onSnapshot && this.#feed?.snapshot;
    if (snapshot) this.onSnapshot?.(snapshot);
    this.#stopAtEnd();
    const state = this.#feed?.stateOf(this) ?? this.#stateWithoutFeed();
    this.#store.state = { ...state, key: this.#key, events, cursor: this.cursor ?? null };
    this.#store.notify();
  };

  #stopAtEnd(): void {
    if (!this.#stopsOnEnd || this.#query?.runId === undefined) return;
    const state = this.#feed?.stateOf(this);
    if (state?.phase !== 'live' || !(this.#hasEnded || isOver(state.run))) return;
    this.#isStopped = true;
    this.#leave();
  }

  #stateWithoutFeed(): RunFeedState {
    const { seq = null, gap = null, isInGap = false } = this.#resume ?? {};
    const run = this.#wantsRun ? this.#resume?.run : undefined;
    const phase = isInGap && this.#wantsRun ? 'gap' : 'replaying';
    const connectionState = this.#isFollowing ? 'disconnected' : 'idle';
    return { connectionState, error: null, retryAtMs: null, run, phase, seq, gap };
  }
}

const isEnd = (event: RunEvent): event is RunEndEvent => event.type === 'run.completed' || event.type === 'run.failed';

const isOver = (run: RunView | undefined) => run?.status === 'completed' || run?.status === 'failed';

/** The position after a cursor from outside. Nothing else is known of it. */
const resumeAfter = (cursor: string): Resume => ({
  cursor,
  seq: null,
  run: undefined,
  needsSnapshot: true,
  isInGap: false,
  gap: null,
  lineage: {},
});
