import { useMemo, useSyncExternalStore } from 'react';
import type { RunwireError } from '../../shared/errors.ts';
import type { ConnectionState, ConnectionStatus } from '../connection/reconnect-policy.ts';
import { useRunwire } from './context.ts';

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
  /** Opens a new socket now and resets the count of failures. Subscriptions resume after their last event. */
  reconnect(): void;
};

const idle: ConnectionStatus = { state: 'idle', error: null, attempts: 0, retryAtMs: null, serverTimeOffsetMs: 0 };
/** A server renders an idle connection. A part of a page may be hydrated when the connection of the page is in use. */
const renderedOf = (status: ConnectionStatus) =>
  status.state === 'idle' && status.serverTimeOffsetMs === 0 ? status : idle;

/** Returns the status of the connection that all hooks below the provider share. The hook itself opens no connection. */
export function useConnection(): UseConnectionReturn {
  const { connection } = useRunwire();
  const status = useSyncExternalStore(connection.subscribe, connection.getStatus, () =>
    renderedOf(connection.getStatus()),
  );
  return useMemo(() => {
    const { state, error, attempts, retryAtMs, serverTimeOffsetMs } = status;
    const { reconnect } = connection;
    const isConnected = state === 'connected';
    return { state, isConnected, error, attempts, retryAt: retryAtMs, serverTimeOffsetMs, reconnect };
  }, [connection, status]);
}
