import { useEffect, useState } from 'react';
import { useConnection } from '../../hooks/index.ts';
import type { Continuity } from '../components/Badge.tsx';

/** Interval of further checks while the server does not answer. */
const CHECK_MS = 5_000;
/** A check of a new connection, or of a page that is shown again, is answered before this time. */
const SETTLED_MS = 500;

/**
 * Returns the continuity of a page with parts that check that the server answers. While it does not, the page is not live, although
 * the socket is open. A page without such parts is as its subscription states.
 */
export function useAnswered<Live extends Continuity>(live: Live): Live {
  const { isConnected, isChecked, checkedAt } = useConnection();
  const isUnchecked = isConnected && !isChecked && checkedAt !== null;
  useConnection({ checkEveryMs: isUnchecked ? CHECK_MS : undefined });
  const [isUnanswered, setIsUnanswered] = useState(false);
  useEffect(() => {
    if (!isUnchecked) return;
    const timer = setTimeout(() => setIsUnanswered(true), SETTLED_MS);
    return () => {
      clearTimeout(timer);
      setIsUnanswered(false);
    };
  }, [isUnchecked]);
  return isUnanswered ? { ...live, connectionState: 'disconnected' } : live;
}
