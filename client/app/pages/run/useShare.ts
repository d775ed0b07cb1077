import { useState } from 'react';

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
    try {
      localStorage.setItem(KEY, String(bounded));
    } catch {
      // The browser denies access to its storage: the width lasts until the page closes.
    }
  };
  return [share, set];
}

function read(): number {
  try {
    const stored = Number(localStorage.getItem(KEY));
    return stored >= MIN_SHARE && stored <= MAX_SHARE ? stored : DEFAULT_SHARE;
  } catch {
    return DEFAULT_SHARE;
  }
}
