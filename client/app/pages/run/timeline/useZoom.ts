import { type RefObject, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { type Idle, Scale, type Span } from './scale.ts';

/** Browsers cannot lay out elements of more than about 30 million px. */
const MAX_TRACK_PX = 8_000_000;
const MAX_PX_PER_MS = 20;

/** An instant, and its distance from the left end of the visible track. Zooming keeps it there. */
export type Anchor = { ms: number; px: number };

type Options = {
  scroller: RefObject<HTMLElement | null>;
  span: Span;
  folds: readonly Idle[];
  /** Width of the whole span while nothing is zoomed. */
  fitPx: number;
  /** Width of the visible track. */
  trackPx: number;
  /** The instant to keep in place. `px`: where the pointer is, if it is over the track. */
  anchorAt: (scale: Scale, leftPx: number, px: number | undefined) => Anchor;
};

export type Zoom = {
  scale: Scale;
  isFitted: boolean;
  zoomBy: (factor: number) => void;
  zoomTo: (fromMs: number, toMs: number) => void;
  fit: () => void;
  /** Where the pointer is over the track; px from the left end of the visible track. */
  pointer: RefObject<number | undefined>;
};

/** The scale of the axis: the whole span fits into the box, or it has a constant scale and the axis grows. */
export function useZoom(options: Options): Zoom {
  const { scroller, span, folds, fitPx, trackPx } = options;
  const { startMs, endMs } = span;
  const [zoom, setZoom] = useState<number | null>(null);
  const pointer = useRef<number | undefined>(undefined);
  const held = useRef<Anchor | undefined>(undefined);
  const fitted = useMemo(() => Scale.fitting({ startMs, endMs }, folds, fitPx), [startMs, endMs, folds, fitPx]);
  const scale = useMemo(
    () => (zoom === null ? fitted : new Scale({ startMs, endMs }, folds, zoom)),
    [zoom, fitted, startMs, endMs, folds],
  );
  useLayoutEffect(() => {
    if (held.current && scroller.current) scroller.current.scrollLeft = scale.xOf(held.current.ms) - held.current.px;
    held.current = undefined;
  }, [scroller, scale]);

  const set = (pxPerMs: number, anchor: Anchor) => {
    const next = Math.min(pxPerMs, MAX_TRACK_PX / (endMs - startMs), MAX_PX_PER_MS);
    held.current = anchor;
    setZoom(next <= fitted.pxPerMs * 1.01 ? null : next);
  };
  const zoomBy = (factor: number) => {
    const leftPx = scroller.current?.scrollLeft ?? 0;
    const pxPerMs = Math.max(scale.pxPerMs * factor, fitted.pxPerMs);
    set(pxPerMs, options.anchorAt(scale, leftPx, pointer.current));
  };
  const zoomTo = (fromMs: number, toMs: number) => {
    const px = scale.xOf(toMs) - scale.xOf(fromMs);
    if (px > 0) set(Math.max(scale.pxPerMs * (trackPx / px), fitted.pxPerMs), { ms: fromMs, px: 0 });
  };
  const latest = useRef(zoomBy);
  useEffect(() => {
    latest.current = zoomBy;
  });
  useEffect(() => {
    const box = scroller.current;
    // A listener of React could not keep the browser from zooming the page.
    const onWheel = (event: WheelEvent) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      latest.current(event.deltaY < 0 ? 1.25 : 0.8);
    };
    box?.addEventListener('wheel', onWheel, { passive: false });
    return () => box?.removeEventListener('wheel', onWheel);
  }, [scroller]);
  return { scale, isFitted: zoom === null, zoomBy, zoomTo, fit: () => setZoom(null), pointer };
}

/** A bar on the axis, in Unix ms. */
export type Bar = { fromMs: number; toMs: number };

/**
 * Returns the instant to keep in place: the selected bar; else what is under the pointer, while a bar stays near it; else
 * the bar nearest to the middle.
 */
export function anchorOf(
  { selected, bars }: { selected: Bar | undefined; bars: readonly Bar[] },
  scale: Scale,
  { leftPx, px, trackPx }: { leftPx: number; px: number | undefined; trackPx: number },
): Anchor {
  const middle = trackPx / 2;
  const isVisible = (x: number) => x >= leftPx && x <= leftPx + trackPx;
  if (selected) {
    const [from, to] = [scale.xOf(selected.fromMs), scale.xOf(selected.toMs)];
    const x = Math.max(from, Math.min(to, isVisible(from) || isVisible(to) ? (from + to) / 2 : leftPx + middle));
    return { ms: scale.msOf(x), px: isVisible(x) ? x - leftPx : middle };
  }
  const wanted = leftPx + (px ?? middle);
  let nearest = wanted;
  let least = Number.POSITIVE_INFINITY;
  for (const { fromMs, toMs } of bars) {
    const [from, to] = [scale.xOf(fromMs), scale.xOf(toMs)];
    const x = Math.max(from, Math.min(to, wanted));
    const distance = Math.abs(x - wanted);
    if (distance >= least) continue;
    least = distance;
    nearest = x;
  }
  return { ms: scale.msOf(nearest), px: isVisible(nearest) ? nearest - leftPx : middle };
}
