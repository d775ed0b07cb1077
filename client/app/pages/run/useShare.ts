import { useState } from 'react';
import { readStored, writeStored } from '../../lib/storage.ts';

const KEY = 'runwire:timeline-share';
const DEFAULT_SHARE = 58;
export const MIN_SHARE = 30;
export const MAX_SHARE = 75;

/** Returns the width of the timeline in % of the width of timeline and events, and a setter. Stored in this browser. */
export function useShare(): [share: number, set: (share: number) => void] {
  const [share, setShare] = useState(read);
  const set = (next: number) => {
    const bounded = Math.min(MAX_SHARE, Math.max(MIN_SHARE, next));
    setShare(bounded);
    writeStored(KEY, String(bounded));
  };
  return [share, set];
}

function read(): number {
  const stored = Number(readStored(KEY));
  return stored >= MIN_SHARE && stored <= MAX_SHARE ? stored : DEFAULT_SHARE;
}
