import { useMemo, useState, useSyncExternalStore } from 'react';

/** A source of states that changes at most once a frame. */
export type Source<State> = {
  getState(): State;
  subscribe(listener: () => void): () => void;
  /** Schedules a call of the listeners. */
  changed(): void;
};

/**
 * Returns a result that is derived from the state of a source. The component renders only after a change of a field that it
 * has read, as with React Query: each field is a getter that records the read. Reading all fields, for example by a spread,
 * works too.
 *
 * `resultOf` must be memoised. A field of its result may itself be a getter, and is then computed only if it is read.
 * `onRead` is called at the first read of a field. `renderedResult` returns what a server has rendered, if that is not the
 * present result.
 */
export function useTracked<State, Result extends object>(
  source: Source<State>,
  resultOf: (state: State) => Result,
  onRead?: (field: keyof Result) => void,
  renderedResult?: () => Result | undefined,
): Result {
  const [read] = useState(() => new Set<keyof Result>());
  const tracker = useMemo(
    () => new Tracker(source, resultOf, read, onRead, renderedResult),
    [source, resultOf, read, onRead, renderedResult],
  );
  tracker.refresh(); // A render for another reason returns the latest values, also of fields that were not read before.
  const result = useSyncExternalStore(source.subscribe, tracker.getResult, tracker.getRendered);
  return useMemo(() => tracker.track(result), [tracker, result]);
}

class Tracker<State, Result extends object> {
  readonly #source: Source<State>;
  readonly #resultOf: (state: State) => Result;
  readonly #read: Set<keyof Result>;
  readonly #onRead: ((field: keyof Result) => void) | undefined;
  readonly #renderedResult: (() => Result | undefined) | undefined;
  #rendered: Result | undefined;
  #state: State;
  #result: Result;

  constructor(
    source: Source<State>,
    resultOf: (state: State) => Result,
    read: Set<keyof Result>,
    onRead?: (field: keyof Result) => void,
    renderedResult?: () => Result | undefined,
  ) {
    this.#source = source;
    this.#resultOf = resultOf;
    this.#read = read;
    this.#onRead = onRead;
    this.#renderedResult = renderedResult;
    for (const field of read) onRead?.(field); // Of an earlier source.
    this.#state = source.getState();
    this.#result = resultOf(this.#state);
  }

  /** Makes the result of the latest state the current one. */
  refresh(): void {
    const state = this.#source.getState();
    if (state === this.#state) return;
    this.#state = state;
    this.#result = this.#resultOf(state);
  }

  /** Returns the same result until a field changes that was read. */
  readonly getResult = (): Result => {
    const state = this.#source.getState();
    if (state === this.#state) return this.#result;
    const next = this.#resultOf(state);
    for (const field of this.#read) {
      if (Object.is(next[field], this.#result[field])) continue;
      this.#state = state;
      this.#result = next;
      break;
    }
    return this.#result;
  };

  /** Returns the result for the first render of a hydration. React renders again if the present result is another. */
  readonly getRendered = (): Result => {
    this.#rendered ??= this.#renderedResult?.();
    return this.#rendered ?? this.#result;
  };

  track(result: Result): Result {
    const tracked = {} as Result;
    const late: Partial<Result> = {};
    for (const field of Object.keys(result) as (keyof Result)[]) {
      Object.defineProperty(tracked, field, { enumerable: true, get: () => this.#get(result, late, field) });
    }
    return tracked;
  }

  #get<Field extends keyof Result>(result: Result, late: Partial<Result>, field: Field): Result[Field] {
    if (field in late) return late[field] as Result[Field];
    if (this.#read.has(field)) return result[field];
    this.#read.add(field);
    this.#onRead?.(field);
    if (result === this.#rendered) return result[field];
    const latest = this.#resultOf(this.#source.getState())[field];
    // The field may have changed without a render. The old value must not come back, and a later result needs a render.
    if (Object.is(latest, result[field])) return latest;
    late[field] = latest;
    this.#source.changed();
    return latest;
  }
}
