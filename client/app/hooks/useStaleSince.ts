import { createContext, useContext, useEffect, useState } from 'react';
import type { Continuity } from '../components/Badge.tsx';

/** Unix ms of the loss of the connection; null while connected. App provides it: it outlives a change of page. */
export const LostAt = createContext<number | null>(null);

/** Returns the Unix ms at which `isSo` became false; null while it is true and before it was first true. */
export function useSince(isSo: boolean): number | null {
  const [since, setSince] = useState<number | null>(null);
  useEffect(() => {
    if (!isSo) return;
    setSince(null);
    return () => setSince(Date.now());
  }, [isSo]);
  return since;
}

/** Returns the Unix ms since which the page gets no updates; null while it is live or shows no data. */
export function useStaleSince(continuity: Continuity | undefined): number | null {
  const lostAt = useContext(LostAt);
  const isLive = continuity?.connectionState === 'connected' && continuity.phase === 'live';
  const hasData = continuity?.status === 'success' && !isLive;
  const endedAt = useSince(isLive);
  // Data that has never been live comes from the query cache or from a fetch.
  const [shownAt, setShownAt] = useState<number | null>(null);
  useEffect(() => setShownAt(hasData ? Date.now() : null), [hasData]);
  if (isLive) return null;
  if (endedAt !== null) return Math.min(endedAt, lostAt ?? endedAt);
  return hasData ? (lostAt ?? shownAt) : null;
}
