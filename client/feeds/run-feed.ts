import type { RunwireError } from '../../shared/errors.ts';
import type { RunEvent } from '../../shared/events.ts';
import type { RunView } from '../../shared/run.ts';
import { fetchRun } from '../connection/fetch-run.ts';
import type { FeedScope } from './feed-scope.ts';
import { FoldedRun, type Snapshot } from './folded-run.ts';
import { type RunFeedQuery, subscribeTo } from './query.ts';
import { FeedSubscription, type Gap, type SubscriptionState } from './subscription.ts';

/**
 * A feed: one subscription for all hooks with the same query. It has the state of the run, and recent events for hooks that
 * join late. Each hook is an observer of the feed (`run-feed-observer.ts`). `feed-cache.ts` decides which hooks share a
 * feed.
 *
 * Each delivered event is folded once into the state of the run (`shared/run-fold.ts`), so all hooks show the same run. A
 * snapshot is a state that the server returns. The query and the observers decide when the snapshot is loaded:
 * - `from: 'start'`: no snapshot. The state starts empty.
 * - An observer wants the run (`useRun`): the snapshot is loaded first. The subscription starts at the snapshot's cursor.
 * - Otherwise: the subscription starts first, so that handlers do not wait for a query. The snapshot is loaded at
 *   `stream.live`.
 *
 * A snapshot is loaded again:
 * - after a gap (events that the server could not deliver);
 * - at `stream.live`, if the first request failed, took too long, or found no run;
 * - for a run with trimmed events: retention has removed its first events, but the server still has its state.
 */

export type RunFeedState = SubscriptionState & {
  /**
   * The run after the last delivered event. Undefined if the query has no `runId`, or has `types` or `categories`: the
   * state of a run needs all events of the run.
   */
  run: RunView | undefined;
};

/** The position of an observer that has left its feed. The observer can resume there, on the same or on another feed. */
export type Resume = {
  cursor: string | undefined;
  seq: number | null;
  run: RunView | undefined;
  needsSnapshot: boolean;
  isInGap: boolean;
  gap: Gap | null;
  lineage: object;
};

/** One hook that uses a feed. */
export type FeedObserver = {
  /** True if the observer needs the run before its events. A snapshot is then loaded first. */
  readonly wantsRun: boolean;
  /** A snapshot from the cache, which may be old. */
  readonly snapshot: Snapshot | undefined;
  receive(event: RunEvent): void;
  /** Drops the events received so far: the server has another log now, and they are not part of it. */
  clear(): void;
  /** Called when the state of the feed has changed. */
  changed(): void;
  failed(error: RunwireError): void;
};

/** Minimum number of events kept for observers that join late. Up to twice as many are held. */
const MIN_RECENT_EVENTS = 1_000;

export class RunFeed {
  readonly #query: RunFeedQuery;
  readonly #onEnd: () => void;
  readonly #subscription: FeedSubscription<RunEvent>;
  /** Undefined if the query does not deliver all events of one run. */
  readonly #run: FoldedRun | undefined;
  /** An observer that is not `joined` yet must first receive the recent events after the position `after`. */
  readonly #observers = new Map<FeedObserver, { after: number } | 'joined'>();
  #isOpened = false;
  #isEnded = false;
  #state: RunFeedState | undefined;
  #recent: RunEvent[] = [];
  /** `#recent` holds every event after this position; null while the position is unknown. */
  #recentAfter: number | null;
  /** A new object after each gap. Two positions may be compared only if they have the same lineage object. */
  #lineage: object = {};
  /** True while the next events may be older than an observer that joins now. */
  #isBehind = false;

  /** `onEnd` is called when the last observer has left, or after an error. */
  constructor(scope: FeedScope, query: RunFeedQuery, resume: Resume | undefined, onEnd: () => void) {
    this.#query = query;
    this.#onEnd = onEnd;
    this.#subscription = new FeedSubscription<RunEvent>(scope, {
      open: (cursor, observer) => subscribeTo(scope.client, query, cursor, observer),
      seqOf: ({ seq }) => seq,
      onItem: (event) => this.#onEvent(event),
      onLive: (wasLive) => this.#onLive(wasLive),
      onGap: (gap) => this.#onGap(gap),
      onError: (error) => this.#fail(error),
      onConnectionFailed: (error) => this.#reportFailure(error),
      onChange: () => this.#changed(),
    });
    const from = resume?.cursor === undefined ? undefined : resume;
    this.#run = this.#foldedRunOf(scope, from);
    this.#recentAfter = query.from === 'start' ? 0 : null;
    if (!from) return;
    this.#subscription.cursor = from.cursor;
    this.#subscription.seq = from.seq;
    this.#subscription.gap = from.gap;
    this.#subscription.isInGap = from.isInGap;
    this.#recentAfter = from.seq;
    this.#lineage = from.lineage;
    this.#isBehind = true;
  }

  /** Why the subscription ended; null while it is open. */
  get failure(): RunwireError | null {
    return this.#subscription.failure;
  }

  get isShared(): boolean {
    return this.#observers.size > 1;
  }

  /** Returns true if this feed can deliver everything that a separate subscription would deliver to the observer. */
  canServe(observer: FeedObserver, resume: Resume | undefined): boolean {
    if (this.failure || this.#isEnded) return false;
    if (resume?.cursor !== undefined) {
      return resume.lineage === this.#lineage && this.#recentAfter !== null && (resume.seq ?? 0) >= this.#recentAfter;
    }
    if (this.#query.from === 'start') return this.#recentAfter === 0;
    // With `from: 'now'`, a hook for events must not receive events from before it joined. A hook for the run may.
    return observer.wantsRun || !this.#isBehind;
  }

  /** Adds an observer. Delivery starts in a microtask, so that a component can first add handlers in an effect. */
  join(observer: FeedObserver, resume: Resume | undefined): void {
    const { seq } = this.#subscription;
    const after = resume?.cursor !== undefined ? resume.seq : this.#query.from === 'start' ? 0 : seq;
    this.#observers.set(observer, { after: after ?? 0 });
    this.#subscription.watch();
    // React's StrictMode joins, leaves and joins again in one task. Without the microtask, this would open a subscription,
    // close it and open a second one.
    queueMicrotask(() => {
      this.#open();
      this.#catchUp(observer);
    });
  }

  /**
   * Removes an observer. When the last observer has left, the feed ends: with `isAtOnce` immediately, by default in a
   * microtask, so that another observer can still join in the same task.
   */
  leave(observer: FeedObserver, { isAtOnce = false } = {}): void {
    this.#observers.delete(observer);
    const end = () => {
      if (this.#observers.size === 0) this.#end();
    };
    if (isAtOnce) end();
    else queueMicrotask(end);
  }

  /** Closes the subscription and opens a new one after the last delivered event. */
  reopen(): void {
    if (!this.#isOpened || this.#isEnded) return;
    this.#close();
    this.#subscription.open();
    this.#changed();
  }

  get resume(): Resume {
    const { cursor, seq, isInGap, gap } = this.#subscription;
    const needsSnapshot = this.#run?.isNeeded ?? false;
    return { cursor, seq, run: this.#run?.view(), needsSnapshot, isInGap, gap, lineage: this.#lineage };
  }

  /** Returns the same object until the state changes. */
  get state(): RunFeedState {
    this.#state ??= {
      ...this.#subscription.state({ needsSnapshot: this.#run?.isNeeded ?? false }),
      run: this.#run?.view(),
    };
    return this.#state;
  }

  /** Returns the run and its cursor; undefined while the run lacks events. */
  get snapshot(): Snapshot | undefined {
    const { run } = this.state;
    const { cursor } = this.#subscription;
    return run && cursor !== undefined && !this.#run?.isNeeded ? { run, cursor } : undefined;
  }

  #foldedRunOf({ client, foldEvent }: FeedScope, resume: Resume | undefined): FoldedRun | undefined {
    const { runId, projectId, types, categories, from } = this.#query;
    if (runId === undefined || types !== undefined || categories !== undefined) return undefined;
    return new FoldedRun(
      (signal) => fetchRun(client, { runId, projectId }, signal),
      foldEvent,
      { isNeeded: resume ? resume.needsSnapshot : from !== 'start', run: resume?.run },
      { onLoaded: () => this.#onSnapshot(), onError: (error) => this.#fail(error) },
    );
  }

  #open(): void {
    if (this.#isOpened || this.#isEnded || this.#observers.size === 0) return;
    this.#isOpened = true;
    const observers = [...this.#observers.keys()];
    const isRunWanted = observers.some((observer) => observer.wantsRun);
    const run = this.#run;
    if (!run?.isNeeded || this.#subscription.cursor !== undefined || !isRunWanted) {
      this.#subscription.open();
      return;
    }
    // A cached snapshot may be old, and the subscription would then deliver events from before an observer joined. Only
    // hooks for the run accept such events.
    const cached = observers.every((observer) => observer.wantsRun) && observers[0]?.snapshot;
    if (cached) this.#startFrom(run, cached, true);
    else {
      void run.fetchFirst((snapshot) => {
        // If the request failed, the snapshot is loaded at `stream.live`.
        if (snapshot) this.#startFrom(run, snapshot, false);
        else this.#subscription.open();
      });
    }
  }

  #startFrom(fold: FoldedRun, { run, cursor }: Snapshot, isBehind: boolean): void {
    fold.reset(run);
    this.#subscription.cursor = cursor;
    this.#subscription.seq = run.lastSeq;
    this.#recentAfter = run.lastSeq;
    this.#isBehind = isBehind;
    this.#subscription.open();
    this.#changed();
  }

  /** Delivers the recent events that a new observer has missed. */
  #catchUp(observer: FeedObserver): void {
    const place = this.#observers.get(observer);
    if (place === undefined || place === 'joined') return;
    this.#observers.set(observer, 'joined');
    for (const event of this.#recent.filter(({ seq }) => seq > place.after)) {
      if (this.#observers.has(observer)) observer.receive(event);
    }
    observer.changed();
  }

  #onEvent(event: RunEvent): void {
    this.#recentAfter ??= event.seq - 1;
    this.#keep(event);
    this.#run?.fold(event);
    for (const [observer, place] of [...this.#observers]) {
      if (place === 'joined' && this.#observers.has(observer)) observer.receive(event);
    }
  }

  #onLive(wasLive: boolean): void {
    this.#recentAfter ??= this.#subscription.seq;
    this.#isBehind = false;
    const run = this.#run;
    if (!run) this.#subscription.isInGap = false;
    // If no event has arrived, retention may have removed all events of the run. The server may still have its state.
    else if ((run.isNeeded || (!wasLive && run.isEmpty)) && !run.isLoading) void run.load();
  }

  #onGap({ reason, toSeq }: Gap): void {
    this.#lineage = {};
    this.#recent = [];
    this.#recentAfter = toSeq;
    // The server now has another log, or an older copy of the log. The same positions hold other events there.
    if (reason === 'epoch_changed' || reason === 'ahead') {
      for (const observer of [...this.#observers.keys()]) observer.clear();
    }
    void this.#run?.load();
  }

  #onSnapshot(): void {
    this.#subscription.isInGap = false;
    this.#changed();
  }

  #keep(event: RunEvent): void {
    this.#recent.push(event);
    if (this.#recent.length < 2 * MIN_RECENT_EVENTS) return;
    this.#recentAfter = this.#recent[this.#recent.length - MIN_RECENT_EVENTS - 1]?.seq ?? null;
    this.#recent = this.#recent.slice(-MIN_RECENT_EVENTS);
  }

  #close(): void {
    this.#run?.cancel();
    this.#subscription.close();
  }

  #end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#run?.cancel();
    this.#subscription.end();
    this.#onEnd();
  }

  #fail(error: RunwireError): void {
    if (this.#isEnded) return;
    this.#subscription.failure = error;
    this.#end();
    this.#reportFailure(error);
    this.#changed();
  }

  #reportFailure(error: RunwireError): void {
    for (const observer of [...this.#observers.keys()]) observer.failed(error);
  }

  #changed(): void {
    this.#state = undefined;
    for (const observer of this.#observers.keys()) observer.changed();
  }
}
