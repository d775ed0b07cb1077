/** Time that synchronous work may hold the event loop. */
export const SLICE_MS = 5;

/**
 * Shares the event loop between pieces of synchronous work: each turn of the loop runs queued pieces for about {@link
 * SLICE_MS}, then timers and sockets get their turn. Nothing interrupts a piece of work, so it must check the time and
 * return.
 */
export class Slices {
  readonly #queue: (() => void)[] = [];
  #isScheduled = false;
  #isPaused = false;

  run<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#queue.push(() => {
        try {
          resolve(work());
        } catch (error) {
          reject(error);
        }
      });
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
    if (this.#isScheduled || this.#isPaused || this.#queue.length === 0) return;
    this.#isScheduled = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    const until = performance.now() + SLICE_MS;
    while (!this.#isPaused && this.#queue.length > 0 && performance.now() < until) this.#queue.shift()?.();
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
  #isOpen = false;
  #until = 0;

  /** Call before each item. Returns a promise to wait for, or undefined while the turn has time left. */
  next(): Promise<void> | undefined {
    if (!this.#isOpen) {
      this.#isOpen = true;
      this.#until = performance.now() + SLICE_MS;
      setImmediate(this.#turn);
      return undefined;
    }
    if (performance.now() < this.#until) return undefined;
    return new Promise((resolve) => this.#queue.push(resolve));
  }

  readonly #turn = (): void => {
    const resume = this.#queue.shift();
    this.#isOpen = resume !== undefined;
    if (!resume) return;
    this.#until = performance.now() + SLICE_MS;
    setImmediate(this.#turn);
    resume();
  };
}
