import { type RefObject, useCallback, useEffect, useLayoutEffect, useState } from 'react';

/**
 * Virtual rows: a long list renders only the rows near its visible part. All rows have the same height, so the position of
 * a row is a multiplication, and 100,000 rows cost as much as 30. Rejected: a library that measures each row. For each new
 * row, up to 60 times a second, it would rebuild a table of 100,000 heights.
 */

/** The visible part of an element, in px from the element's top left corner. */
export type Viewport = { topPx: number; leftPx: number; heightPx: number; widthPx: number };
const nothing: Viewport = { topPx: 0, leftPx: 0, heightPx: 0, widthPx: 0 };

/** Scroll positions are rounded down to a multiple of this, so that scrolling by a few px causes no render. */
const STRIDE_PX = 120;
const floorTo = (value: number) => Math.floor(value / STRIDE_PX) * STRIDE_PX;

/**
 * Returns the visible part of an element, and updates it when the user scrolls or resizes. `scroller` is the scrolling
 * ancestor; default the page. With `isPaused`, scrolling causes no update: for callers that set the scroll position
 * themselves.
 */
export function useViewport(
  element: RefObject<HTMLElement | null>,
  { scroller, isPaused = false }: { scroller?: RefObject<HTMLElement | null>; isPaused?: boolean } = {},
): Viewport {
  const [view, setView] = useState(nothing);
  const measure = useCallback(() => {
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

  useLayoutEffect(measure, [measure]);
  useEffect(() => {
    const observer = new ResizeObserver(measure);
    observer.observe(scroller?.current ?? document.documentElement);
    return () => observer.disconnect();
  }, [measure, scroller]);
  useLayoutEffect(() => {
    if (isPaused) return;
    measure();
    const target = scroller?.current ?? window;
    target.addEventListener('scroll', measure, { passive: true });
    return () => target.removeEventListener('scroll', measure);
  }, [measure, scroller, isPaused]);
  return view;
}

const isSame = (a: Viewport, b: Viewport) =>
  a.topPx === b.topPx && a.leftPx === b.leftPx && a.heightPx === b.heightPx && a.widthPx === b.widthPx;

/** Returns the rows to render (`end` exclusive): the visible rows, and some rows before and after them. */
export function rowsIn({ topPx, heightPx }: Viewport, count: number, rowPx: number): { first: number; end: number } {
  const first = Math.max(0, Math.floor((topPx - 2 * STRIDE_PX) / rowPx));
  const end = Math.min(count, Math.ceil((topPx + heightPx + 3 * STRIDE_PX) / rowPx));
  return { first: Math.min(first, end), end };
}

export const upTo = ({ first, end }: { first: number; end: number }): number[] =>
  Array.from({ length: end - first }, (_, index) => first + index);

/** Scrolls the page as little as needed to show a row of a list between the bar at the top and the one at the bottom. */
export function scrollToRow(list: HTMLElement | null, index: number, rowPx: number): void {
  if (!list) return;
  const top = list.getBoundingClientRect().top + index * rowPx;
  const barPx = document.querySelector('.bar')?.getBoundingClientRect().bottom ?? 0;
  const nav = document.querySelector('.bar nav');
  const bottomPx = window.innerHeight - (nav && getComputedStyle(nav).position === 'fixed' ? nav.clientHeight : 0);
  if (top < barPx) window.scrollBy(0, top - barPx - rowPx);
  else if (top + rowPx > bottomPx) window.scrollBy(0, top + 2 * rowPx - bottomPx);
}
