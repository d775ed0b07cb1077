import { type RefObject, useEffect, useLayoutEffect, useRef } from 'react';
import { NARROW, useMedia } from '../../../hooks/useMedia.ts';
import { rowsIn, useViewport } from '../../../hooks/useViewport.ts';
import type { EventRows } from './event-rows.ts';
import { type Following, isAtEnd } from './useFollowing.ts';

const ROW_PX = 28;
const NARROW_ROW_PX = 48;
export const DETAILS_PX = 240;

export type ListBox = {
  scroller: RefObject<HTMLDivElement | null>;
  list: RefObject<HTMLOListElement | null>;
  rowPx: number;
  /** Height of all rows. */
  totalPx: number;
  /** Place of a row, in px from the top of the first one. */
  topOf(row: number): number;
  /** The rows near the visible part of the box. */
  shown: { first: number; end: number };
  /** Scrolls to a row, as far as necessary. */
  reveal(row: number): void;
  /** Call after each scroll. */
  keepPlace(): void;
};

/** Places the rows of a scrolling box. `openRow`: the row with open details; −1 if none. */
export function useListBox(rows: EventRows, count: number, openRow: number, following: Following): ListBox {
  const { isFollowing, pause } = following;
  const scroller = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLOListElement>(null);
  const rowPx = useMedia(NARROW) ? NARROW_ROW_PX : ROW_PX;
  const view = useViewport(list, { scroller, isPaused: isFollowing });
  const openPx = openRow === -1 ? 0 : DETAILS_PX;
  const topOf = (row: number) => row * rowPx + (openRow !== -1 && row > openRow ? openPx : 0);
  const totalPx = count * rowPx + openPx;
  // While the list follows the latest event, its end is visible. The measured position is then not up to date.
  const topPx = isFollowing ? Math.max(0, totalPx - view.heightPx) : view.topPx - openPx;
  const shown = rowsIn({ ...view, topPx, heightPx: view.heightPx + openPx }, count, rowPx);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a longer list or a resized box moves the end.
  useLayoutEffect(() => {
    if (isFollowing && scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
  }, [isFollowing, totalPx, view.heightPx]);

  // When rows are added above, or folded, the row at the top of the box stays where it is.
  const place = useRef<{ runSeq: number; fromTopPx: number } | undefined>(undefined);
  const keepPlace = () => {
    const top = scroller.current?.scrollTop ?? 0;
    const row = Math.floor((openRow !== -1 && top > topOf(openRow + 1) ? top - openPx : top) / rowPx);
    const found = rows.at(row);
    place.current = found && { runSeq: found.runSeq, fromTopPx: top - topOf(row) };
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: only a new generation of rows moves the rows above.
  useLayoutEffect(() => {
    const [box, kept] = [scroller.current, place.current];
    const row = kept ? rows.rowOf(kept.runSeq) : -1;
    if (!box || !kept || row === -1 || isFollowing) return;
    box.scrollTop = topOf(row) + kept.fromTopPx;
  }, [rows, rows.generation]);

  const reveal = (row: number) => {
    pause();
    const box = scroller.current;
    if (!box) return;
    const top = topOf(row);
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + rowPx > box.scrollTop + box.clientHeight) box.scrollTop = top + rowPx - box.clientHeight;
  };
  return { scroller, list, rowPx, totalPx, topOf, shown, reveal, keepPlace };
}

/** Scrolls to the linked event when a link to the event is opened, but not at later changes of the list. */
export function useScrollToLinked(
  rows: EventRows,
  linked: number | undefined,
  { scroller, list, topOf }: ListBox,
  { pause, resume }: Following,
): void {
  useEffect(() => {
    if (linked !== undefined) rows.reveal(linked);
  }, [rows, linked]);
  const isShown = linked !== undefined && rows.at(rows.rowOf(linked))?.kind === 'event';
  // biome-ignore lint/correctness/useExhaustiveDependencies: later changes must not scroll away from the user's position.
  useLayoutEffect(() => {
    const box = scroller.current;
    if (!isShown || !box) return;
    const row = rows.rowOf(linked);
    // With the details of the row.
    const [top, bottom] = [topOf(row), topOf(row + 1)];
    if (top < box.scrollTop || bottom > box.scrollTop + box.clientHeight)
      box.scrollTop = Math.max(top - box.clientHeight / 3, Math.min(top, bottom - box.clientHeight));
    if (!isInPage(box, top - box.scrollTop, bottom - top)) box.scrollIntoView({ block: 'nearest' });
    const hasFocus = list.current?.contains(document.activeElement);
    if (isAtEnd(box) && !hasFocus) resume();
    else pause();
  }, [linked, isShown]);
}

/** Returns whether a row, `px` below the top of the box, and its details are visible without scrolling the page. */
function isInPage(box: Element, px: number, heightPx: number): boolean {
  const top = box.getBoundingClientRect().top + px;
  const header = document.querySelector('header')?.getBoundingClientRect().bottom ?? 0;
  return top >= header && top + heightPx <= window.innerHeight;
}
