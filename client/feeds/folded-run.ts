import type { RunwireError } from '../../shared/errors.ts';
import type { RunEvent } from '../../shared/events.ts';
import type { RunRows, RunView } from '../../shared/run.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import { runwireErrorOf } from '../errors.ts';
import { retryLoading } from './subscription.ts';

/** The state of a run, and the cursor (position) of the last event that the state includes. */
export type Snapshot = { run: RunView; cursor: string };

type Fetch = (signal: AbortSignal) => Promise<Snapshot>;
type Fold = (rows: RunRows, event: RunEvent) => void;

type FoldedRunHandlers = {
  /** An event does not follow the state: earlier events are missing. The owner calls `load()` once the run is wanted. */
  onMissing(): void;
  onLoaded(): void;
  /** A snapshot cannot be loaded, and a retry would not help. */
  onError(error: RunwireError): void;
};

/** Maximum wait for the first snapshot. After this time the subscription opens without a snapshot. */
const FIRST_SNAPSHOT_MS = 3_000;

/**
 * The state of the run in a feed: a base, and the events that were folded into it (`shared/run-fold.ts`).
 *
 * If the feed delivers the run from its first event, the base is empty. Otherwise the base is a snapshot: the state that
 * the procedure `run.get` returns. While a snapshot is loading, the view does not change and new events are buffered. Then
 * the buffered events are folded into the snapshot. The snapshot may already include some of them: folding an event twice
 * changes nothing.
 */
export class FoldedRun {
  /** True while a snapshot is needed: none is loaded yet, or events after it are missing. */
  isNeeded: boolean;
  /** True once the server has answered a request for a snapshot, if only that there is no run. */
  wasLoaded = false;
  readonly #fetch: Fetch;
  readonly #foldEvent: Fold;
  readonly #handlers: FoldedRunHandlers;
  #run: RunMemory;
  #loading: AbortController | undefined;
  /** Events that have arrived since the request for a snapshot was sent; undefined without a request. */
  #buffer: RunEvent[] | undefined;

  constructor(
    fetch: Fetch,
    foldEvent: Fold,
    base: { isNeeded: boolean; run: RunView | undefined },
    handlers: FoldedRunHandlers,
  ) {
    this.#fetch = fetch;
    this.#foldEvent = foldEvent;
    this.#handlers = handlers;
    this.isNeeded = base.isNeeded;
    this.#run = new RunMemory(base.run);
  }

  get isLoading(): boolean {
    return this.#loading !== undefined;
  }

  /** True until a snapshot is loaded or an event is folded. */
  get isEmpty(): boolean {
    return this.#run.header() === undefined;
  }

  view(): RunView | undefined {
    return this.#run.view();
  }

  /** Replaces the state with a snapshot. */
  reset(run: RunView): void {
    this.#run = new RunMemory(run);
    this.isNeeded = false;
  }

  /** Takes a later state of the same log. `isComplete`: all events that follow that state will be folded. */
  advanceTo(run: RunView, isComplete: boolean): void {
    if (run.lastSeq <= (this.#run.header()?.lastSeq ?? 0) || (!isComplete && !this.isNeeded)) return;
    this.#run = new RunMemory(run, this.#run.view());
    if (isComplete) this.isNeeded = false;
  }

  /** Ends a request for a snapshot: a later one is needed. */
  invalidate(): void {
    this.cancel();
    this.isNeeded = true;
  }

  /** Folds an event into the state, unless a snapshot is needed. */
  fold(event: RunEvent): void {
    this.#buffer?.push(event);
    if (this.isNeeded) return;
    const isNext = event.runSeq <= (this.#run.header()?.lastRunSeq ?? 0) + 1;
    if (isNext) this.#foldEvent(this.#run, event);
    else {
      this.isNeeded = true;
      this.#handlers.onMissing();
    }
  }

  /**
   * Requests a snapshot once, then calls `done` with the snapshot, or with undefined after an error or a timeout. Does not
   * call `done` after `cancel()`.
   */
  async fetchFirst(done: (snapshot: Snapshot | undefined) => void): Promise<void> {
    const loading = new AbortController();
    this.#loading = loading;
    const timer = setTimeout(() => loading.abort(), FIRST_SNAPSHOT_MS);
    const snapshot = await this.#fetch(loading.signal).catch(() => undefined);
    clearTimeout(timer);
    if (this.#loading !== loading) return;
    this.#loading = undefined;
    done(snapshot);
  }

  /** Requests a snapshot until the server answers, and folds the buffered events into it. */
  async load(): Promise<void> {
    this.cancel();
    this.isNeeded = true;
    const loading = new AbortController();
    this.#loading = loading;
    const { signal } = loading;
    let run: RunView | undefined;
    try {
      run = await retryLoading(() => this.#fetchOrMissing(signal), signal);
    } catch (error) {
      if (!signal.aborted) this.#handlers.onError(runwireErrorOf(error));
      return;
    }
    if (!signal.aborted) this.#rebase(run);
  }

  /** Aborts the request for a snapshot. `isNeeded` does not change. */
  cancel(): void {
    this.#loading?.abort();
    this.#loading = undefined;
    this.#buffer = undefined;
  }

  /** Requests the run. Returns undefined if the run does not exist. */
  async #fetchOrMissing(signal: AbortSignal): Promise<RunView | undefined> {
    this.#buffer = [];
    try {
      return (await this.#fetch(signal)).run;
    } catch (error) {
      if (runwireErrorOf(error).code === 'RUN_NOT_FOUND') return undefined;
      // The request failed. The next request returns a snapshot with all events up to now, so these need no buffer.
      if (!signal.aborted) this.#buffer = undefined;
      throw error;
    }
  }

  #rebase(snapshot: RunView | undefined): void {
    this.#run = new RunMemory(snapshot, this.#run.view());
    for (const event of this.#buffer ?? []) this.#foldEvent(this.#run, event);
    this.#buffer = undefined;
    this.#loading = undefined;
    this.isNeeded = false;
    this.wasLoaded = true;
    this.#handlers.onLoaded();
  }
}
