/** Time that synchronous work may hold the event loop. */
export const SLICE_MS = 5;

/** The caller of work that is done in slices. */
export type Caller = {
  /** Id of the user. Users take turns. Work without a user is the server's own. */
  user?: string | undefined;
  /** On abort, the call does no further work and rejects with the signal's reason. */
  signal?: Pick<AbortSignal, 'aborted' | 'reason'> | undefined;
};

/**
 * Queues synchronous work, and runs it in a later turn of the event loop. `until`: the `performance.now()` time at which
 * `work` should return, so that other work gets its turn.
 */
export type Slice = <T>(work: (until: number) => T, caller?: Caller) => Promise<T>;

/**
 * Shares the event loop between pieces of synchronous work: each turn of the loop runs queued pieces for about {@link
 * SLICE_MS}, then timers and sockets get their turn. Nothing interrupts a piece of work, so it must check the time and
 * return.
 *
 * Users take turns, one piece each: a user with a thousand queued pieces delays a piece of another user by one piece. The
 * server's own work is a user too.
 */
export class Slices {
  /** The queued pieces by user. The first user has the next turn. */
  readonly #queues = new Map<string | undefined, (() => void)[]>();
  #isScheduled = false;
  #isPaused = false;

  /** Queues a piece of work. If the caller's signal aborts first, rejects with its reason and does not run the piece. */
  run<T>(work: () => T, { user, signal }: Caller = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const piece = () => {
        try {
          if (signal?.aborted) throw signal.reason;
          resolve(work());
        } catch (error) {
          reject(error);
        }
      };
      const queue = this.#queues.get(user);
      if (queue) queue.push(piece);
      else this.#queues.set(user, [piece]);
      this.#schedule();
    });
  }

  /** Keeps queued work back until `resume`. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isPaused || this.#queues.size === 0) return;
    this.#isScheduled = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    const until = performance.now() + SLICE_MS;
    do {
      const [next] = this.#queues;
      if (!next || this.#isPaused) break;
      const [user, queue] = next;
      queue.shift()?.();
      this.#queues.delete(user);
      if (queue.length > 0) this.#queues.set(user, queue);
    } while (performance.now() < until);
    this.#isScheduled = false;
    this.#schedule();
  };
}

/**
 * Shares the event loop between consumers that take one item after the other: bodies being parsed, streams being read.
 * Their promises would otherwise follow each other without a pause, and timers and sockets would wait. Once the time of a
 * turn is used up, the consumers queue, and each turn of the loop continues one of them.
 */
export class Turns {
  readonly #queue: (() => void)[] = [];
  readonly #first: (() => void)[] = [];
  #isOpen = false;
  #until = 0;

  /**
   * Call before each item. Returns a promise to wait for, or undefined while the turn has time left. A consumer that
   * `isFirst` continues before the others: a reader with one new event does not wait for readers of the past.
   */
  next(isFirst = false): Promise<void> | undefined {
    if (!this.#isOpen) {
      this.#isOpen = true;
      this.#until = performance.now() + SLICE_MS;
      setImmediate(this.#turn);
      return undefined;
    }
    if (performance.now() < this.#until) return undefined;
    return new Promise((resolve) => (isFirst ? this.#first : this.#queue).push(resolve));
  }

  readonly #turn = (): void => {
    const resume = this.#first.shift() ?? this.#queue.shift();
    this.#isOpen = resume !== undefined;
    if (!resume) return;
    this.#until = performance.now() + SLICE_MS;
    setImmediate(this.#turn);
    resume();
  };
}
