import { type RefObject, useEffect, useLayoutEffect, useRef, useState } from 'react';

/**
 * Keeps a row in view, the last one that runs, until the reader scrolls. `rowIndex` is −1 if nothing runs. Returns whether it
 * does, and a function that switches it on or off.
 */
export function useFollowRunning(
  scroller: RefObject<HTMLElement | null>,
  { isOn, rowIndex, rowPx, headPx }: { isOn: boolean; rowIndex: number; rowPx: number; headPx: number },
): { isFollowing: boolean; toggle: () => void; stop: () => void } {
  const [isWanted, setIsWanted] = useState(true);
  const isFollowing = isOn && isWanted;
  const setTo = useRef<number | undefined>(undefined);
  useLayoutEffect(() => {
    const box = scroller.current;
    if (!isFollowing || rowIndex < 0 || !box) return;
    const bottom = (rowIndex + 2) * rowPx + headPx;
    const top = rowIndex * rowPx;
    // The place changes only when the row leaves the view: rows that begin one after the other do not make the list jump.
    if (bottom <= box.scrollTop + box.clientHeight && top >= box.scrollTop) return;
    box.scrollTop = Math.max(0, bottom - box.clientHeight);
    setTo.current = box.scrollTop;
  });
  useEffect(() => {
    const box = scroller.current;
    const onScroll = () => {
      if (box && setTo.current !== undefined && Math.abs(box.scrollTop - setTo.current) > 1) setIsWanted(false);
    };
    box?.addEventListener('scroll', onScroll, { passive: true });
    return () => box?.removeEventListener('scroll', onScroll);
  }, [scroller]);
  const stop = () => setIsWanted(false);
  const toggle = () => {
    setTo.current = undefined;
    setIsWanted(!isFollowing);
  };
  return { isFollowing, toggle, stop };
}
