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
