import { createContext, useContext, useSyncExternalStore } from 'react';

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

const Held = createContext<number | null>(null);

/** Holds all clocks below it at an instant, Unix ms: what has ended since is not known. Null lets them run. */
export const HeldNow = Held.Provider;

/** Unix ms, renewed every second while `isTicking`, unless it is held. */
export function useNow(isTicking: boolean): number {
  const heldMs = useContext(Held);
  const nowMs = useSyncExternalStore(isTicking && heldMs === null ? clock.subscribe : never, clock.get);
  return heldMs ?? nowMs;
}
