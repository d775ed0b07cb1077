/** A value that changes, and its listeners. The shape fits `useSyncExternalStore`. */
export class Store<T> {
  /** Replace the object to change it. Listeners are called by {@link notify} only. */
  state: T;
  readonly #listeners = new Set<() => void>();

  constructor(state: T) {
    this.state = state;
  }

  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  readonly getState = (): T => this.state;

  /** Returns a function that removes the listener. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  notify(): void {
    // A copy, because listeners may add and remove listeners. A removed listener is not called.
    for (const listener of [...this.#listeners]) if (this.#listeners.has(listener)) listener();
  }
}
