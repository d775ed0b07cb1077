import { useState } from 'react';
import { readStored, writeStored } from '../../../lib/storage.ts';

const KEY = 'runwire:stage-names-px';
const DEFAULT_PX = 280;
const MIN_PX = 160;
const NARROW_PX = 136;

/** Returns the width of the column of names, and a setter. It is kept in this browser; a narrow window has its own. */
export function useNameWidth(widthPx: number, isNarrow: boolean): [px: number, set: (px: number) => void] {
  const [wanted, setWanted] = useState(() => Number(readStored(KEY)) || DEFAULT_PX);
  const max = Math.max(MIN_PX, widthPx / 2);
  const bounded = Math.round(Math.min(max, Math.max(MIN_PX, wanted)));
  const set = (px: number) => {
    const next = Math.min(max, Math.max(MIN_PX, px));
    setWanted(next);
    writeStored(KEY, String(Math.round(next)));
  };
  return [isNarrow ? NARROW_PX : bounded, set];
}
