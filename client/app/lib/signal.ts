/** Values from anywhere in the app to those parts of it that listen. */
export type Signal<Value> = {
  send(value: Value): void;
  /** Calls `listener` with each value until the returned function is called. */
  listen(listener: (value: Value) => void): () => void;
};

export function signal<Value>(): Signal<Value> {
  const listeners = new Set<(value: Value) => void>();
  return {
    send: (value) => {
      for (const listener of [...listeners]) listener(value);
    },
    listen: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
