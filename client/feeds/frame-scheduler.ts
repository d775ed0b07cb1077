/** How long a page that is not painted, because its tab is hidden, waits for what would be its next frame. */
const HIDDEN_FRAME_MS = 250;
/** Where nothing is ever painted. */
const FRAME_MS = 16;

/** Calls back once, before the next repaint. Returns what cancels it. */
export function onNextFrame(callback: () => void): () => void {
  if (typeof requestAnimationFrame === 'undefined') {
    const timer = setTimeout(callback, FRAME_MS);
    return () => clearTimeout(timer);
  }
  const cancel = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
  };
  const run = () => {
    cancel();
    callback();
  };
  const frame = requestAnimationFrame(run);
  // A tab may be hidden between now and a frame that then never comes. One that is merely slow is waited for.
  const look = () => (document.visibilityState === 'hidden' ? run() : wait());
  const wait = () => {
    timer = setTimeout(look, HIDDEN_FRAME_MS);
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  wait();
  return cancel;
}

/** Calls that are made together, once, in the next frame: what changes in one frame is rendered in one go. */
export class FrameScheduler {
  readonly #due = new Set<() => void>();
  #cancel: (() => void) | undefined;

  /** Adding one that is due already changes nothing. */
  add(call: () => void): void {
    this.#due.add(call);
    this.#cancel ??= onNextFrame(() => {
      this.#cancel = undefined;
      const due = [...this.#due];
      this.#due.clear();
      for (const one of due) one();
    });
  }

  /** Whether it was due. */
  delete(call: () => void): boolean {
    const wasDue = this.#due.delete(call);
    if (this.#due.size === 0) {
      this.#cancel?.();
      this.#cancel = undefined;
    }
    return wasDue;
  }
}
