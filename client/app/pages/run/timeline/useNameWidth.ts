import { useState } from 'react';

const KEY = 'runwire:stage-names-px';
const DEFAULT_PX = 280;
const MIN_PX = 160;
const NARROW_PX = 136;

/** Returns the width of the column of names, and a setter. It is kept in this browser; a narrow window has its own. */
export function useNameWidth(widthPx: number, isNarrow: boolean): [px: number, set: (px: number) => void] {
  const [wanted, setWanted] = useState(read);
  const max = Math.max(MIN_PX, widthPx / 2);
  const bounded = Math.round(Math.min(max, Math.max(MIN_PX, wanted)));
  const set = (px: number) => {
    const next = Math.min(max, Math.max(MIN_PX, px));
    setWanted(next);
    try {
      localStorage.setItem(KEY, String(Math.round(next)));
    } catch {
      // The browser denies access to its storage: the width lasts until the page closes.
    }
  };
  return [isNarrow ? NARROW_PX : bounded, set];
}

function read(): number {
  try {
    return Number(localStorage.getItem(KEY)) || DEFAULT_PX;
  } catch {
    return DEFAULT_PX;
  }
}
