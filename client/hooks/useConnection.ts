import { useEffect, useMemo, useSyncExternalStore } from 'react';
import type { RunwireError } from '../../shared/errors.ts';
import type { CheckStatus } from '../connection/checks.ts';
import type { ConnectionState, ConnectionStatus } from '../connection/reconnect-policy.ts';
import { useRunwire } from './context.ts';

/** Options of `useConnection`. */
export type UseConnectionOptions = {
  /**
   * Checks in this interval that the server answers over the open connection. Components share the checks, and the shortest
   * interval counts. A hidden page makes no checks. Default: no checks.
   */
  checkEveryMs?: number | undefined;
};

/** Result of `useConnection`: the state of the socket that all hooks below the provider share. */
export type UseConnectionReturn = {
  state: ConnectionState;
  isConnected: boolean;
  /** Why the last connection ended, or why the last attempt failed; null while connected.  */
  error: RunwireError | null;
  /** Number of failures in a row. */
  attempts: number;
  /** Time of the next attempt in Unix ms; null when no attempt is planned. */
  retryAt: number | null;
  /**
   * How far the server's clock is ahead of this device's, in ms, as answers over HTTP state it. 0 until an answer shows that the
   * clocks differ. The server's time is `Date.now() + serverTimeOffsetMs`.
   */
  serverTimeOffsetMs: number;
  /** Whether the server has answered the last check, within 5 s and on the present connection. False before a check. */
  isChecked: boolean;
  /** Time of the last answer to a check by this device's clock in Unix ms; null without one. */
  checkedAt: number | null;
  /** Checks now. Resolves with whether the server has answered, within 5 s. */
  check(): Promise<boolean>;
  /** Opens a new socket now and resets the count of failures. Subscriptions resume after their last event. */
  reconnect(): void;
};

const idle: ConnectionStatus = { state: 'idle', error: null, attempts: 0, retryAtMs: null, serverTimeOffsetMs: 0 };
/** A server renders an idle connection. A part of a page may be hydrated when the connection of the page is in use. */
const renderedOf = (status: ConnectionStatus) =>
  status.state === 'idle' && status.serverTimeOffsetMs === 0 ? status : idle;

const unchecked: CheckStatus = { checkedAtMs: null, isChecked: false };

/** Returns the status of the connection that all hooks below the provider share. The hook itself opens no connection. */
export function useConnection({ checkEveryMs }: UseConnectionOptions = {}): UseConnectionReturn {
  const { connection } = useRunwire();
  const { checks } = connection;
  const checked = useSyncExternalStore(checks.subscribe, checks.getStatus, () => unchecked);
  useEffect(() => (checkEveryMs === undefined ? undefined : checks.every(checkEveryMs)), [checks, checkEveryMs]);
  const status = useSyncExternalStore(connection.subscribe, connection.getStatus, () =>
    renderedOf(connection.getStatus()),
  );
  return useMemo(() => {
    const { state, error, attempts, retryAtMs, serverTimeOffsetMs } = status;
    const { reconnect } = connection;
    const isConnected = state === 'connected';
    const { isChecked, checkedAtMs: checkedAt } = checked;
    const { check } = connection.checks;
    const base = { state, isConnected, error, attempts, retryAt: retryAtMs, serverTimeOffsetMs, reconnect };
    return { ...base, isChecked: isConnected && isChecked, checkedAt, check };
  }, [connection, status, checked]);
}
