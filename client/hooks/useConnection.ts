import { useMemo, useSyncExternalStore } from 'react';
import type { RunwireError } from '../../shared/errors.ts';
import type { ConnectionState } from '../connection/reconnect-policy.ts';
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
  /** Opens a new socket now and resets the count of failures. Subscriptions resume after their last event. */
  reconnect(): void;
};

/** Returns the status of the connection that all hooks below the provider share. The hook itself opens no connection. */
export function useConnection(): UseConnectionReturn {
  const { connection } = useRunwire();
  const status = useSyncExternalStore(connection.subscribe, connection.getStatus, connection.getStatus);
  return useMemo(() => {
    const { state, error, attempts, retryAtMs } = status;
    const { reconnect } = connection;
    return { state, isConnected: state === 'connected', error, attempts, retryAt: retryAtMs, reconnect };
  }, [connection, status]);
}
