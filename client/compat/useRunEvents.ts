import { useCallback, useEffect, useRef, useState } from 'react';
import type { ConnectionState as State } from '../connection/reconnect-policy.ts';
import type { TokenSource } from '../connection/token-cache.ts';
import { type EventHandler, EventHandlers, isSelected } from './handlers.ts';
import { openSession, type Session } from './session.ts';

/** The states of a connection under their former names. */
export const ConnectionState = {
  DISCONNECTED: 'DISCONNECTED',
  CONNECTING: 'CONNECTING',
  CONNECTED: 'CONNECTED',
  RECONNECTING: 'RECONNECTING',
  ERROR: 'ERROR',
} as const;
export type ConnectionState = (typeof ConnectionState)[keyof typeof ConnectionState];

/** Options of `useRunEvents` of `runwire/compat/react`. */
export type UseRunEventsOptions = {
  runId?: string | undefined;
  projectId?: string | undefined;
  /** Also receive what is sent to this user. With a token, only its own user's. */
  userId?: string | undefined;
  /** Which events handlers of `all` receive. Default: every event. */
  eventTypes?: readonly string[] | undefined;
  /** See `eventTypes`. */
  eventCategories?: readonly string[] | undefined;
  /** Called when a connection fails or is lost, and when events were lost over a restart of the server. */
  onError?: ((error: Error) => void) | undefined;
  /** Whether to connect at the mount. Default true. */
  autoConnect?: boolean | undefined;
  /** Attempts in a row before the state is `ERROR`. Default 5. */
  reconnectAttempts?: number | undefined;
  /** The same under another name. */
  maxReconnectAttempts?: number | undefined;
  /** Delay before the first new attempt in ms, which each further one doubles. Default 1,000. */
  reconnectDelay?: number | undefined;
  /** Address of the server. Default: `REACT_APP_WEBSOCKET_URL`, `VITE_WEBSOCKET_URL`, or the page's own host. */
  url?: string | undefined;
  /** A token, or a function that fetches one, for a server with `AUTH_SECRET` or `AUTH_JWKS_URL`. */
  token?: TokenSource | undefined;
};

/** The state of the connection, and the functions of the former hook. */
export type UseRunEventsReturn = {
  isConnected: boolean;
  connectionState: ConnectionState;
  error: Error | null;
  subscribe(eventType: string, handler: EventHandler): () => void;
  unsubscribe(eventType: string, handler: EventHandler): void;
  subscribe_category(category: string, handler: EventHandler): () => void;
  unsubscribe_category(category: string, handler: EventHandler): void;
  reconnect(): void;
  disconnect(): void;
};

type Status = { connectionState: ConnectionState; error: Error | null };
const disconnected: Status = { connectionState: ConnectionState.DISCONNECTED, error: null };

const stateOf: { [S in State]: ConnectionState } = {
  idle: ConnectionState.CONNECTING,
  connecting: ConnectionState.CONNECTING,
  connected: ConnectionState.CONNECTED,
  reconnecting: ConnectionState.RECONNECTING,
  disconnected: ConnectionState.DISCONNECTED,
  failed: ConnectionState.ERROR,
};

/**
 * The hook of the former system, without a provider: each use has a connection. Handlers receive events in their former form, in
 * order, also those that were sent while the connection was lost. Handlers stay registered while the hook is disconnected.
 */
export function useRunEvents(options: UseRunEventsOptions = {}): UseRunEventsReturn {
  const { runId, projectId, userId, autoConnect = true, reconnectDelay = 1_000, url, token } = options;
  const reconnectAttempts = options.reconnectAttempts ?? options.maxReconnectAttempts ?? 5;
  const [handlers] = useState(() => new EventHandlers());
  const [status, setStatus] = useState<Status>(
    autoConnect ? { ...disconnected, connectionState: 'CONNECTING' } : disconnected,
  );
  const session = useRef<Session>(undefined);
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });

  const disconnect = useCallback(() => {
    session.current?.close();
    session.current = undefined;
    setStatus(disconnected);
  }, []);

  const connect = useCallback(() => {
    let reported: Error | null = null;
    session.current = openSession({
      ...{ runId, projectId, userId, url: url ?? configuredUrl(), token, reconnectAttempts, reconnectDelay },
      onMessage: (message) => {
        const { eventTypes = [], eventCategories = [] } = latest.current;
        handlers.dispatch(message, isSelected(message, eventTypes, eventCategories));
      },
      onStatus: (state, error) => {
        setStatus({ connectionState: stateOf[state], error });
        if (error && error !== reported) latest.current.onError?.(error);
        reported = error;
      },
      onLoss: (error) => latest.current.onError?.(error),
    });
  }, [handlers, runId, projectId, userId, url, token, reconnectAttempts, reconnectDelay]);

  useEffect(() => {
    if (autoConnect) connect();
    return disconnect;
  }, [autoConnect, connect, disconnect]);

  const reconnect = useCallback(() => {
    if (session.current?.isOpen) session.current.reconnect();
    else connect();
  }, [connect]);

  return {
    ...status,
    isConnected: status.connectionState === ConnectionState.CONNECTED,
    subscribe: handlers.subscribe,
    unsubscribe: handlers.unsubscribe,
    subscribe_category: handlers.subscribeCategory,
    unsubscribe_category: handlers.unsubscribeCategory,
    reconnect,
    disconnect,
  };
}

/** The address that the build of the page has put in place of these names. */
function configuredUrl(): string | undefined {
  const fromVite = import.meta.env?.VITE_WEBSOCKET_URL as string | undefined;
  try {
    // webpack replaces these expressions, and nothing shorter: a test for `process` would be false there.
    // biome-ignore lint/style/noRestrictedGlobals: see above.
    return process.env.REACT_APP_WEBSOCKET_URL || process.env.VITE_WEBSOCKET_URL || fromVite || undefined;
  } catch {
    return fromVite || undefined; // A page without `process`.
  }
}
