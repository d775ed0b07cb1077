import { type PointerEvent, type RefObject, useRef } from 'react';
import { formatDuration, formatEventClock } from '../../../lib/format.ts';
import type { Scale } from './scale.ts';

/** The line under the pointer, with its time since the start and of day. It is moved without a render. */
export function useHair(scale: Scale, namePx: number, pointer: RefObject<number | undefined>, isUtc: boolean) {
  const hair = useRef<HTMLDivElement>(null);
  const onPointerMove = ({ currentTarget, clientX }: PointerEvent<HTMLElement>) => {
    const line = hair.current;
    const scroller = currentTarget.getBoundingClientRect();
    const px = clientX - scroller.left - namePx;
    const x = px + currentTarget.scrollLeft;
    const isOver = px >= 0 && x <= scale.widthPx;
    pointer.current = px >= 0 ? px : undefined;
    if (!line) return;
    line.hidden = !isOver;
    if (!isOver) return;
    const ms = scale.msOf(x);
    line.style.transform = `translateX(${namePx + x}px)`;
    line.dataset.text = `${formatDuration(ms - scale.startMs)} · ${formatEventClock(ms, isUtc)}`;
  };
  const onPointerLeave = () => {
    pointer.current = undefined;
    if (hair.current) hair.current.hidden = true;
  };
  return { hair, onPointerMove, onPointerLeave };
}
