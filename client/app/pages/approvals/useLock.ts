import { useContext, useEffect } from 'react';
import { useConnection } from '../../../hooks/index.ts';
import type { Continuity } from '../../components/Badge.tsx';
import { LostAt } from '../../hooks/useStaleSince.ts';
import { isSignedOut } from '../../lib/errors.ts';

/** Interval of the checks while the user may decide. */
const CHECK_MS = 5_000;

export type Lock = {
  why: 'signed out' | 'connection lost' | 'connecting' | 'gap' | 'catching up' | 'no answer';
  /** Unix ms by this device's clock; null if unknown. */
  since: number | null;
};

export type Guard = {
  /** Why no decision can be sent now; null if the page is provably up to date. */
  lock: Lock | null;
  /** Asks the server for an answer now. Resolves with false without one within 5 s. */
  check(): Promise<boolean>;
  /** Tries at once what would be tried later. */
  retry(): void;
};

/**
 * Locks decisions while the page may lack events: while the subscription of the run is not live, and while the server does not
 * answer pings. A server that hangs leaves the socket open, so the subscription alone looks live.
 */
export function useGuard(live: Continuity, mayDecide: boolean): Guard {
  const { isChecked, checkedAt, check } = useConnection({ checkEveryMs: mayDecide ? CHECK_MS : undefined });
  const lostAt = useContext(LostAt);
  useEffect(() => {
    // The browser knows at once that it is offline; the socket stays open for a while.
    const onOffline = () => void check();
    window.addEventListener('offline', onOffline);
    return () => window.removeEventListener('offline', onOffline);
  }, [check]);
  const retry = () => {
    live.reconnect();
    void check();
  };
  const lock = lockOf(live, lostAt);
  if (lock || !mayDecide || isChecked) return { lock, check, retry };
  return { lock: { why: checkedAt === null ? 'connecting' : 'no answer', since: checkedAt }, check, retry };
}

function lockOf(live: Continuity, lostAt: number | null): Lock | null {
  if (isSignedOut(live.error)) return { why: 'signed out', since: lostAt };
  switch (live.connectionState) {
    case 'idle':
    case 'connecting':
      return { why: 'connecting', since: null };
    case 'connected':
      if (live.phase === 'gap') return { why: 'gap', since: null };
      if (live.phase === 'replaying') return { why: 'catching up', since: null };
      return null;
    default:
      return { why: 'connection lost', since: lostAt };
  }
}
