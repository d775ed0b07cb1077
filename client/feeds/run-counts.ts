import type { RunwireError } from '../../shared/errors.ts';
import type { EventCounts } from '../../shared/event-positions.ts';
import { runwireErrorOf } from '../errors.ts';

const RETRY_MS = 3_000;
/** Live events change the counts at most this often. */
const SHOW_MS = 100;

/** Numbers of a run's events, up to the position `through`. */
export type RunCounts = {
  types: ReadonlyMap<string, number>;
  stages: ReadonlyMap<string, number>;
  /** By publisher. */
  actors: ReadonlyMap<string, number>;
  through: number;
};

type State = { counts: RunCounts | undefined; error: RunwireError | null };
type Counted = { type: string; runSeq: number; actor: string; stageId?: unknown };

/** Counts the events of a run: those that the log has by requests, later ones as they arrive. */
export class RunCounter {
  readonly #fetch: (fromRunSeq: number, signal: AbortSignal) => Promise<EventCounts>;
  readonly #listeners = new Set<() => void>();
  #ended = new AbortController();
  #types = new Map<string, number>();
  #stages = new Map<string, number>();
  #actors = new Map<string, number>();
  #through = 0;
  #isFetching = false;
  #isComplete = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #state: State = { counts: undefined, error: null };

  constructor(fetch: (fromRunSeq: number, signal: AbortSignal) => Promise<EventCounts>) {
    this.#fetch = fetch;
  }

  readonly getState = (): State => this.#state;
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Fetches the counts of all events after those that were counted. */
  readonly start = (): void => {
    if (!this.#isFetching && !this.#ended.signal.aborted) void this.#fill();
  };

  /** Fetches and counts until the returned function is called. React's StrictMode ends and resumes it. */
  resume(): () => void {
    if (this.#ended.signal.aborted) this.#ended = new AbortController();
    return () => {
      this.#ended.abort();
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  }

  /** Counts a live event. If events before it are missing, they are fetched. */
  readonly add = (event: object): void => {
    const { type, runSeq, actor, stageId } = event as Counted;
    if (!this.#isComplete || runSeq <= this.#through) return;
    if (runSeq > this.#through + 1) {
      this.start();
      return;
    }
    count(this.#types, type, 1);
    count(this.#actors, actor, 1);
    if (typeof stageId === 'string') count(this.#stages, stageId, 1);
    this.#through = runSeq;
    this.#timer ??= setTimeout(this.#show, SHOW_MS);
  };

  async #fill(): Promise<void> {
    this.#isFetching = true;
    this.#isComplete = false;
    try {
      for (let isDone = false; !isDone; ) {
        const page = await this.#fetch(this.#through + 1, this.#ended.signal);
        this.#addAll(page);
        isDone = page.isComplete;
        this.#through = page.through;
      }
      this.#isComplete = true;
      this.#show();
    } catch (error) {
      if (!this.#ended.signal.aborted) this.#fail(runwireErrorOf(error));
    }
    this.#isFetching = false;
  }

  #addAll({ types, stages, actors }: EventCounts): void {
    for (const [type, number] of Object.entries(types)) count(this.#types, type, number);
    for (const [stageId, number] of Object.entries(stages)) count(this.#stages, stageId, number);
    for (const [actor, number] of Object.entries(actors)) count(this.#actors, actor, number);
  }

  #fail(error: RunwireError): void {
    this.#set({ counts: this.#state.counts, error });
    if (error.isRetryable) setTimeout(this.start, RETRY_MS);
  }

  readonly #show = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const [types, stages, actors] = [new Map(this.#types), new Map(this.#stages), new Map(this.#actors)];
    this.#set({ counts: { types, stages, actors, through: this.#through }, error: null });
  };

  #set(state: State): void {
    this.#state = state;
    for (const listener of [...this.#listeners]) listener();
  }
}

function count(counts: Map<string, number>, key: string, number: number): void {
  counts.set(key, (counts.get(key) ?? 0) + number);
}
