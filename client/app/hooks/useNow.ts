import { createContext, useContext, useSyncExternalStore } from 'react';
import { useConnection } from '../../hooks/index.ts';

/** One timer for all clocks of the page, so that they change in one render per second. */
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

/**
 * A provider that stops all clocks below it at an instant (Unix ms); with null they run. The clocks stop when the
 * connection is lost, because a run may then end without notice.
 */
export const HeldNow = Held.Provider;

/** Returns the time of this device in Unix ms. The time changes every second if `isTicking`, unless `HeldNow` stops the clock. */
export function useNow(isTicking: boolean): number {
  const heldMs = useContext(Held);
  const nowMs = useSyncExternalStore(isTicking && heldMs === null ? clock.subscribe : never, clock.get);
  return heldMs ?? nowMs;
}

/** As {@link useNow}, by the server's clock. Times of runs must be compared with this one. */
export function useServerNow(isTicking: boolean): number {
  return useNow(isTicking) + useConnection().serverTimeOffsetMs;
}

/**
 * Returns a text or number that depends on the server's time (Unix ms). The component renders when the value changes, and not
 * every second.
 */
export function useFromNow<Value extends string | number>(of: (nowMs: number) => Value): Value {
  const heldMs = useContext(Held);
  const { serverTimeOffsetMs } = useConnection();
  return useSyncExternalStore(heldMs === null ? clock.subscribe : never, () =>
    of((heldMs ?? clock.get()) + serverTimeOffsetMs),
  );
}
