import { callSafely } from '../errors.ts';

/** Time between two frames in a hidden tab. The browser itself runs no frames there. */
const HIDDEN_FRAME_MS = 250;
/** Time between two frames on a platform without `requestAnimationFrame`. */
const FRAME_MS = 16;

/** Calls `callback` once, before the next repaint. Returns a function that cancels the call. */
function onNextFrame(callback: () => void): () => void {
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
  // If the tab becomes hidden, the browser does not run the frame, so the timer runs the callback. In a visible tab the
  // browser runs even a late frame, so the timer only waits again. Workers and React Native have no document: their timer
  // runs the callback if the frame is late.
  const isVisible = () => typeof document !== 'undefined' && document.visibilityState !== 'hidden';
  const check = () => (isVisible() ? wait() : run());
  const wait = () => {
    timer = setTimeout(check, HIDDEN_FRAME_MS);
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  wait();
  return cancel;
}

/** Collects callbacks and runs them together in the next frame, so that React renders all changes of a frame at once. */
export class FrameScheduler {
  readonly #due = new Set<() => void>();
  #cancel: (() => void) | undefined;

  /** A callback that is already scheduled is not added twice. */
  add(callback: () => void): void {
    this.#due.add(callback);
    this.#cancel ??= onNextFrame(() => {
      this.#cancel = undefined;
      for (const callback of [...this.#due]) {
        // A callback may cancel a later one of the same frame.
        if (this.#due.delete(callback)) callSafely(callback);
      }
    });
  }

  /** Cancels a callback. Returns whether it was scheduled. */
  delete(callback: () => void): boolean {
    const wasDue = this.#due.delete(callback);
    if (this.#due.size === 0) this.clear();
    return wasDue;
  }

  /** Cancels all callbacks. */
  clear(): void {
    this.#due.clear();
    this.#cancel?.();
    this.#cancel = undefined;
  }
}
