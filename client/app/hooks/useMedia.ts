import { useCallback, useMemo, useSyncExternalStore } from 'react';

/** Returns whether a media query matches. Lists need this in code, because they compute positions from row heights. */
export function useMedia(query: string): boolean {
  const list = useMemo(() => window.matchMedia(query), [query]);
  const subscribe = useCallback(
    (listener: () => void) => {
      list.addEventListener('change', listener);
      return () => list.removeEventListener('change', listener);
    },
    [list],
  );
  return useSyncExternalStore(subscribe, () => list.matches);
}

/** The same breakpoint as in the style sheets. */
export const NARROW = '(max-width: 44rem)';
