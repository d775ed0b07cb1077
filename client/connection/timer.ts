/** Maximum delay of a timer. With a longer one, `setTimeout` calls back at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Calls `callback` after `ms`, at the latest after 24 days; never if `ms` is `Infinity`. Returns the timer. */
export function startTimer(ms: number, callback: () => void): ReturnType<typeof setTimeout> | undefined {
  return ms === Number.POSITIVE_INFINITY ? undefined : setTimeout(callback, Math.min(ms, MAX_TIMER_MS));
}
