import { type UIEvent, useCallback, useLayoutEffect, useRef, useState } from 'react';

/** A scroll position closer to the end than this counts as the end. */
const END_PX = 16;

/**
 * Whether the event list follows the latest event, that is, stays scrolled to the end. The list stops following when the
 * user scrolls up, opens or focuses a row, or uses a link to an event. It follows again when the user scrolls to the end.
 */
export type Following = {
  isFollowing: boolean;
  /** Number of events that have arrived since the list stopped following. */
  newCount: number;
  pause(): void;
  resume(): void;
  onScroll(event: UIEvent): void;
};

export function useFollowing(total: number, isPausedAtFirst: boolean): Following {
  /** Null while the list follows; otherwise the number of events when it stopped. */
  const [seen, setSeen] = useState<number | null>(isPausedAtFirst ? total : null);
  const latest = useRef(total);
  useLayoutEffect(() => {
    latest.current = total;
  });
  // The same functions at each render: new functions would make React render all rows for each event of the run.
  const pause = useCallback(() => setSeen((before) => before ?? latest.current), []);
  const resume = useCallback(() => setSeen(null), []);

  const last = useRef({ scrollTop: 0, scrollHeight: 0, clientHeight: 0 });
  const onScroll = ({ currentTarget: box }: UIEvent) => {
    const { scrollTop, scrollHeight, clientHeight } = box;
    const before = last.current;
    last.current = { scrollTop, scrollHeight, clientHeight };
    // The browser itself may scroll up when the box is resized or the list becomes shorter, but not when the list grows.
    // Any other scroll up comes from the user.
    const isResized = clientHeight !== before.clientHeight || scrollHeight < before.scrollHeight;
    const isUp = scrollTop < before.scrollTop;
    if (isUp && !isResized && distanceToEnd(box) > 1) pause();
    else if (!isUp && isAtEnd(box)) resume();
  };
  return { isFollowing: seen === null, newCount: seen === null ? 0 : total - seen, pause, resume, onScroll };
}

export const isAtEnd = (box: Element): boolean => distanceToEnd(box) < END_PX;

const distanceToEnd = ({ scrollHeight, scrollTop, clientHeight }: Element) => scrollHeight - scrollTop - clientHeight;
