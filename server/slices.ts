/** Time that synchronous work may hold the event loop: a slice. */
export const SLICE_MS = 5;
/** Time of all slices of one turn of the event loop. */
const TURN_MS = 8;
/** Even then, a slice has this time, so that all work goes on in each turn. */
const LEAST_MS = 1;

let turnEnd: number | undefined;

/** Returns the `performance.now()` time at which a slice that begins now ends. The slices of one turn share its time. */
export function sliceEnd(): number {
  const now = performance.now();
  if (turnEnd === undefined) {
    turnEnd = now + TURN_MS;
    setImmediate(endTurn);
  }
  return Math.min(now + SLICE_MS, Math.max(turnEnd, now + LEAST_MS));
}

const endTurn = () => {
  turnEnd = undefined;
};

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

/** Functions in the order in which they run: users take turns, one function each. */
class UserQueue {
  /** The first user has the next turn. */
  readonly #queues = new Map<string | undefined, (() => void)[]>();

  get isEmpty(): boolean {
    return this.#queues.size === 0;
  }

  push(user: string | undefined, work: () => void): void {
    const queue = this.#queues.get(user);
    if (queue) queue.push(work);
    else this.#queues.set(user, [work]);
  }

  take(): (() => void) | undefined {
    const [next] = this.#queues;
    if (!next) return undefined;
    const [user, queue] = next;
    const work = queue.shift();
    this.#queues.delete(user);
    if (queue.length > 0) this.#queues.set(user, queue);
    return work;
  }
}

/**
 * Shares the event loop between pieces of synchronous work: each turn of the loop runs queued pieces until {@link sliceEnd},
 * then timers and sockets get their turn. Nothing interrupts a piece of work, so it must check the time and return. A piece
 * that begins late has {@link LEAST_MS}.
 *
 * Users take turns, one piece each: a user with a thousand queued pieces delays a piece of another user by one piece. The
 * server's own work is a user too.
 */
export class Slices {
  readonly #queue = new UserQueue();
  #isScheduled = false;
  #isPaused = false;
  #until = 0;

  /** Queues a piece of work. If the caller's signal aborts first, rejects with its reason and does not run the piece. */
  run<T>(work: (until: number) => T, { user, signal }: Caller = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const piece = () => {
        try {
          if (signal?.aborted) throw signal.reason;
          resolve(work(Math.max(this.#until, performance.now() + LEAST_MS)));
        } catch (error) {
          reject(error);
        }
      };
      this.#queue.push(user, piece);
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
    if (this.#isScheduled || this.#isPaused || this.#queue.isEmpty) return;
    this.#isScheduled = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#until = sliceEnd();
    this.#goOn(true);
  };

  readonly #next = (): void => this.#goOn(performance.now() < this.#until);

  #goOn(hasTime: boolean): void {
    if (!hasTime || this.#queue.isEmpty || this.#isPaused) {
      this.#isScheduled = false;
      this.#schedule();
      return;
    }
    this.#queue.take()?.();
    afterPromises(this.#next);
  }
}

/**
 * Calls a function in this turn of the event loop, after all promises that can settle now. So the time that a caller
 * takes with a result, to encode it for example, counts for the turn.
 */
export function afterPromises(then: () => void): void {
  // A tick that is queued by a microtask runs after all microtasks.
  queueMicrotask(() => process.nextTick(then));
}

/**
 * Shares the event loop between consumers that take one item after the other: requests that begin, bodies being parsed,
 * streams being read. Their promises would otherwise follow each other without a pause, and timers and sockets would wait.
 * Once the time of a turn is used up, the consumers queue, and the next turns of the loop continue them. Users take turns.
 */
export class Turns {
  readonly #queue = new UserQueue();
  readonly #first: (() => void)[] = [];
  #isOpen = false;
  #until = 0;

  /**
   * Call before each item. Returns a promise to wait for, or undefined while the turn has time left. A consumer that
   * `isFirst` continues before the others: a reader with one new event does not wait for readers of the past.
   */
  next({ isFirst = false, user }: { isFirst?: boolean; user?: string | undefined } = {}): Promise<void> | undefined {
    if (!this.#isOpen) {
      this.#isOpen = true;
      this.#until = sliceEnd();
      setImmediate(this.#turn);
      return undefined;
    }
    if (performance.now() < this.#until) return undefined;
    return new Promise((resolve) => {
      if (isFirst) this.#first.push(resolve);
      else this.#queue.push(user, resolve);
    });
  }

  readonly #turn = (): void => {
    this.#isOpen = this.#first.length > 0 || !this.#queue.isEmpty;
    if (!this.#isOpen) return;
    this.#until = sliceEnd();
    setImmediate(this.#turn);
    this.#resume();
  };

  readonly #resumeNext = (): void => {
    if (performance.now() < this.#until) this.#resume();
  };

  #resume(): void {
    const resume = this.#first.shift() ?? this.#queue.take();
    if (!resume) return;
    resume();
    afterPromises(this.#resumeNext);
  }
}
