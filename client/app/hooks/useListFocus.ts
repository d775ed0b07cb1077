import { type FocusEvent, type KeyboardEvent, useCallback, useLayoutEffect, useRef, useState } from 'react';
import { focusedRow } from '../lib/navigation.tsx';
import { upTo } from './useViewport.ts';

/**
 * The focus of a list. The list is one tab stop; arrows, Home, End, Page Up and Page Down move the focus between its rows, and
 * `j` and `k` do so from anywhere on the page. The arrow to the right leads to the links and buttons in a row. The Back button
 * returns the focus to the row that it was on.
 */

export type ListFocusOptions = {
  /** Names the list within its page. */
  name: string;
  count: number;
  /** Key of a row, which stays the same when the row moves. */
  keyOf: (index: number) => string;
  /** Index of a key; −1 if the list does not have it. Default: looks through all rows. */
  indexOf?: ((key: string) => number) | undefined;
  /** Enter on a row. */
  open?: ((index: number) => void) | undefined;
  /** Scrolls to a row of a list with rows at computed places. Default: the browser scrolls to the focused row. */
  reveal?: ((index: number) => void) | undefined;
  /** The focus has moved to a row. */
  onMove?: ((index: number) => void) | undefined;
  /** Rows that Page Up and Page Down skip; default 10. */
  pageRows?: number | undefined;
};

export type ListFocus<Element extends HTMLElement> = {
  /** Index of the row that has the focus, or had it last; −1 if none. */
  activeIndex: number;
  /** For the element with `role="grid"`, `listbox` or `list`. */
  listProps: {
    ref: (element: Element | null) => (() => void) | undefined;
    'data-list': string;
    onKeyDown: (event: KeyboardEvent) => void;
    onFocus: (event: FocusEvent) => void;
    onBlur: (event: FocusEvent) => void;
  };
  /** For the element of a row. */
  rowProps: (index: number) => { 'data-row': string; 'data-index': number; tabIndex: 0 | -1 };
  /** The rows to render (`end` exclusive), and the row with the focus where it is outside. */
  rows: (range: { first: number; end: number }) => number[];
  /** Moves the focus to a row. */
  focus: (index: number) => void;
};

type Active = { key: string; index: number };

export function useListFocus<Element extends HTMLElement>(options: ListFocusOptions): ListFocus<Element> {
  const { name, count, keyOf, reveal } = options;
  const list = useRef<Element>(null);
  const [active, setActive] = useState<Active | null>(() => restored(name));
  /** The row with the key gets the focus after the render. `restored`: only while nothing else has the focus. */
  const wanted = useRef<'moved' | 'restored' | null>(active ? 'restored' : null);
  const hasFocus = useRef(false);
  const first = useRef(0);

  const activeIndex = indexOf(active, options);
  const stopOf = () => (activeIndex === -1 ? Math.min(first.current, count - 1) : activeIndex);

  const focus = (index: number) => {
    if (index < 0 || index >= count) return;
    wanted.current = 'moved';
    reveal?.(index);
    setActive({ key: keyOf(index), index });
    options.onMove?.(index);
  };

  useLayoutEffect(() => {
    const box = list.current;
    if (!box) return;
    const isIdle = document.activeElement === document.body || document.activeElement?.tagName === 'MAIN';
    // The row with the focus has left the list. The next row gets the focus, so that the keys go on from there.
    const isLost = hasFocus.current && document.activeElement === document.body;
    if (wanted.current === null && !isLost) return;
    const row = active && rowOf(box, activeIndex === -1 ? '' : keyOf(activeIndex));
    if (!row) return;
    if (wanted.current === 'restored' && !isIdle) wanted.current = null;
    else {
      wanted.current = null;
      row.focus({ preventScroll: reveal !== undefined });
    }
  });
  const ref = useCallback((box: Element | null) => {
    list.current = box;
    return box ? withoutInnerStops(box) : undefined;
  }, []);

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isField(event.target)) return;
    const row = event.target instanceof HTMLElement ? event.target.closest<HTMLElement>('[data-row]') : null;
    if (event.key === 'Enter' && event.target === row) {
      if (!options.open) return;
      event.preventDefault();
      return options.open(Number(row.dataset.index));
    }
    if (event.key === 'ArrowRight' || event.key === 'ArrowLeft') return row && moveInside(event, row);
    const from = activeIndex === -1 ? firstVisible(list.current) : activeIndex;
    const to = targetOf(event.key, from, activeIndex === -1, options);
    if (to === undefined) return;
    event.preventDefault();
    focus(Math.max(0, Math.min(count - 1, to)));
  };
  return {
    activeIndex,
    listProps: {
      ref,
      'data-list': name,
      onKeyDown,
      onFocus: ({ target }) => {
        hasFocus.current = true;
        const row = target.closest<HTMLElement>('[data-row]');
        const index = Number(row?.dataset.index);
        if (!row || (index === active?.index && row.dataset.row === active.key)) return;
        setActive({ key: row.dataset.row ?? '', index });
        options.onMove?.(index);
      },
      // A browser reports no new target, and the row is gone, if the row left the list.
      onBlur: ({ relatedTarget, target }) => {
        if (relatedTarget !== null || target.isConnected) hasFocus.current = false;
      },
    },
    rowProps: (index) => ({ 'data-row': keyOf(index), 'data-index': index, tabIndex: index === stopOf() ? 0 : -1 }),
    rows: (range) => {
      first.current = range.first;
      const inner = upTo(range);
      if (activeIndex === -1 || activeIndex >= count) return inner;
      if (activeIndex < range.first) return [activeIndex, ...inner];
      return activeIndex >= range.end ? [...inner, activeIndex] : inner;
    },
    focus,
  };
}

/** Moves the focus by a row in the list that has or last had it, or else in the page's first list. */
export function stepList(last: HTMLElement | null, by: 1 | -1): void {
  const list = last?.isConnected ? last : document.querySelector<HTMLElement>('[data-list]');
  const key = by === 1 ? 'ArrowDown' : 'ArrowUp';
  list?.dispatchEvent(new window.KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
}

function restored(name: string): Active | null {
  const row = focusedRow();
  return row?.list === name ? { key: row.key, index: row.index } : null;
}

function indexOf(active: Active | null, { count, keyOf, indexOf: find }: ListFocusOptions): number {
  if (!active || count === 0) return -1;
  if (active.index < count && keyOf(active.index) === active.key) return active.index;
  const found = find
    ? find(active.key)
    : upTo({ first: 0, end: count }).findIndex((index) => keyOf(index) === active.key);
  return found === -1 ? Math.min(active.index, count - 1) : found;
}

/** The first press of an arrow leads to the first row in view. */
function targetOf(key: string, from: number, isFirst: boolean, options: ListFocusOptions): number | undefined {
  const { count, pageRows = 10 } = options;
  const steps: { [key: string]: number } = { ArrowDown: 1, ArrowUp: -1, PageDown: pageRows, PageUp: -pageRows };
  if (key === 'Home') return 0;
  if (key === 'End') return count - 1;
  const step = steps[key];
  return step === undefined ? undefined : from + (isFirst ? 0 : step);
}

const rowsOf = (box: HTMLElement) => [...box.querySelectorAll<HTMLElement>('[data-row]')];
const rowOf = (box: HTMLElement, key: string) => rowsOf(box).find((row) => row.dataset.row === key);

function firstVisible(box: HTMLElement | null): number {
  if (!box) return 0;
  const topPx = Math.max(box.getBoundingClientRect().top, document.querySelector('.bar')?.clientHeight ?? 0);
  const row = rowsOf(box).find((one) => one.getBoundingClientRect().top >= topPx - 1);
  return Number(row?.dataset.index ?? 0);
}

const INNER = 'a[href], button, input, [tabindex]';
const innerOf = (row: HTMLElement) =>
  [...row.querySelectorAll<HTMLElement>(INNER)].filter((one) => one.getClientRects().length > 0);

/** Moves between a row and the links and buttons in it. */
function moveInside(event: KeyboardEvent, row: HTMLElement): void {
  const stops = [row, ...innerOf(row)];
  const at = stops.indexOf(event.target as HTMLElement);
  const next = stops[at + (event.key === 'ArrowRight' ? 1 : -1)];
  if (!next) return;
  event.preventDefault();
  next.focus();
}

/** Takes the links and buttons in rows out of the order of Tab, also those of rows that are rendered later. */
function withoutInnerStops(box: HTMLElement): () => void {
  const clear = () => {
    for (const row of rowsOf(box)) for (const one of row.querySelectorAll<HTMLElement>(INNER)) one.tabIndex = -1;
  };
  clear();
  const observer = new MutationObserver(clear);
  observer.observe(box, { childList: true, subtree: true });
  return () => observer.disconnect();
}

const isField = (target: EventTarget | null) =>
  target instanceof HTMLElement && target.closest('input, textarea, select') !== null;
