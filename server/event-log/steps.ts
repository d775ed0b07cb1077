import type { Caller, Slice, Turns } from '../slices.ts';

/**
 * Work that reads a store, written once for stores that answer at once (SQLite) and for stores that answer later
 * (PostgreSQL). It yields each read, and after each piece of computation; the store's {@link RunSteps} goes on with the
 * value. Other work may run at each yield.
 */
export type Steps<T> = Generator<unknown, T, unknown>;
export type Awaitable<T> = T | Promise<T>;
export type RunSteps = <T>(begin: () => Steps<T>, caller?: Caller) => Promise<T>;

/** Yields a read, and returns its value. */
export function* resultOf<T>(read: Awaitable<T>): Steps<T> {
  return (yield read) as T;
}

/** Runs the steps of reads that answer at once: as many in a slice as fit into its time. */
export const inSlices =
  (slice: Slice): RunSteps =>
  async <T>(begin: () => Steps<T>, caller?: Caller) => {
    let steps: Steps<T> | undefined;
    let value: unknown;
    for (;;) {
      const end = await slice((until) => {
        steps ??= begin();
        do {
          const step = steps.next(value);
          if (step.done) return step;
          value = step.value;
        } while (performance.now() < until);
        return undefined;
      }, caller);
      if (end) return end.value;
    }
  };

/** Runs the steps of reads that answer later: waits for each one. Computation takes turns of the event loop. */
export const inTurns =
  (turns: Turns): RunSteps =>
  async <T>(begin: () => Steps<T>, { user, signal }: Caller = {}) => {
    const steps = begin();
    for (let value: unknown; ; ) {
      if (signal?.aborted) throw signal.reason;
      const step = steps.next(value);
      if (step.done) return step.value;
      value = step.value instanceof Promise ? await step.value : step.value;
      const turn = turns.next({ user });
      if (turn) await turn;
    }
  };
