/** Functions that are called at an event. One that throws disturbs neither the others nor the caller. */
export class Listeners<Args extends readonly unknown[] = []> {
  readonly #listeners = new Set<{ call: (...args: Args) => void }>();
  readonly #onFailure: (error: unknown) => void;

  constructor(onFailure: (error: unknown) => void) {
    this.#onFailure = onFailure;
  }

  /** Adds a listener, and returns the function that removes it. */
  readonly add = (call: (...args: Args) => void): (() => void) => {
    const entry = { call };
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  };

  call(...args: Args): void {
    for (const { call } of this.#listeners) {
      try {
        call(...args);
      } catch (error) {
        this.#onFailure(error);
      }
    }
  }
}
