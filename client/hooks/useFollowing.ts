import { useEffect } from 'react';
import { keyOf, type RunFeedQuery } from '../feeds/query.ts';
import type { RunFeedObserver } from '../feeds/run-feed-observer.ts';

export type FollowingOptions = {
  /** `false` ends the subscription and keeps its position; default true. */
  enabled?: boolean | undefined;
  /**
   * `true` ends the subscription once the run has ended and its events up to now were delivered; `connectionState` is then
   * `disconnected`. `reconnect()` delivers later events, and stops again. Default false.
   */
  stopOnEnd?: boolean | undefined;
  /** `true` ends the subscription while the tab is hidden and resumes when it is visible again; default false. */
  pauseWhenHidden?: boolean | undefined;
};

/** Follows a query while the component is mounted. Without a query, the observer is idle. */
export function useFollowing(
  observer: RunFeedObserver,
  query: RunFeedQuery | undefined,
  { stopOnEnd = false, pauseWhenHidden = false }: FollowingOptions,
  lastEventId?: string | null,
): void {
  useEffect(() => {
    observer.stopsOnEnd = stopOnEnd;
  }, [observer, stopOnEnd]);
  useEffect(() => {
    if (!pauseWhenHidden || typeof document === 'undefined') return;
    const check = () => {
      observer.isPaused = document.visibilityState === 'hidden';
    };
    check();
    document.addEventListener('visibilitychange', check);
    return () => {
      document.removeEventListener('visibilitychange', check);
      observer.isPaused = false;
    };
  }, [observer, pauseWhenHidden]);
  const key = query && keyOf(query);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key represents the query; a later `lastEventId` is ignored.
  useEffect(() => (query ? observer.follow(query, lastEventId ?? undefined) : undefined), [observer, key]);
}
