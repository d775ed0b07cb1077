import { useSyncExternalStore } from 'react';

/** One clock for all that tick on the page: they change together, in one render a second. */
class Clock {
  #nowMs = Date.now();
  #timer: ReturnType<typeof setInterval> | undefined;
  readonly #listeners = new Set<() => void>();

  readonly get = (): number => this.#nowMs;
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    if (this.#timer === undefined) {
      this.#nowMs = Date.now();
      this.#timer = setInterval(this.#tick, 1_000);
    }
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  };
  readonly #tick = () => {
    this.#nowMs = Date.now();
    for (const listener of this.#listeners) listener();
  };
}

const clock = new Clock();
const never = () => () => undefined;

/** Unix ms, renewed every second while `isTicking`. */
export const useNow = (isTicking: boolean): number =>
  useSyncExternalStore(isTicking ? clock.subscribe : never, clock.get);
