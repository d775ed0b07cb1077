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

  run<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#queue.push(() => {
        try {
          resolve(work());
        } catch (error) {
          reject(error);
        }
      });
      if (this.#isScheduled) return;
      this.#isScheduled = true;
      setImmediate(this.#turn);
    });
  }

  readonly #turn = (): void => {
    const until = performance.now() + SLICE_MS;
    while (this.#queue.length > 0 && performance.now() < until) this.#queue.shift()?.();
    if (this.#queue.length > 0) setImmediate(this.#turn);
    else this.#isScheduled = false;
  };
}
