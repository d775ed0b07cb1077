import { type UIEvent, useCallback, useLayoutEffect, useRef, useState } from 'react';

/** At most this far from the end counts as at the end. */
const END_PX = 16;

/**
 * Whether the feed follows the latest event. It follows until the user scrolls up, opens or focuses a row, or a link
 * leads to an event, and again once the user scrolls to the end.
 */
export type Following = {
  isFollowing: boolean;
  /** Events since the feed stopped following. */
  newCount: number;
  pause(): void;
  resume(): void;
  onScroll(event: UIEvent): void;
};

export function useFollowing(total: number, isPausedAtFirst: boolean): Following {
  /** Null while it follows, otherwise the total at the time it stopped. */
  const [seen, setSeen] = useState<number | null>(isPausedAtFirst ? total : null);
  const latest = useRef(total);
  useLayoutEffect(() => {
    latest.current = total;
  });
  // Stable functions: otherwise each event of the run would render all rows.
  const pause = useCallback(() => setSeen((before) => before ?? latest.current), []);
  const resume = useCallback(() => setSeen(null), []);

  const last = useRef({ scrollTop: 0, scrollHeight: 0, clientHeight: 0 });
  const onScroll = ({ currentTarget: box }: UIEvent) => {
    const { scrollTop, scrollHeight, clientHeight } = box;
    const before = last.current;
    last.current = { scrollTop, scrollHeight, clientHeight };
    // A growing list never scrolls up, and a resized box or a shorter list may. Any other scroll up is the user's.
    const isResized = clientHeight !== before.clientHeight || scrollHeight < before.scrollHeight;
    const isUp = scrollTop < before.scrollTop;
    if (isUp && !isResized && distanceToEnd(box) > 1) pause();
    else if (!isUp && isAtEnd(box)) resume();
  };
  return { isFollowing: seen === null, newCount: seen === null ? 0 : total - seen, pause, resume, onScroll };
}

export const isAtEnd = (box: Element): boolean => distanceToEnd(box) < END_PX;

const distanceToEnd = ({ scrollHeight, scrollTop, clientHeight }: Element) => scrollHeight - scrollTop - clientHeight;
