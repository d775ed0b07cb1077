import { useCallback, useMemo, useSyncExternalStore } from 'react';

/** Returns whether a media query matches. Scripts need it for row heights in px, which CSS cannot pass to them. */
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
