import { useCallback, useEffect, useRef, useState } from 'react';
import { useConnection, useRunwire } from '../../hooks/index.ts';
import { useSession } from '../hooks/useSession.ts';
import { announce } from '../lib/announce.ts';
import { isSignedOut } from '../lib/errors.ts';
import { listen, type SessionMessage, tell } from './channel.ts';
import { type Renewal, renew } from './renew.ts';
import { useAccount } from './SessionProvider.tsx';
import { SignedOutBand } from './SignedOutBand.tsx';

/** The session is renewed after this part of the time that it has left. */
const RENEWED_PART = 0.8;
const RETRY_MS = 5_000;
const MAX_RETRY_MS = 60_000;

/**
 * Keeps the session: renews it before its end, follows the sign-ins and sign-outs of other tabs, and goes on after a sign-in.
 * Shows the band of a session that has ended, if `hasPage`.
 */
export function SessionKeeper({ hasPage }: { hasPage: boolean }) {
  const { me, isRefused } = useSession();
  const { isOut, leave, switchTo } = useAccount();
  const { client, connection, queries, queryKey, has } = useRunwire();
  const { state, error } = useConnection();
  const [endedAt, setEndedAt] = useState<number | null>(null);
  const isOver = state === 'failed' && isSignedOut(error);
  const sub = me?.sub;

  /** Asks who has the cookie now. Returns true if it is still the user of this page, and then updates the rights and the expiry. */
  const refresh = useCallback(async () => {
    const now = await client.auth.me.query().catch(() => undefined);
    if (now === undefined) return false;
    if (sub !== undefined && now.sub !== sub) {
      switchTo(now.sub);
      return false;
    }
    queries.setQueryData(queryKey('auth.me'), now);
    return true;
  }, [client, queries, queryKey, sub, switchTo]);

  /** Goes on with the data of the page: the cookie is valid again. */
  const resume = useCallback(async () => {
    if (!(await refresh())) return;
    setEndedAt(null);
    void queries.resetQueries({ predicate: (query) => has(query) && query.state.status === 'error' });
    connection.reconnect();
  }, [refresh, connection, queries, has]);

  const onEnd = useCallback(() => {
    setEndedAt((before) => before ?? Date.now());
    announce('You were signed out', 'assertive');
  }, []);
  useRenewal(isOver, { refresh, resume, onEnd });

  useEffect(() => {
    if (sub !== undefined) tell({ type: 'here', sub });
  }, [sub]);

  const isWaiting = endedAt !== null || isRefused;
  const onMessage = useRef<(message: SessionMessage) => void>(() => undefined);
  useEffect(() => {
    onMessage.current = (message) => {
      if (message.type === 'out') {
        if (!isOut) leave();
      } else if (message.type === 'renewed') {
        void refresh();
      } else if (isOut || (sub !== undefined && sub !== message.sub)) {
        switchTo(message.sub);
      } else if (isWaiting) void resume();
    };
  });
  // One channel for all versions of the function: a message between the end of one channel and the start of the next is lost.
  useEffect(() => listen((message) => onMessage.current(message)), []);
  // Also if the session was renewed elsewhere, or the cookie is there again after a link was opened.
  useEffect(() => {
    if (state === 'connected') setEndedAt(null);
  }, [state]);
  return hasPage && endedAt !== null ? <SignedOutBand at={endedAt} /> : null;
}

/** Renews a session of OpenID Connect: in time, at once when the tab wakes after that time, and when it was refused. */
function useRenewal(
  isOver: boolean,
  { refresh, resume, onEnd }: { refresh: () => Promise<unknown>; resume: () => Promise<unknown>; onEnd: () => void },
): void {
  const { me } = useSession();
  const { serverTimeOffsetMs } = useConnection();
  const isRenewable = me?.mode === 'oidc';
  const expiresAtMs =
    isRenewable && me.expiresAt !== undefined ? Date.parse(me.expiresAt) - serverTimeOffsetMs : undefined;
  const dueAt = useRef(Number.POSITIVE_INFINITY);
  const failures = useRef(0);
  const renewing = useRef<Promise<Renewal>>(undefined);
  const isOverNow = useRef(isOver);
  useEffect(() => {
    isOverNow.current = isOver;
  });

  const run = useCallback(async (): Promise<Renewal> => {
    renewing.current ??= renew().finally(() => {
      renewing.current = undefined;
    });
    const renewal = await renewing.current;
    if (renewal === 'renewed') {
      failures.current = 0;
      tell({ type: 'renewed' });
      await (isOverNow.current ? resume() : refresh());
    }
    return renewal;
  }, [refresh, resume]);

  useEffect(() => {
    if (expiresAtMs === undefined) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isCurrent = true;
    const plan = (at: number) => {
      dueAt.current = at;
      clearTimeout(timer);
      timer = setTimeout(act, Math.max(0, at - Date.now()));
    };
    const act = async () => {
      dueAt.current = Number.POSITIVE_INFINITY;
      const renewal = await run();
      if (!isCurrent || renewal === 'renewed' || renewal === 'ended') return;
      failures.current++;
      // A provider that is away may be back before the end of the session, or after it.
      if (renewal === 'unavailable') plan(Date.now() + Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** (failures.current - 1)));
    };
    // A timer of a tab that slept is late, or does not run at all.
    const onWake = () => {
      if (document.visibilityState === 'visible' && Date.now() >= dueAt.current) void act();
    };
    plan(Date.now() + Math.max(0, expiresAtMs - Date.now()) * RENEWED_PART);
    document.addEventListener('visibilitychange', onWake);
    window.addEventListener('online', onWake);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', onWake);
      window.removeEventListener('online', onWake);
    };
  }, [expiresAtMs, run]);

  // The server has refused the cookie. The session may only have expired while the tab slept.
  useEffect(() => {
    if (!isOver) return;
    let isCurrent = true;
    const attempt: Promise<Renewal> = isRenewable ? run() : Promise.resolve('ended');
    void attempt.then((renewal) => {
      if (isCurrent && renewal !== 'renewed') onEnd();
    });
    return () => {
      isCurrent = false;
    };
  }, [isOver, isRenewable, run, onEnd]);
}
