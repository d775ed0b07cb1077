import { type RefObject, useCallback, useEffect, useLayoutEffect, useState } from 'react';

/**
 * Long lists hold in the page only the rows near what can be seen. Rows have one height, so that where each stands is a
 * sum: 100,000 of them cost what thirty do, and nothing is measured that could move. (A library that measures every row
 * rebuilds its table of 100,000 whenever one is added, sixty times a second.)
 */

/** What can be seen of an element, in px from its top left corner. */
export type Viewport = { topPx: number; leftPx: number; heightPx: number; widthPx: number };
const nothing: Viewport = { topPx: 0, leftPx: 0, heightPx: 0, widthPx: 0 };

/** Rows are asked for in strides: a scroll by a pixel renders nothing. */
const STRIDE_PX = 120;
const floorTo = (value: number) => Math.floor(value / STRIDE_PX) * STRIDE_PX;

/**
 * `scroller`: what scrolls the element; without it, the page. While `isPaused`, where it stands is somebody else's to
 * say, and scrolling renders nothing.
 */
export function useViewport(
  element: RefObject<HTMLElement | null>,
  { scroller, isPaused = false }: { scroller?: RefObject<HTMLElement | null>; isPaused?: boolean } = {},
): Viewport {
  const [view, setView] = useState(nothing);
  const look = useCallback(() => {
    const { current: shown } = element;
    if (!shown) return;
    const box = shown.getBoundingClientRect();
    const frame = scroller?.current?.getBoundingClientRect() ?? { top: 0, left: 0 };
    const { clientWidth, clientHeight } = scroller?.current ?? document.documentElement;
    const next = {
      topPx: floorTo(Math.max(0, frame.top - box.top)),
      leftPx: floorTo(Math.max(0, frame.left - box.left)),
      heightPx: clientHeight,
      widthPx: clientWidth,
    };
    setView((before) => (isSame(before, next) ? before : next));
  }, [element, scroller]);

  useLayoutEffect(look, [look]);
  useEffect(() => {
    const observer = new ResizeObserver(look);
    observer.observe(scroller?.current ?? document.documentElement);
    return () => observer.disconnect();
  }, [look, scroller]);
  useLayoutEffect(() => {
    if (isPaused) return;
    look();
    const target = scroller?.current ?? window;
    target.addEventListener('scroll', look, { passive: true });
    return () => target.removeEventListener('scroll', look);
  }, [look, scroller, isPaused]);
  return view;
}

const isSame = (a: Viewport, b: Viewport) =>
  a.topPx === b.topPx && a.leftPx === b.leftPx && a.heightPx === b.heightPx && a.widthPx === b.widthPx;

/** The rows to render, first inclusive, end exclusive: what can be seen, and some on both sides for what is next. */
export function rowsIn({ topPx, heightPx }: Viewport, count: number, rowPx: number): { first: number; end: number } {
  const first = Math.max(0, Math.floor((topPx - 2 * STRIDE_PX) / rowPx));
  const end = Math.min(count, Math.ceil((topPx + heightPx + 3 * STRIDE_PX) / rowPx));
  return { first: Math.min(first, end), end };
}

export const upTo = ({ first, end }: { first: number; end: number }): number[] =>
  Array.from({ length: end - first }, (_, index) => first + index);
