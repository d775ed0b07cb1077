/**
 * Shares the event loop between synchronous pieces of work: each turn of the loop runs queued pieces for about
 * `sliceMs`, then lets timers and sockets have their turn. A piece is never interrupted, so it has to watch
 * {@link sliceMs} itself.
 */
export const sliceMs = 5;

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
    const until = performance.now() + sliceMs;
    while (this.#queue.length > 0 && performance.now() < until) this.#queue.shift()?.();
    if (this.#queue.length > 0) setImmediate(this.#turn);
    else this.#isScheduled = false;
  };
}
