import { useState } from 'react';
import { type Change, changesBetween, type Seen } from './card-state.ts';

export type SeenState = {
  /** What the reader saw when the approval was opened, or last confirmed; undefined until the page was complete once. */
  seen: Seen | undefined;
  /** What changed since then. */
  changes: readonly Change[];
  /** Something was logged since then. */
  isNewer: boolean;
  /** Takes what the page shows now as seen. */
  see(): void;
};

/** Keeps what the reader has seen of an approval, and compares it with what the page shows now. */
export function useSeen(now: Seen, isComplete: boolean): SeenState {
  const [seen, setSeen] = useState<Seen>();
  if (!seen && isComplete) setSeen(now);
  return {
    seen,
    changes: seen ? changesBetween(seen, now) : [],
    isNewer: seen !== undefined && now.seq > seen.seq,
    see: () => setSeen(now),
  };
}
