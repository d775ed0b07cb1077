import { useMemo, useSyncExternalStore } from 'react';
import type { ConnectionState } from '../connection/reconnect-policy.ts';
import { useRunwire } from './context.ts';

export type UseConnectionReturn = {
  /**
   * `idle`: nothing subscribes, so there is no socket. `reconnecting` with a `retryAt` waits until then; without one it
   * tries. `failed`: it has been given up, for the reason in `error`, until `reconnect()`, or the network or the tab comes
   * back. `disconnected`: closed for good.
   */
  state: ConnectionState;
  isConnected: boolean;
  /** Why the last connection ended, or none came about; null while one stands. A `RunwireError` has a `code`. */
  error: Error | null;
  /** Failures in a row. */
  attempts: number;
  /** Unix ms of the next try; null when none is planned. */
  retryAt: number | null;
  /** Tries now, on a new socket, with all failures forgotten. Subscriptions go on after their last event. */
  reconnect(): void;
};

/** The connection that all hooks below the provider share. Using it opens none. */
export function useConnection(): UseConnectionReturn {
  const { connection } = useRunwire();
  const status = useSyncExternalStore(connection.subscribe, connection.getStatus, connection.getStatus);
  return useMemo(() => {
    const { state, error, attempts, retryAtMs } = status;
    const { reconnect } = connection;
    return { state, isConnected: state === 'connected', error, attempts, retryAt: retryAtMs, reconnect };
  }, [connection, status]);
}
