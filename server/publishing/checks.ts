import { Slices } from '../slices.ts';

/** Time that the first slice of a request has. Small requests need no other. */
const FIRST_SLICE_MS = 2;

/**
 * Runs the checks of publish requests. A request that takes longer than its first slice goes on in later turns of the event
 * loop, and shares them with other requests. Requests of the same actor end in the order of their calls.
 */
export class Checks {
  readonly #slices = new Slices();
  /** The last unfinished request of each actor. */
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs `work`, then `then` in the same turn. */
  run<T, R>(actor: string, work: Generator<undefined, T>, then: (result: T) => Promise<R>): Promise<R> {
    const before = this.#last.get(actor);
    if (!before) {
      const first = advance(work, performance.now() + FIRST_SLICE_MS);
      if (first.done) return then(first.value);
    }
    const finished = (before ?? Promise.resolve()).then(async () => {
      for (;;) {
        const appended = await this.#slices.run((until) => {
          const next = advance(work, until);
          // Not awaited here: the next request of this actor need not wait for the disk.
          return next.done ? { result: then(next.value) } : undefined;
        });
        if (appended) return appended;
      }
    });
    const settled = finished.then(
      ({ result }) => void result.catch(() => undefined),
      () => undefined,
    );
    this.#last.set(actor, settled);
    void settled.then(() => {
      if (this.#last.get(actor) === settled) this.#last.delete(actor);
    });
    return finished.then(({ result }) => result);
  }
}

/** Advances a generator until its end, or about until a time. */
function advance<T>(work: Generator<undefined, T>, until: number): IteratorResult<undefined, T> {
  let next = work.next();
  while (!next.done && performance.now() < until) next = work.next();
  return next;
}
