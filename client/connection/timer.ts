import { RunwireError } from '../../shared/errors.ts';

/** Maximum delay of a timer. With a longer one, `setTimeout` calls back at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Calls `callback` after `ms`, at the latest after 24 days; never if `ms` is `Infinity`. Returns the timer. */
export function startTimer(ms: number, callback: () => void): ReturnType<typeof setTimeout> | undefined {
  return ms === Number.POSITIVE_INFINITY ? undefined : setTimeout(callback, Math.min(ms, MAX_TIMER_MS));
}

/**
 * Calls `work` with a signal that is aborted with `signal` and after `ms`. Rejects after `ms`, also if `work` never settles;
 * `subject` is the subject of the message.
 */
export async function within<T>(
  ms: number,
  subject: string,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const stop = () => limit.abort();
  if (signal?.aborted) stop();
  signal?.addEventListener('abort', stop);
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    return await Promise.race([
      work(limit.signal),
      new Promise<never>((_resolve, reject) => {
        const message = `${subject} gave no answer within ${ms / 1000} s`;
        timer = setTimeout(() => reject(new RunwireError('UNAVAILABLE', message)), ms);
        limit.signal.addEventListener('abort', () => reject(new RunwireError('UNAVAILABLE', 'the call was given up')));
      }),
    ]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
    limit.abort();
  }
}

/** Maximum time of a request for a page of a run or a list. On a dead network the platform may wait without end. */
export const MAX_ANSWER_MS = 60_000;
