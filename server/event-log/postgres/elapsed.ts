/** An instant by both clocks: the monotonic one stops while the machine is suspended, the other one may be set back. */
export type Instant = { monotonicMs: number; wallMs: number };

export const instant = (): Instant => ({ monotonicMs: performance.now(), wallMs: Date.now() });

/** Returns the time since an instant, by the clock that has advanced further. */
export const elapsedMs = ({ monotonicMs, wallMs }: Instant): number =>
  Math.max(performance.now() - monotonicMs, Date.now() - wallMs);
