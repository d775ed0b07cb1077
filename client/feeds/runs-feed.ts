import type { QueryClient, QueryKey } from '@tanstack/react-query';
import type { TRPCClientErrorLike } from '@trpc/client';
import type { AppRouter } from '../../server/api/router.ts';
import { errorTable } from '../../shared/errors.ts';
import type { StreamSignal } from '../../shared/protocol.ts';
import type { RunHeader } from '../../shared/run.ts';
import { type RunFilter, runMatcher } from '../../shared/run-filter.ts';
import { backoffMs, pause } from '../connection/backoff.ts';
import type { Connection } from '../connection/connection.ts';
import type { ConnectionState } from '../connection/reconnect-policy.ts';
import { codeOf } from '../errors.ts';
import type { RunwireClient } from '../index.ts';
import type { FrameScheduler } from './frame-scheduler.ts';
import { emptyOverlay, keyOf, merge, type Overlay, type RunsPage, type RunsPages } from './merge-runs.ts';
import type { Gap, RunFeedPhase } from './run-feed.ts';

/**
 * A list of runs that changes in place: the pages of `run.list` in React Query's cache, and the headers that changed since
 * (`onRunSummary` from the first page's `position`) patched into them once a frame.
 *
 * A fetch of another page builds on the pages as they were when it began, and so undoes patches that were made meanwhile;
 * and it may bring runs older than a header that came before it. So while one is under way all changed headers are kept
 * beside the pages, and `merge` puts them together whenever the list is looked at: of two headers the later `lastSeq`
 * stands. Once nothing is under way only the runs that wait to be shown are kept.
 */

export type RunsFeedState = {
  overlay: Overlay;
  connectionState: ConnectionState;
  error: Error | null;
  retryAtMs: number | null;
  phase: RunFeedPhase;
  seq: number | null;
  gap: Gap | null;
};

const RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;
export const blankRunsState: RunsFeedState = {
  overlay: emptyOverlay,
  connectionState: 'idle',
  error: null,
  retryAtMs: null,
  phase: 'replaying',
  seq: null,
  gap: null,
};

export class RunsFeed {
  readonly #client: RunwireClient;
  readonly #connection: Connection<AppRouter>;
  readonly #frames: FrameScheduler;
  readonly #queries: QueryClient;
  readonly #queryKey: QueryKey;
  readonly #filter: RunFilter;
  readonly #matches: (run: RunHeader) => boolean;
  readonly #listeners = new Set<() => void>();
  #followers = 0;
  #subscription: { unsubscribe(): void } | undefined;
  #stopWatching: (() => void) | undefined;
  #ending: AbortController | undefined;
  #state: RunsFeedState = blankRunsState;

  #cursor: string | undefined;
  #seq: number | null = null;
  #failure: Error | null = null;
  #isLive = false;
  #gap: Gap | null = null;
  /** After a gap, until the list has been fetched again. */
  #needsList = false;
  #changed = new Map<string, RunHeader>();
  #shown = new Set<string>();
  #overlay = emptyOverlay;
  #runs: readonly RunHeader[] = [];

  constructor(
    {
      client,
      connection,
      frames,
    }: { client: RunwireClient; connection: Connection<AppRouter>; frames: FrameScheduler },
    queries: QueryClient,
    queryKey: QueryKey,
    filter: RunFilter,
  ) {
    this.#client = client;
    this.#connection = connection;
    this.#frames = frames;
    this.#queries = queries;
    this.#queryKey = queryKey;
    this.#filter = filter;
    this.#matches = runMatcher(filter);
  }

  readonly getState = (): RunsFeedState => this.#state;
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** The list to be shown; the same array as long as it holds the same. */
  listOf(pages: readonly RunsPage[], overlay: Overlay): { runs: readonly RunHeader[]; newCount: number } {
    const merged = merge(pages, overlay, this.#matches);
    const runs = merged.pages.flatMap((page) => page.runs);
    const isSame = runs.length === this.#runs.length && runs.every((run, index) => run === this.#runs[index]);
    if (!isSame) this.#runs = runs;
    return { runs: this.#runs, newCount: merged.waiting.length };
  }

  /** Follows the list, which has been fetched, until the function returned is called. */
  follow(): () => void {
    this.#followers++;
    this.#stopWatching ??= this.#connection.subscribe(() => {
      if (this.#connection.getStatus().state !== 'connected') this.#isLive = false;
      this.changed();
    });
    queueMicrotask(() => this.#open());
    this.changed();
    return () => {
      this.#followers--;
      queueMicrotask(() => {
        if (this.#followers === 0) this.#close();
      });
    };
  }

  /** Puts the runs that wait into the list. */
  readonly showNew = (): void => {
    const pages = this.#pages;
    if (!pages) return;
    for (const run of merge(pages.pages, this.#latest(), this.#matches).waiting) this.#shown.add(keyOf(run));
    this.#overlay = emptyOverlay;
    this.changed();
  };

  readonly reconnect = (): void => {
    const { state } = this.#connection.getStatus();
    if (state === 'failed' || state === 'reconnecting') this.#connection.reconnect();
    this.#failure = null;
    if (!this.#subscription) this.#open();
    this.changed();
  };

  /** The list, or what belongs into it, is another one. */
  changed(): void {
    this.#frames.add(this.#update);
  }

  get #pages(): RunsPages | undefined {
    return this.#queries.getQueryData<RunsPages>(this.#queryKey);
  }

  #open(): void {
    if (this.#followers === 0 || this.#subscription || this.#failure) return;
    this.#ending ??= new AbortController();
    const lastEventId = this.#cursor ?? this.#pages?.pages[0]?.position;
    this.#subscription = this.#client.onRunSummary.subscribe(
      { projectId: this.#filter.projectId, lastEventId },
      {
        onData: ({ id, data }: { id: string; data: RunHeader | StreamSignal }) => this.#receive(id, data),
        onError: (error: TRPCClientErrorLike<AppRouter>) => {
          this.#failure = error as unknown as Error;
          this.#subscription = undefined;
          this.changed();
        },
      },
    );
  }

  #close(): void {
    this.#stopWatching?.();
    this.#stopWatching = undefined;
    this.#ending?.abort();
    this.#ending = undefined;
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    this.#isLive = false;
    this.#failure = null;
    // What is to come is asked for after the position in the cache, which has all that came up to the last frame.
    if (this.#frames.delete(this.#update)) this.#update();
    this.#cursor = undefined;
  }

  #receive(cursor: string, item: RunHeader | StreamSignal): void {
    this.#cursor = cursor;
    if (!('type' in item)) {
      this.#seq = item.lastSeq;
      this.#changed.set(keyOf(item), item);
      this.#overlay = emptyOverlay;
    } else if (item.type === 'stream.live') {
      this.#seq = item.seq;
      this.#isLive = true;
    } else {
      const { reason, fromSeq, toSeq } = item;
      this.#seq = toSeq;
      this.#gap = { reason, fromSeq, toSeq };
      this.#isLive = false;
      this.#changed = new Map();
      this.#overlay = emptyOverlay;
      if (!this.#needsList) void this.#fetchAgain();
    }
    this.changed();
  }

  /** Fetches the list, however often it takes. */
  async #fetchAgain(): Promise<void> {
    const signal = this.#ending?.signal;
    if (!signal) return;
    this.#needsList = true;
    for (let attempt = 1; !signal.aborted; attempt++) {
      await this.#queries.refetchQueries({ queryKey: this.#queryKey, exact: true });
      const error = this.#queries.getQueryState(this.#queryKey)?.error;
      const code = error && codeOf(error);
      if (!error || (code && !errorTable[code].retryable)) break;
      await pause(backoffMs(attempt, RETRY_MS, MAX_RETRY_MS, Math.random), signal);
    }
    this.#needsList = false;
    this.changed();
  }

  #latest(): Overlay {
    if (this.#overlay === emptyOverlay && this.#changed.size > 0) {
      this.#overlay = { changed: new Map(this.#changed), shown: new Set(this.#shown) };
    }
    return this.#overlay;
  }

  readonly #update = (): void => {
    this.#patch();
    const { state, error, retryAtMs } = this.#connection.getStatus();
    const isIdle = this.#followers === 0;
    this.#state = {
      overlay: this.#latest(),
      connectionState: isIdle ? 'idle' : this.#failure ? 'failed' : state === 'idle' ? 'connecting' : state,
      error: isIdle ? null : (this.#failure ?? error),
      retryAtMs: isIdle || this.#failure ? null : retryAtMs,
      phase: this.#needsList ? 'gap' : this.#isLive ? 'live' : 'replaying',
      seq: this.#seq,
      gap: this.#gap,
    };
    for (const listener of [...this.#listeners]) listener();
  };

  /** Writes what changed into the cache, and keeps beside it only what has to be. */
  #patch(): void {
    const data = this.#pages;
    if (!data) return;
    const { pages, waiting } = merge(data.pages, this.#latest(), this.#matches);
    const [first, ...rest] = pages;
    if (!first) return;
    const isBusy = this.#needsList || this.#queries.getQueryState(this.#queryKey)?.fetchStatus !== 'idle';
    // Those that wait are in no page: who goes on from the cache is to be told of them again.
    const isWhole = !isBusy && waiting.length === 0;
    const position = isWhole ? (this.#cursor ?? first.position) : first.position;
    const isSame = pages === data.pages && position === first.position;
    if (!isSame) {
      const patched = position === first.position ? pages : [{ ...first, position }, ...rest];
      this.#queries.setQueryData<RunsPages>(this.#queryKey, { ...data, pages: [...patched] });
    }
    if (isBusy || this.#changed.size === waiting.length) return;
    this.#changed = new Map(waiting.map((run) => [keyOf(run), run]));
    this.#shown = new Set();
    this.#overlay = emptyOverlay;
  }
}
