import { useCallback, useMemo, useSyncExternalStore } from 'react';

/** Whether a media query holds. Heights of rows are needed in px, and so cannot be left to a style sheet. */
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

/** As in the style sheets. */
export const NARROW = '(max-width: 44rem)';
