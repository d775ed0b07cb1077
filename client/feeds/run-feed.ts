import type { TRPCClientErrorLike } from '@trpc/client';
import type { AppRouter } from '../../server/api/router.ts';
import { errorTable } from '../../shared/errors.ts';
import { foldEvent, type RunEvent } from '../../shared/events.ts';
import { isSignal, type StreamSignal } from '../../shared/protocol.ts';
import type { RunView } from '../../shared/run.ts';
import { RunMemory } from '../../shared/run-memory.ts';
import { backoffMs, pause } from '../connection/backoff.ts';
import type { Connection } from '../connection/connection.ts';
import type { ConnectionState } from '../connection/reconnect-policy.ts';
import { codeOf } from '../errors.ts';
import type { RunwireClient } from '../index.ts';
import type { RunFeedQuery } from './query.ts';

/**
 * One subscription, and what all that follow it have in common: the folded run, and the latest events for those who come
 * late. What is each follower's own is in `run-follower.ts`; who shares which feed is decided in `feeds.ts`.
 *
 * The run is folded here from the very events that the followers see, so that all of them agree. A fold needs a base:
 * nothing, when the run is followed from its first event; else a snapshot, `run.get`. Where somebody follows the run
 * itself (`useRun`), the snapshot comes first and the subscription begins at its cursor. Where nobody does, handlers would
 * wait for a query they do not need: the subscription comes first, and the snapshot once it is known to stand, so that
 * nothing falls between. That way also serves a gap, a run that is not there yet, a snapshot that is long in coming, and a
 * run whose first events are no longer kept (its first `runSeq` is not 1, for the log keeps views longer than events).
 */

/**
 * `replaying`: catching up. `live`: all there is has been seen, and `run` is whole. `gap`: events are missing for good
 * (`gap` says which), and the snapshot that replaces them is not there yet.
 */
export type RunFeedPhase = 'replaying' | 'live' | 'gap';

export type RunFeedState = {
  connectionState: ConnectionState;
  /** Why the subscription ended, or why there is no connection; null while all is well. */
  error: Error | null;
  /** Unix ms of the next try to connect; null when none is planned. */
  retryAtMs: number | null;
  /** The run as of the last event; only with `runId` and neither `types` nor `categories`, which a fold cannot do without. */
  run: RunView | undefined;
  phase: RunFeedPhase;
  /** Everything that matches has been seen up to this position of the log; null before the first word of the server. */
  seq: number | null;
  /** The last gap, also after it has been made up for. */
  gap: Gap | null;
};

export type Gap = Pick<Extract<StreamSignal, { type: 'stream.gap' }>, 'reason' | 'fromSeq' | 'toSeq'>;

/** A folded run and the position that it is true at. */
export type Snapshot = { run: RunView; cursor: string };

/** Where a follower was when it left: enough to go on from, whether the feed still runs or not. */
export type Resume = {
  cursor: string | undefined;
  seq: number | null;
  run: RunView | undefined;
  needsSnapshot: boolean;
  isInGap: boolean;
  gap: Gap | null;
  line: object;
};

/** What a feed tells those on it. */
export type FeedObserver = {
  /** Follows the run rather than its events, so that a snapshot comes first; and may have one at hand. */
  readonly wantsRun: boolean;
  readonly snapshot: Snapshot | undefined;
  receive(event: RunEvent): void;
  /** What was seen is not part of the log any more. */
  clear(): void;
  /** The state is another one. */
  changed(): void;
  failed(error: Error): void;
};

type Item = RunEvent | StreamSignal;

/** Events kept for those who come late; up to twice as many are held. */
const KEPT_EVENTS = 1_000;
/** A snapshot that is so long in coming is not waited for any more. */
const SNAPSHOT_FIRST_MS = 3_000;
const SNAPSHOT_RETRY_MS = 1_000;
const MAX_SNAPSHOT_RETRY_MS = 30_000;

export class RunFeed {
  readonly #client: RunwireClient;
  readonly #connection: Connection<AppRouter>;
  readonly #query: RunFeedQuery;
  readonly #onEnd: () => void;
  /** By follower: after which position of the log it is to be told, until it is on. */
  readonly #followers = new Map<FeedObserver, { after: number } | 'on'>();
  #isOpened = false;
  #isEnded = false;
  #subscription: { unsubscribe(): void } | undefined;
  #stopWatching: (() => void) | undefined;
  #state: RunFeedState | undefined;

  // What came of the query.
  #cursor: string | undefined;
  #seq: number | null = null;
  /** The latest events, and the position after which none is missing; null while that is not known. */
  #kept: RunEvent[] = [];
  #keptAfter: number | null;
  /** Stands for what has been seen without a gap: positions can be compared along the same one only. */
  #line: object = {};
  /** Whether what comes was logged before anybody asked for it. */
  #isBehind = false;
  #failure: Error | null = null;
  #isLive = false;
  #isInGap = false;
  #gap: Gap | null = null;
  #run = new RunMemory();
  #needsSnapshot: boolean;
  #loading: AbortController | undefined;
  /** Events that came while a snapshot was under way, which may hold them or not. */
  #meanwhile: RunEvent[] | undefined;

  /** `onEnd`: when nobody follows any more, or it failed. */
  constructor(
    { client, connection }: { client: RunwireClient; connection: Connection<AppRouter> },
    query: RunFeedQuery,
    resume: Resume | undefined,
    onEnd: () => void,
  ) {
    this.#client = client;
    this.#connection = connection;
    this.#query = query;
    this.#onEnd = onEnd;
    this.#keptAfter = query.from === 'start' ? 0 : null;
    this.#needsSnapshot = this.#folds && query.from !== 'start';
    if (resume?.cursor === undefined) return;
    this.#cursor = resume.cursor;
    this.#seq = resume.seq;
    this.#keptAfter = resume.seq;
    this.#line = resume.line;
    this.#isBehind = true;
    this.#isInGap = resume.isInGap;
    this.#gap = resume.gap;
    this.#needsSnapshot = resume.needsSnapshot;
    if (resume.run) this.#run = new RunMemory(resume.run);
  }

  /** Why the subscription ended, if it did. */
  get failure(): Error | null {
    return this.#failure;
  }
  get isShared(): boolean {
    return this.#followers.size > 1;
  }

  /** Whether a follower would be told here all that it would be told by a subscription of its own. */
  canServe(follower: FeedObserver, resume: Resume | undefined): boolean {
    if (this.#failure || this.#isEnded) return false;
    if (resume?.cursor !== undefined) {
      return resume.line === this.#line && this.#keptAfter !== null && (resume.seq ?? 0) >= this.#keptAfter;
    }
    if (this.#query.from === 'start') return this.#keptAfter === 0;
    // What was logged before it came is none of its business.
    return follower.wantsRun || !this.#isBehind;
  }

  /** Delivery begins in a later task, so that whoever mounts together with a follower can add handlers first. */
  join(follower: FeedObserver, resume: Resume | undefined): void {
    const after = resume?.cursor !== undefined ? resume.seq : this.#query.from === 'start' ? 0 : this.#seq;
    this.#followers.set(follower, { after: after ?? 0 });
    this.#stopWatching ??= this.#watch();
    // StrictMode follows, leaves and follows within one task: that comes to one subscription.
    queueMicrotask(() => {
      this.#open();
      this.#admit(follower);
    });
  }

  /** The last one out closes the subscription: by default only if nobody comes within the same task. */
  leave(follower: FeedObserver, { isAtOnce = false } = {}): void {
    this.#followers.delete(follower);
    const end = () => {
      if (this.#followers.size === 0) this.#end();
    };
    if (isAtOnce) end();
    else queueMicrotask(end);
  }

  /** Subscribes anew after the last event. */
  reopen(): void {
    if (!this.#isOpened || this.#isEnded) return;
    this.#close();
    this.#subscribe();
    this.#changed();
  }

  get resume(): Resume {
    return {
      cursor: this.#cursor,
      seq: this.#seq,
      run: this.#folds ? this.#run.view() : undefined,
      needsSnapshot: this.#needsSnapshot,
      isInGap: this.#isInGap,
      gap: this.#gap,
      line: this.#line,
    };
  }

  /** The same object until something changes. */
  get state(): RunFeedState {
    this.#state ??= this.#makeState();
    return this.#state;
  }
  /** The folded run and where it is true at; undefined while there is none, or something is missing from it. */
  get snapshot(): Snapshot | undefined {
    const { run } = this.state;
    return run && this.#cursor !== undefined && !this.#needsSnapshot ? { run, cursor: this.#cursor } : undefined;
  }

  /** Whether there is a run to fold, and all of its events to fold it from. */
  get #folds(): boolean {
    const { runId, types, categories } = this.#query;
    return runId !== undefined && types === undefined && categories === undefined;
  }

  #watch(): () => void {
    let { state } = this.#connection.getStatus();
    return this.#connection.subscribe(() => {
      const status = this.#connection.getStatus();
      // Whatever comes next begins with what was missed, and ends with stream.live.
      if (status.state !== 'connected') this.#isLive = false;
      if (status.state === 'failed' && state !== 'failed' && !this.#failure && status.error) {
        for (const follower of [...this.#followers.keys()]) follower.failed(status.error);
      }
      state = status.state;
      this.#changed();
    });
  }

  #end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#stopWatching?.();
    this.#close();
    this.#onEnd();
  }

  /** Tells a follower what it has missed; from then on it is told with the others. */
  #admit(follower: FeedObserver): void {
    const place = this.#followers.get(follower);
    if (place === undefined || place === 'on') return;
    this.#followers.set(follower, 'on');
    for (const event of this.#kept.filter(({ seq }) => seq > place.after)) {
      if (this.#followers.has(follower)) follower.receive(event);
    }
    follower.changed();
  }

  #open(): void {
    if (this.#isOpened || this.#isEnded || this.#followers.size === 0) return;
    this.#isOpened = true;
    const followers = [...this.#followers.keys()];
    const isRunWanted = followers.some((follower) => follower.wantsRun);
    if (!this.#needsSnapshot || this.#cursor !== undefined || !isRunWanted) {
      this.#subscribe();
      return;
    }
    const [first] = followers;
    // One at hand may be old: those who follow events are told of none that came before them.
    const isOld = followers.every((follower) => follower.wantsRun) && first?.snapshot;
    if (isOld) this.#startFrom(isOld, true);
    else void this.#snapshotFirst();
  }

  #startFrom({ run, cursor }: Snapshot, isBehind: boolean): void {
    this.#run = new RunMemory(run);
    this.#needsSnapshot = false;
    this.#cursor = cursor;
    this.#isBehind = isBehind;
    this.#seq = run.lastSeq;
    this.#keptAfter = run.lastSeq;
    this.#subscribe();
    this.#changed();
  }

  async #snapshotFirst(): Promise<void> {
    const loading = new AbortController();
    this.#loading = loading;
    const timer = setTimeout(() => loading.abort(), SNAPSHOT_FIRST_MS);
    const snapshot = await this.#fetch(loading.signal).catch(() => undefined);
    clearTimeout(timer);
    if (this.#loading !== loading) return;
    this.#loading = undefined;
    // Whatever it was: once subscribed, the snapshot is asked for as often as it takes.
    if (snapshot) this.#startFrom(snapshot, false);
    else this.#subscribe();
  }

  #fetch(signal: AbortSignal): Promise<Snapshot> {
    const { runId, projectId } = this.#query as { runId: string; projectId?: string };
    return this.#client.run.get.query({ runId, projectId }, { signal });
  }

  #subscribe(): void {
    const { runId, projectId, scope, types, categories, from } = this.#query;
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
    if (this.#isEnded) return;
    this.#failure = error;
    this.#end();
    for (const follower of [...this.#followers.keys()]) follower.failed(error);
    this.#changed();
  }

  #receive(cursor: string, item: Item): void {
    if (this.#isEnded) return;
    this.#cursor = cursor;
    if (!isSignal(item)) {
      this.#keptAfter ??= item.seq - 1;
      this.#seq = item.seq;
      this.#keep(item);
      if (this.#folds) this.#fold(item);
      this.#deliver(item);
    } else if (item.type === 'stream.live') {
      // The log keeps views longer than events: with no event to show for it, a run may still have its view.
      const isUnseen = !this.#isLive && this.#folds && this.#run.header() === undefined;
      this.#keptAfter ??= item.seq;
      this.#seq = item.seq;
      this.#isLive = true;
      this.#isBehind = false;
      if (!this.#folds) this.#isInGap = false;
      if ((this.#needsSnapshot || isUnseen) && !this.#loading) this.#loadSnapshot();
    } else this.#jump(item);
    this.#changed();
  }

  #jump({ reason, fromSeq, toSeq }: Gap): void {
    this.#seq = toSeq;
    this.#gap = { reason, fromSeq, toSeq };
    this.#line = {};
    this.#kept = [];
    this.#keptAfter = toSeq;
    this.#isLive = false;
    this.#isInGap = true;
    // Another log, or an older copy of this one: what was seen is not part of it, and its positions come again.
    if (reason === 'epoch_changed' || reason === 'ahead') {
      for (const follower of [...this.#followers.keys()]) follower.clear();
    }
    if (this.#folds) this.#loadSnapshot();
  }

  #deliver(event: RunEvent): void {
    for (const [follower, place] of [...this.#followers]) {
      if (place === 'on' && this.#followers.has(follower)) follower.receive(event);
    }
  }

  #keep(event: RunEvent): void {
    this.#kept.push(event);
    if (this.#kept.length < 2 * KEPT_EVENTS) return;
    this.#keptAfter = this.#kept[this.#kept.length - KEPT_EVENTS - 1]?.seq ?? null;
    this.#kept = this.#kept.slice(-KEPT_EVENTS);
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
    for (let attempt = 1; !signal.aborted; attempt++) {
      this.#meanwhile = [];
      const answer = await this.#fetch(signal).catch((error: Error) => ({ error }));
      if (signal.aborted) return;
      if ('run' in answer) return this.#rebase(answer.run);
      const code = codeOf(answer.error);
      if (code === 'RUN_NOT_FOUND') return this.#rebase(undefined);
      if (code !== undefined && !errorTable[code].retryable) return this.#fail(answer.error);
      this.#meanwhile = undefined; // The next snapshot holds what comes until it is asked for.
      await pause(backoffMs(attempt, SNAPSHOT_RETRY_MS, MAX_SNAPSHOT_RETRY_MS, Math.random), signal);
    }
  }

  #rebase(snapshot: RunView | undefined): void {
    this.#run = new RunMemory(snapshot, this.#run.view());
    for (const event of this.#meanwhile ?? []) foldEvent(this.#run, event);
    this.#meanwhile = undefined;
    this.#loading = undefined;
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
    this.#state = undefined;
    for (const follower of this.#followers.keys()) follower.changed();
  }

  #makeState(): RunFeedState {
    const { state, error, retryAtMs } = this.#connection.getStatus();
    return {
      connectionState: this.#failure ? 'failed' : state === 'idle' ? 'connecting' : state,
      error: this.#failure ?? error,
      retryAtMs: this.#failure ? null : retryAtMs,
      run: this.#folds ? this.#run.view() : undefined,
      phase: this.#isInGap ? 'gap' : this.#isLive && !this.#needsSnapshot ? 'live' : 'replaying',
      seq: this.#seq,
      gap: this.#gap,
    };
  }
}
