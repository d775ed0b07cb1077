/** The delay before try `attempt`, from 1: half to all of `baseMs · 2^(attempt - 1)`, at most `maxMs`. */
export function backoffMs(attempt: number, baseMs: number, maxMs: number, random: () => number): number {
  const fullMs = Math.min(maxMs, baseMs * 2 ** (attempt - 1));
  return Math.round(fullMs * (0.5 + random() / 2));
}

export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
