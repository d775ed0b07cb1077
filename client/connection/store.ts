import { callSafely } from '../errors.ts';

/** Holds a state and calls listeners after a change. The methods fit React's `useSyncExternalStore`. */
export class Store<T> {
  /** To change the state, assign a new object and call {@link notify}: an assignment alone calls no listener. */
  state: T;
  readonly #listeners = new Set<() => void>();

  constructor(state: T) {
    this.state = state;
  }

  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  readonly getState = (): T => this.state;

  /** Adds a listener. Returns a function that removes the listener. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  notify(): void {
    // A copy, because listeners may add and remove listeners. A removed listener is not called.
    for (const listener of [...this.#listeners]) if (this.#listeners.has(listener)) callSafely(listener);
  }
}
