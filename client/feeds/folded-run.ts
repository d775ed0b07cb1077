import { foldEvent, type RunEvent } from '../../shared/events.ts';
import type { RunView } from '../../shared/run.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import { codeOf } from '../errors.ts';
import { retryLoading } from './subscription.ts';

/** A folded run and the cursor of the last event in it. */
export type Snapshot = { run: RunView; cursor: string };

type Fetch = (signal: AbortSignal) => Promise<Snapshot>;

/** The subscription does not wait longer than this for its first snapshot. */
const FIRST_SNAPSHOT_MS = 3_000;

/**
 * The folded run of a feed: a base and the events after it.
 *
 * The base is empty for a run read from its first event, otherwise a snapshot from `run.get`. While a snapshot is loading,
 * events are buffered and folded onto it: the snapshot may contain them or not, and the fold accepts both. Until then the
 * view stays as it is.
 */
export class FoldedRun {
  /** True while the fold has no base, or lacks events between its base and the next event. */
  isNeeded: boolean;
  readonly #fetch: Fetch;
  readonly #handlers: { onLoaded(): void; onError(error: Error): void };
  #run: RunMemory;
  #loading: AbortController | undefined;
  /** Events that arrive while the request for a snapshot is under way. */
  #buffer: RunEvent[] | undefined;

  /** `onError` is called with an error that is not retryable. */
  constructor(
    fetch: Fetch,
    base: { isNeeded: boolean; run: RunView | undefined },
    handlers: { onLoaded(): void; onError(error: Error): void },
  ) {
    this.#fetch = fetch;
    this.#handlers = handlers;
    this.isNeeded = base.isNeeded;
    this.#run = new RunMemory(base.run);
  }

  get isLoading(): boolean {
    return this.#loading !== undefined;
  }

  /** True before the first snapshot and the first event. */
  get isEmpty(): boolean {
    return this.#run.header() === undefined;
  }

  view(): RunView | undefined {
    return this.#run.view();
  }

  /** Replaces the fold. */
  reset(run: RunView): void {
    this.#run = new RunMemory(run);
    this.isNeeded = false;
  }

  /** Folds an event. Loads a snapshot if events before it are missing. */
  fold(event: RunEvent): void {
    this.#buffer?.push(event);
    if (this.isNeeded) return;
    const isNext = event.runSeq <= (this.#run.header()?.lastRunSeq ?? 0) + 1;
    if (isNext) foldEvent(this.#run, event);
    else void this.load();
  }

  /** Fetches a snapshot once and calls `done`, with undefined after an error or a timeout. Not called after `cancel()`. */
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

  /** Fetches a snapshot until the server answers, and folds the buffered events onto it. */
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
      if (!signal.aborted) this.#handlers.onError(error as Error);
      return;
    }
    if (!signal.aborted) this.#rebase(run);
  }

  /** Aborts a request. The snapshot is still needed. */
  cancel(): void {
    this.#loading?.abort();
    this.#loading = undefined;
    this.#buffer = undefined;
  }

  /** Returns undefined when the run does not exist. */
  async #fetchOrMissing(signal: AbortSignal): Promise<RunView | undefined> {
    this.#buffer = [];
    try {
      return (await this.#fetch(signal)).run;
    } catch (error) {
      if (codeOf(error as Error) === 'RUN_NOT_FOUND') return undefined;
      // The next snapshot contains the events that arrive before its request, so they need no buffer.
      if (!signal.aborted) this.#buffer = undefined;
      throw error;
    }
  }

  #rebase(snapshot: RunView | undefined): void {
    this.#run = new RunMemory(snapshot, this.#run.view());
    for (const event of this.#buffer ?? []) foldEvent(this.#run, event);
    this.#buffer = undefined;
    this.#loading = undefined;
    this.isNeeded = false;
    this.#handlers.onLoaded();
  }
}
