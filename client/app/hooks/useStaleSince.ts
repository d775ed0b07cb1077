import { createContext, useContext, useEffect, useState } from 'react';
import type { Continuity } from '../components/Badge.tsx';

/** Unix ms at which the connection was lost; null while connected. Provided by `App`, to survive a change of page. */
export const LostAt = createContext<number | null>(null);

/** Returns the Unix ms at which `isSo` last became false; null while `isSo` is true, and if it was never true. */
export function useSince(isSo: boolean): number | null {
  const [since, setSince] = useState<number | null>(null);
  useEffect(() => {
    if (!isSo) return;
    setSince(null);
    return () => setSince(Date.now());
  }, [isSo]);
  return since;
}

/** Returns the Unix ms since which the page has had no updates; null while the page is live or shows no data. */
export function useStaleSince(continuity: Continuity | undefined): number | null {
  const lostAt = useContext(LostAt);
  const isLive = continuity?.connectionState === 'connected' && continuity.phase === 'live';
  const hasData = continuity?.status === 'success' && !isLive;
  const endedAt = useSince(isLive);
  // Data from the cache or from a fetch may be shown before the page is live for the first time. The time of this first
  // display then counts.
  const [shownAt, setShownAt] = useState<number | null>(null);
  useEffect(() => setShownAt(hasData ? Date.now() : null), [hasData]);
  if (isLive) return null;
  if (endedAt !== null) return Math.min(endedAt, lostAt ?? endedAt);
  return hasData ? (lostAt ?? shownAt) : null;
}
