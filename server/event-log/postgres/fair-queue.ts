import type { Caller } from '../../slices.ts';

type Waiting = { begin: () => void };

/** Runs a limited number of asynchronous works at once. Users take turns, one work each. */
export class FairQueue {
  readonly #limit: number;
  #running = 0;
  /** The first user has the next turn. */
  readonly #waiting = new Map<string | undefined, Waiting[]>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** If the caller's signal aborts before the work begins, rejects with its reason and does not run the work. */
  async run<T>(work: () => Promise<T>, { user, signal }: Caller = {}): Promise<T> {
    if (this.#running >= this.#limit) {
      await new Promise<void>((resolve) => {
        const queue = this.#waiting.get(user);
        if (queue) queue.push({ begin: resolve });
        else this.#waiting.set(user, [{ begin: resolve }]);
      });
    } else this.#running++;
    try {
      if (signal?.aborted) throw signal.reason;
      return await work();
    } finally {
      this.#next();
    }
  }

  /** Passes the place of a work that has ended to the next one. */
  #next(): void {
    const [first] = this.#waiting;
    if (!first) {
      this.#running--;
      return;
    }
    const [user, queue] = first;
    const next = queue.shift();
    this.#waiting.delete(user);
    if (queue.length > 0) this.#waiting.set(user, queue);
    next?.begin();
  }
}
