import { startTimer } from './timer.ts';

/**
 * Returns the delay before a retry: a random time between half and all of `baseMs · 2^(attempt - 1)`, at most `maxMs`.
 * `attempt` is 1 after the first failure. `random` returns a number in [0, 1).
 */
export function backoffMs(attempt: number, baseMs: number, maxMs: number, random: () => number = Math.random): number {
  const fullMs = Math.min(maxMs, baseMs * 2 ** Math.min(attempt - 1, 31));
  return Math.round(fullMs * (0.5 + random() / 2));
}

/** Resolves after `ms`, or as soon as `signal` is aborted. `Infinity` waits for the signal alone. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = startTimer(ms, done);
    signal.addEventListener('abort', done);
  });
}
