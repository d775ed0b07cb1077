import type { RunwireError } from '../../shared/errors.ts';
import type { RunEvent } from '../../shared/events.ts';
import type { RunView } from '../../shared/run.ts';
import { fetchRun } from '../connection/fetch-run.ts';
import type { FeedScope } from './feed-scope.ts';
import { foldFor } from './fold.ts';
import { FoldedRun, type Snapshot } from './folded-run.ts';
import { type RunFeedQuery, subscribeTo } from './query.ts';
import { RecentEvents } from './recent-events.ts';
import { FeedSubscription, type Gap, type SubscriptionState } from './subscription.ts';

/**
 * A feed: one subscription for all hooks with the same query. It has the state of the run, and recent events for hooks that
 * join late. Each hook is an observer of the feed (`run-feed-observer.ts`). `feed-cache.ts` decides which hooks share a
 * feed.
 *
 * Each observer has its own position: the last event that it was handed. {@link RunFeed.#deliver} hands it the kept events
 * after that position, one by one, be they recent or new. So an observer that leaves in between, in a handler of its own or
 * of another hook, resumes after the last event that it was handed.
 *
 * Each delivered event is folded once into the state of the run (`shared/run-fold.ts`), so all hooks show the same run. A
 * snapshot is a state that the server returns. The query and the observers decide when the snapshot is loaded:
 * - No observer wants the run: never.
 * - `from: 'start'`: no snapshot. The state starts empty.
 * - An observer starts at a snapshot (`useRun`): the snapshot is loaded first. The subscription starts at its cursor.
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
  /** May be ahead of `cursor`: an event that is folded again changes nothing. */
  run: RunView | undefined;
  needsSnapshot: boolean;
  isInGap: boolean;
  gap: Gap | null;
  lineage: object;
};

/** One hook that uses a feed. */
export type FeedObserver = {
  /** True if a snapshot is loaded before the subscription starts. */
  readonly startsAtSnapshot: boolean;
  /** True if the observer uses the state of the run. */
  readonly wantsRun: boolean;
  /** A snapshot from the cache, which may be old. */
  readonly snapshot: Snapshot | undefined;
  receive(event: RunEvent): void;
  /** Called when the server could not deliver some events to the observer. */
  missed(gap: Gap): void;
  /** Called when the state of the feed has changed. */
  changed(): void;
  failed(error: RunwireError): void;
};

/** The membership of an observer, and the position of the last event that it was handed. */
type Place = { cursor: string | undefined; seq: number | null; isStarted: boolean; isBusy: boolean };

export class RunFeed {
  readonly #query: RunFeedQuery;
  readonly #onEnd: () => void;
  readonly #subscription: FeedSubscription<RunEvent>;
  /** Undefined if the query does not deliver all events of one run. */
  readonly #run: FoldedRun | undefined;
  readonly #observers = new Map<FeedObserver, Place>();
  readonly #recent: RecentEvents;
  #isOpened = false;
  #isEnded = false;
  #status: SubscriptionState | undefined;
  /** True from a gap until the run was loaded again. */
  #isRunInGap = false;
  /** A new object after each gap. Two positions may be compared only if they have the same lineage object. */
  #lineage: object = {};
  /** True while the next events may be older than an observer that joins now. */
  #isBehind = false;

  /** `onEnd` is called when the last observer has left, after an error, or when the scope ends. */
  constructor(scope: FeedScope, query: RunFeedQuery, resume: Resume | undefined, onEnd: () => void) {
    this.#query = query;
    this.#onEnd = onEnd;
    this.#subscription = new FeedSubscription<RunEvent>(scope, {
      open: (cursor, observer) => subscribeTo(scope.client, query, cursor, observer),
      seqOf: ({ seq }) => seq,
      onItem: (event, cursor) => this.#onEvent(event, cursor),
      onLive: () => this.#onLive(),
      onGap: (gap) => this.#onGap(gap),
      onError: (error) => this.#fail(error),
      onConnectionFailed: (error) => this.#reportFailure(error),
      onChange: () => this.#changed(),
      onScopeEnd: () => this.#end(),
    });
    const from = resume?.cursor === undefined ? undefined : resume;
    this.#run = this.#foldedRunOf(scope, from);
    this.#recent = new RecentEvents(from ? from.seq : query.from === 'start' ? 0 : null);
    if (!from) return;
    this.#subscription.cursor = from.cursor;
    this.#subscription.seq = from.seq;
    this.#subscription.gap = from.gap;
    this.#isRunInGap = from.isInGap;
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
    const { after } = this.#recent;
    if (resume?.cursor !== undefined) {
      return resume.lineage === this.#lineage && after !== null && resume.seq !== null && resume.seq >= after;
    }
    if (this.#query.from === 'start') return after === 0;
    // With `from: 'now'`, a hook for events must not receive events from before it joined. A hook for the run may.
    return observer.startsAtSnapshot || !this.#isBehind;
  }

  /** Adds an observer. Delivery starts in a microtask, so that a component can first add handlers in an effect. */
  join(observer: FeedObserver, resume: Resume | undefined): void {
    const { cursor, seq } = this.#subscription;
    const from = resume?.cursor === undefined ? undefined : resume;
    const start = from ?? (this.#query.from === 'start' ? { cursor: undefined, seq: 0 } : { cursor, seq });
    const place = { cursor: start.cursor, seq: start.seq, isStarted: false, isBusy: false };
    this.#observers.set(observer, place);
    // The feed may be behind the observer. The run must not go back.
    if (from?.run) this.#run?.advanceTo(from.run, !from.needsSnapshot && (from.seq ?? 0) >= (seq ?? 0));
    this.#subscription.watch();
    // React's StrictMode joins, leaves and joins again in one task. Without the microtask, this would open a subscription,
    // close it and open a second one.
    queueMicrotask(() => {
      if (this.#observers.get(observer) !== place) return;
      this.#open();
      place.isStarted = true;
      this.#deliver(observer, place);
      this.runWanted();
      observer.changed();
    });
  }

  /**
   * Removes an observer. Returns its position. When the last observer has left, the feed ends: with `isAtOnce` immediately,
   * by default in a microtask, so that another observer can still join in the same task.
   */
  leave(observer: FeedObserver, { isAtOnce = false } = {}): Resume {
    const { cursor, seq } = this.#observers.get(observer) ?? this.#subscription;
    this.#observers.delete(observer);
    const end = () => {
      if (this.#observers.size === 0) this.#end();
    };
    if (isAtOnce) end();
    else queueMicrotask(end);
    return {
      cursor,
      seq,
      run: this.#run?.view(),
      needsSnapshot: this.#run?.isNeeded ?? false,
      isInGap: this.#isRunInGap,
      gap: this.#subscription.gap,
      lineage: this.#lineage,
    };
  }

  /** Closes the subscription and opens a new one after the last delivered event. */
  reopen(): void {
    if (!this.#isOpened || this.#isEnded) return;
    this.#run?.cancel();
    this.#subscription.close();
    this.#subscription.open();
    this.#changed();
  }

  /** Call when an observer wants the run. Loads the snapshot if it is needed and the subscription does not load it later. */
  runWanted(): void {
    if (this.#isRunInGap || this.#subscription.isLive) this.#loadRun();
  }

  stateOf(observer: FeedObserver): RunFeedState {
    this.#status ??= this.#subscription.state();
    const { cursor, seq } = this.#observers.get(observer) ?? this.#subscription;
    const state = { ...this.#status, seq: cursor === undefined ? null : seq, run: undefined };
    if (!this.#run || !observer.wantsRun) return state;
    const isLoading = this.#run.isNeeded && state.phase === 'live';
    return {
      ...state,
      phase: this.#isRunInGap ? 'gap' : isLoading ? 'replaying' : state.phase,
      run: this.#run.view(),
    };
  }

  /** Returns the cursor of the last event that an observer was handed. */
  cursorOf(observer: FeedObserver): string | undefined {
    return this.#observers.get(observer)?.cursor;
  }

  /** Returns the run and its cursor; undefined while the run lacks events. */
  get snapshot(): Snapshot | undefined {
    const { cursor } = this.#subscription;
    const run = this.#run?.isNeeded ? undefined : this.#run?.view();
    return run && cursor !== undefined ? { run, cursor } : undefined;
  }

  get #isRunWanted(): boolean {
    return [...this.#observers.keys()].some(({ wantsRun }) => wantsRun);
  }

  #foldedRunOf({ client, events }: FeedScope, resume: Resume | undefined): FoldedRun | undefined {
    const { runId, projectId, types, categories, from } = this.#query;
    if (runId === undefined || types !== undefined || categories !== undefined) return undefined;
    return new FoldedRun(
      // The snapshot may come from a server that is behind the one of the socket.
      (signal) => fetchRun(client, { runId, projectId, atLeast: this.#subscription.cursor }, signal),
      foldFor(events),
      { isNeeded: resume ? resume.needsSnapshot : from !== 'start', run: resume?.run },
      {
        onMissing: () => this.#loadRun(),
        onLoaded: () => this.#onSnapshot(),
        onError: (error) => this.#fail(error),
      },
    );
  }

  #open(): void {
    if (this.#isOpened || this.#isEnded) return;
    this.#isOpened = true;
    const observers = [...this.#observers.keys()];
    const run = this.#run;
    const startsAtSnapshot = observers.some((observer) => observer.startsAtSnapshot);
    if (!run?.isNeeded || this.#subscription.cursor !== undefined || !startsAtSnapshot) {
      this.#subscription.open();
      return;
    }
    // A cached snapshot may be old, and the subscription would then deliver events from before an observer joined. Only
    // hooks for the run accept such events.
    const cached = observers.every((observer) => observer.startsAtSnapshot) && observers[0]?.snapshot;
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
    this.#recent.after = run.lastSeq;
    this.#isBehind = isBehind;
    this.#deliverAll();
    this.#subscription.open();
    this.#changed();
  }

  #onEvent(event: RunEvent, cursor: string): void {
    this.#recent.add(cursor, event);
    this.#run?.fold(event);
    this.#deliverAll();
    if (this.#recent.isFull && [...this.#observers.values()].every(({ seq }) => (seq ?? 0) >= event.seq))
      this.#recent.trim();
  }

  #onLive(): void {
    this.#recent.after ??= this.#subscription.seq;
    this.#isBehind = false;
    this.#subscription.isInGap = false;
    this.#deliverAll();
    this.#loadRun();
  }

  #onGap(gap: Gap): void {
    this.#deliverAll({ isForced: true });
    this.#lineage = {};
    this.#recent.reset(gap.toSeq);
    if (this.#run) {
      this.#isRunInGap = true;
      this.#run.invalidate();
      this.#loadRun();
    }
    const { cursor } = this.#subscription;
    for (const [observer, place] of [...this.#observers]) {
      if (this.#observers.get(observer) !== place) continue;
      // An observer that resumed ahead of the feed may have received the events before they expired.
      if (!isOtherLog(gap) && (place.seq ?? 0) > gap.toSeq) continue;
      place.cursor = cursor;
      place.seq = gap.toSeq;
      observer.missed(gap);
    }
  }

  #onSnapshot(): void {
    this.#isRunInGap = false;
    this.#subscription.isInGap = false;
    this.#changed();
  }

  /**
   * Hands events to all observers. Observers that have joined in this task get theirs later; with `isForced` they get them
   * too, because the events will not be kept.
   */
  #deliverAll({ isForced = false } = {}): void {
    // An observer that leaves and joins again in a handler is at the end of the Map then, and its turn comes again.
    for (const [observer, place] of this.#observers) {
      if (place.isStarted || isForced) this.#deliver(observer, place);
    }
  }

  /** Hands an observer the kept events after its position, until it has them all or leaves. */
  #deliver(observer: FeedObserver, place: Place): void {
    if (place.isBusy) return; // A handler has caused this call. The call around it goes on.
    place.isBusy = true;
    const isHere = () => this.#observers.get(observer) === place && !this.#isEnded;
    while (isHere()) {
      const next = this.#recent.next(place.seq ?? 0);
      if (!next) break;
      place.cursor = next.cursor;
      place.seq = next.event.seq;
      observer.receive(next.event);
    }
    place.isBusy = false;
    const { cursor, seq } = this.#subscription;
    if (!isHere() || (seq ?? 0) < (place.seq ?? 0)) return;
    place.cursor = cursor;
    place.seq = seq;
  }

  /** Loads the snapshot if an observer wants the run and the state lacks events. */
  #loadRun(): void {
    const run = this.#run;
    if (!run || run.isLoading || this.#isEnded || !this.#isRunWanted) return;
    // If no event has arrived, retention may have removed all events of the run. The server may still have its state.
    if (run.isNeeded || (run.isEmpty && !run.wasLoaded)) void run.load();
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
    for (const observer of [...this.#observers.keys()]) {
      if (this.#observers.has(observer)) observer.failed(error);
    }
  }

  #changed(): void {
    this.#status = undefined;
    for (const observer of this.#observers.keys()) observer.changed();
  }
}

/** Returns whether the server now has another log, or an older copy of the log. The same positions hold other events there. */
export const isOtherLog = ({ reason }: Gap): boolean => reason === 'epoch_changed' || reason === 'ahead';
