import type { TRPCClientErrorLike } from '@trpc/client';
import type { AppRouter } from '../server/router.ts';
import { type ErrorCode, errorTable } from '../shared/errors.ts';
import {
  type EventCategory,
  foldEvent,
  isSignal,
  type RunEvent,
  type RunEventType,
  type StreamSignal,
} from '../shared/events.ts';
import { RunMemory, type RunView } from '../shared/run.ts';
import type { Connection } from './connection.ts';
import { onNextFrame } from './frame.ts';
import { Handlers, report } from './handlers.ts';
import type { RunwireClient } from './index.ts';
import { backoffMs, type ConnectionState } from './pacer.ts';

/**
 * One subscription and what is made of it: handlers that are called, the latest events, and the folded run. Free of any
 * framework; `useRunEvents` is a thin shell around it.
 *
 * The run is folded here from the very events that the handlers see, so that all of them agree. A fold needs a base:
 * nothing, when the run is followed from its first event; else a snapshot, `run.get`, asked for once the subscription is
 * known to stand, so that nothing falls between. The same way serves `from: 'now'`, a gap, and a run whose first events
 * are no longer kept (its first `runSeq` is not 1, for the log keeps views longer than events). Asking for the snapshot
 * first and subscribing after its cursor would be shorter, but then handlers wait for a query they do not need.
 */

export type RunFeedScope =
  | { runId: string; projectId?: string | undefined; scope?: undefined }
  | { projectId: string; runId?: undefined; scope?: undefined }
  /** `user`: what concerns the caller; `all`: whatever the caller may read. */
  | { scope: 'user' | 'all'; runId?: undefined; projectId?: undefined };

export type RunFeedQuery = RunFeedScope & {
  /** Only these types, and those of these categories; default all. */
  types?: readonly RunEventType[] | undefined;
  categories?: readonly EventCategory[] | undefined;
  /** Default `now`. */
  from?: 'now' | 'start' | undefined;
};

/**
 * `replaying`: catching up. `live`: all there is has been seen, and `run` is whole. `gap`: events are missing for good
 * (`gap` says which), and the snapshot that replaces them is not there yet.
 */
export type RunFeedPhase = 'replaying' | 'live' | 'gap';

export type RunFeedState = {
  /** {@link keyOf} the query that this came of. */
  key: string | undefined;
  connectionState: ConnectionState;
  /** Why the subscription ended, or why there is no connection; null while all is well. */
  error: Error | null;
  /** Unix ms of the next try to connect; null when none is planned. */
  retryAtMs: number | null;
  /** The latest events, oldest first, at most `limit`. */
  events: readonly RunEvent[];
  /** The run as of the last event; only with `runId` and neither `types` nor `categories`, which a fold cannot do without. */
  run: RunView | undefined;
  phase: RunFeedPhase;
  /** Everything that matches has been seen up to this position of the log; null before the first word of the server. */
  seq: number | null;
  /** The last gap, also after it has been made up for. */
  gap: Gap | null;
};
export type Gap = Pick<Extract<StreamSignal, { type: 'stream.gap' }>, 'reason' | 'fromSeq' | 'toSeq'>;

type Item = RunEvent | StreamSignal;

export const DEFAULT_LIMIT = 1_000;
const SNAPSHOT_RETRY_MS = 1_000;
const SNAPSHOT_RETRY_MOST_MS = 30_000;

/** Two queries with the same key are the same subscription. */
export const keyOf = ({ runId, projectId, scope, types, categories, from = 'now' }: RunFeedQuery): string =>
  JSON.stringify([runId, projectId, scope, types, categories, from]);

export const blankState = (key: string | undefined, connectionState: ConnectionState): RunFeedState => ({
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

export class RunFeed {
  readonly handlers = new Handlers();
  /** Called when the subscription ends with an error, and when the connection has failed for good. */
  onError: ((error: Error) => void) | undefined;

  readonly #client: RunwireClient;
  readonly #connection: Connection<AppRouter>;
  readonly #listeners = new Set<() => void>();
  #limit = DEFAULT_LIMIT;
  #query: RunFeedQuery | undefined;
  #key: string | undefined;
  /** Whether somebody follows, and whether `disconnect()` was called since. */
  #isFollowed = false;
  #isDisconnected = false;
  #subscription: { unsubscribe(): void } | undefined;
  #stopWatching: (() => void) | undefined;
  #cancelFrame: (() => void) | undefined;
  #state = blankState(undefined, 'idle');

  // What came of the query. The cursor outlives disconnections.
  #cursor: string | undefined;
  #seq: number | null = null;
  #events: RunEvent[] = [];
  #haveEventsChanged = false;
  #failure: Error | null = null;
  #isLive = false;
  #isInGap = false;
  #gap: Gap | null = null;
  #run = new RunMemory();
  #needsSnapshot = false;
  #loading: AbortController | undefined;
  /** Events that came while a snapshot was under way, which may hold them or not. */
  #meanwhile: RunEvent[] | undefined;

  constructor(client: RunwireClient, connection: Connection<AppRouter>) {
    this.#client = client;
    this.#connection = connection;
  }

  /** The same object until something changes; changes are told at most once a frame. */
  readonly getState = (): RunFeedState => this.#state;
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  set limit(limit: number) {
    if (limit === this.#limit) return;
    this.#limit = limit;
    this.#haveEventsChanged = true;
    this.#changed();
  }

  /**
   * Follows a query until the function returned is called. The same query again goes on after the last event; another
   * one begins anew. Delivery begins in a later task, so that whoever mounts together with this can add handlers first.
   */
  follow(query: RunFeedQuery): () => void {
    const key = keyOf(query);
    if (key !== this.#key) this.#reset(query, key);
    this.#isFollowed = true;
    let { state } = this.#connection.getStatus();
    this.#stopWatching = this.#connection.subscribe(() => {
      const status = this.#connection.getStatus();
      // Whatever comes next begins with what was missed, and ends with stream.live.
      if (status.state !== 'connected') this.#isLive = false;
      if (status.state === 'failed' && state !== 'failed' && this.#subscription && status.error) {
        this.#report(status.error);
      }
      state = status.state;
      this.#changed();
    });
    // StrictMode follows, leaves and follows within one task: that comes to one subscription.
    queueMicrotask(() => this.#open());
    this.#changed();
    return () => {
      this.#isFollowed = false;
      this.#stopWatching?.();
      this.#close();
      if (this.#listeners.size > 0) this.#changed();
      else this.#forgetChanges();
    };
  }

  /** Ends the subscription and keeps its cursor. */
  readonly disconnect = (): void => {
    this.#isDisconnected = true;
    this.#close();
    this.#changed();
  };

  /** Subscribes anew after the last event; where the connection itself is down, tries that now, failures forgotten. */
  readonly reconnect = (): void => {
    this.#isDisconnected = false;
    this.#failure = null;
    this.#close();
    const { state } = this.#connection.getStatus();
    if (state === 'failed' || state === 'reconnecting') this.#connection.reconnect();
    this.#open();
    this.#changed();
  };

  #reset(query: RunFeedQuery, key: string): void {
    this.#query = query;
    this.#key = key;
    this.#cursor = undefined;
    this.#seq = null;
    this.#events = [];
    this.#haveEventsChanged = true;
    this.#failure = null;
    this.#isInGap = false;
    this.#gap = null;
    this.#run = new RunMemory();
    this.#needsSnapshot = this.#folds && query.from !== 'start';
    this.#state = blankState(key, 'connecting');
  }

  /** Whether there is a run to fold, and all of its events to fold it from. */
  get #folds(): boolean {
    const { runId, types, categories } = this.#query ?? {};
    return runId !== undefined && types === undefined && categories === undefined;
  }

  #open(): void {
    if (!this.#isFollowed || this.#isDisconnected || this.#failure || this.#subscription) return;
    const { runId, projectId, scope, types, categories, from } = this.#query as RunFeedQuery;
    const common = {
      from,
      lastEventId: this.#cursor,
      ...(types ? { types: [...types] } : {}),
      ...(categories ? { categories: [...categories] } : {}),
    };
    const observer = {
      onData: ({ id, data }: { id: string; data: Item }) => this.#receive(id, data),
      onError: (error: TRPCClientErrorLike<AppRouter>) => this.#fail(error as unknown as Error),
    };
    this.#subscription =
      runId !== undefined
        ? this.#client.onRunEvent.subscribe({ runId, projectId, ...common }, observer)
        : projectId !== undefined
          ? this.#client.onProjectEvent.subscribe({ projectId, ...common }, observer)
          : scope === 'user'
            ? this.#client.onUserEvent.subscribe(common, observer)
            : this.#client.onEvent.subscribe(common, observer);
  }

  #close(): void {
    const subscription = this.#subscription;
    this.#subscription = undefined;
    this.#isLive = false;
    this.#dropSnapshot();
    subscription?.unsubscribe();
  }

  #fail(error: Error): void {
    this.#failure = error;
    this.#close();
    this.#report(error);
    this.#changed();
  }

  #report(error: Error): void {
    try {
      this.onError?.(error);
    } catch (thrown) {
      report(thrown);
    }
  }

  #receive(cursor: string, item: Item): void {
    this.#cursor = cursor;
    if (!isSignal(item)) {
      this.#seq = item.seq;
      this.#keep(item);
      if (this.#folds) this.#fold(item);
      this.handlers.deliver(item);
    } else if (item.type === 'stream.live') {
      // The log keeps views longer than events: with no event to show for it, a run may still have its view.
      const isUnseen = !this.#isLive && this.#folds && this.#run.header() === undefined;
      this.#seq = item.seq;
      this.#isLive = true;
      if (!this.#folds) this.#isInGap = false;
      if (this.#needsSnapshot || isUnseen) this.#loadSnapshot();
    } else {
      const { reason, fromSeq, toSeq } = item;
      this.#seq = toSeq;
      this.#gap = { reason, fromSeq, toSeq };
      this.#isLive = false;
      this.#isInGap = true;
      // Another log, or an older copy of this one: what was seen is not part of it, and its positions come again.
      if (reason === 'epoch_changed' || reason === 'ahead') {
        this.#events = [];
        this.#haveEventsChanged = true;
      }
      if (this.#folds) this.#loadSnapshot();
    }
    this.#changed();
  }

  #keep(event: RunEvent): void {
    this.#events.push(event);
    this.#haveEventsChanged = true;
    if (this.#events.length >= 2 * this.#limit + 64) this.#events = this.#latest();
  }

  #latest(): RunEvent[] {
    return this.#events.slice(Math.max(0, this.#events.length - this.#limit));
  }

  #fold(event: RunEvent): void {
    this.#meanwhile?.push(event);
    if (this.#needsSnapshot) return;
    const isNext = event.runSeq <= (this.#run.header()?.lastRunSeq ?? 0) + 1;
    if (isNext) foldEvent(this.#run, event);
    else this.#loadSnapshot();
  }

  /** Loads the folded run, however often it takes while the subscription lasts. Until then `run` stays as it is. */
  async #loadSnapshot(): Promise<void> {
    this.#dropSnapshot();
    this.#needsSnapshot = true;
    this.#loading = new AbortController();
    const { signal } = this.#loading;
    const { runId, projectId } = this.#query as { runId: string; projectId?: string };
    for (let attempt = 1; !signal.aborted; attempt++) {
      this.#meanwhile = [];
      const answer = await this.#client.run.get.query({ runId, projectId }, { signal }).then(
        ({ run }) => ({ run }),
        (error: Error) => ({ error }),
      );
      if (signal.aborted) return;
      if ('run' in answer) return this.#rebase(new RunMemory(answer.run));
      const code = codeOf(answer.error);
      if (code === 'RUN_NOT_FOUND') return this.#rebase(new RunMemory());
      if (code !== undefined && !errorTable[code].retryable) return this.#fail(answer.error);
      this.#meanwhile = undefined; // The next snapshot holds what comes until it is asked for.
      await pause(backoffMs(attempt, SNAPSHOT_RETRY_MS, SNAPSHOT_RETRY_MOST_MS, Math.random), signal);
    }
  }

  #rebase(base: RunMemory): void {
    for (const event of this.#meanwhile ?? []) foldEvent(base, event);
    this.#meanwhile = undefined;
    this.#loading = undefined;
    this.#run = base;
    this.#needsSnapshot = false;
    this.#isInGap = false;
    this.#changed();
  }

  /** What was under way is not waited for; it stays needed. */
  #dropSnapshot(): void {
    this.#loading?.abort();
    this.#loading = undefined;
    this.#meanwhile = undefined;
  }

  #changed(): void {
    this.#cancelFrame ??= onNextFrame(() => {
      this.#cancelFrame = undefined;
      this.#state = this.#makeState();
      for (const listener of [...this.#listeners]) listener();
    });
  }

  #forgetChanges(): void {
    this.#cancelFrame?.();
    this.#cancelFrame = undefined;
  }

  #makeState(): RunFeedState {
    const { state, error, retryAtMs } = this.#connection.getStatus();
    const isIdle = !this.#isFollowed;
    const events = this.#haveEventsChanged ? this.#latest() : this.#state.events;
    this.#haveEventsChanged = false;
    return {
      key: this.#key,
      connectionState: isIdle
        ? 'idle'
        : this.#isDisconnected
          ? 'disconnected'
          : this.#failure
            ? 'failed'
            : state === 'idle'
              ? 'connecting'
              : state,
      error: this.#failure ?? (isIdle || this.#isDisconnected ? null : error),
      retryAtMs: isIdle || this.#isDisconnected || this.#failure ? null : retryAtMs,
      events,
      run: this.#folds ? this.#run.view() : undefined,
      phase: this.#isInGap ? 'gap' : this.#isLive && !this.#needsSnapshot ? 'live' : 'replaying',
      seq: this.#seq,
      gap: this.#gap,
    };
  }
}

/** The code of the error table that an answer carries; undefined where no answer came. */
function codeOf(error: object): ErrorCode | undefined {
  const { data } = error as { data?: { runwireCode?: ErrorCode } | null };
  return data?.runwireCode;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
