import { createContext, useContext, useEffect, useState } from 'react';
import type { Continuity } from '../components/Badge.tsx';

/** When the connection was lost, if it was: pages come and go meanwhile. */
export const LostAt = createContext<number | null>(null);

/** Unix ms from when on it has not been so; null while it is, and before it has ever been. */
export function useSince(isSo: boolean): number | null {
  const [since, setSince] = useState<number | null>(null);
  useEffect(() => {
    if (!isSo) return;
    setSince(null);
    return () => setSince(Date.now());
  }, [isSo]);
  return since;
}

/** Unix ms since when nothing was heard that would change what the page shows; null while it is live, or shows nothing. */
export function useStaleSince(continuity: Continuity | undefined): number | null {
  const lostAt = useContext(LostAt);
  const isLive = continuity?.connectionState === 'connected' && continuity.phase === 'live';
  const hasData = continuity?.status === 'success' && !isLive;
  const endedAt = useSince(isLive);
  // What is there without ever having been live was kept from a page before, or has just been fetched.
  const [shownAt, setShownAt] = useState<number | null>(null);
  useEffect(() => setShownAt(hasData ? Date.now() : null), [hasData]);
  if (isLive) return null;
  if (endedAt !== null) return Math.min(endedAt, lostAt ?? endedAt);
  return hasData ? (lostAt ?? shownAt) : null;
}
