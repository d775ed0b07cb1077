import { useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import type { EventCategory, RunEventType } from '../shared/events.ts';
import { useRunwire } from './context.ts';
import type { EventOfCategory, EventOfType } from './handlers.ts';
import { blankState, DEFAULT_LIMIT, keyOf, RunFeed, type RunFeedQuery, type RunFeedState } from './run-feed.ts';

export type UseRunEventsOptions = RunFeedQuery & {
  /** False holds the subscription back, and keeps its cursor; default true. */
  enabled?: boolean | undefined;
  /** How many of the latest events `events` holds; default 1,000. */
  limit?: number | undefined;
  /** Called when the subscription ends with an error, and when the connection has failed for good. */
  onError?: ((error: Error) => void) | undefined;
};

/** The functions are the same ones for as long as the component is mounted. */
export type UseRunEventsReturn = Omit<RunFeedState, 'key'> & {
  isConnected: boolean;
  /** Returns what takes the handler off again. Handlers stay through disconnections and changes of the options. */
  subscribe<T extends RunEventType>(type: T, handler: (event: EventOfType<T>) => void): () => void;
  unsubscribe<T extends RunEventType>(type: T, handler: (event: EventOfType<T>) => void): void;
  subscribe_category<C extends EventCategory>(category: C, handler: (event: EventOfCategory<C>) => void): () => void;
  unsubscribe_category<C extends EventCategory>(category: C, handler: (event: EventOfCategory<C>) => void): void;
  /** Subscribes anew after the last event; where the connection itself is down, tries that now, failures forgotten. */
  reconnect(): void;
  /** Ends this hook's subscription and keeps its cursor; the socket stays for others. */
  disconnect(): void;
};

/**
 * The events of a run, a project, or of all that the caller may read, once each and in order, through lost connections
 * and restarts of the server. Handlers added in an effect of the same mount miss nothing; renders are at most one a frame,
 * however many events come. What ended with an error (`connectionState` is then `failed`) goes on with `reconnect()`.
 */
export function useRunEvents(options: UseRunEventsOptions): UseRunEventsReturn {
  const { enabled = true, limit = DEFAULT_LIMIT, onError } = options;
  const { client, connection } = useRunwire();
  const [feed] = useState(() => new RunFeed(client, connection));
  const key = keyOf(options);

  // Before the effects: what is unmounted is told of nothing any more.
  const state = useSyncExternalStore(feed.subscribe, feed.getState, feed.getState);
  useEffect(() => {
    feed.limit = limit;
    feed.onError = onError;
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key stands for the options.
  useEffect(() => (enabled ? feed.follow(options) : undefined), [feed, key, enabled]);

  return useMemo(() => {
    // Until the effect has run, the feed still holds what other options brought.
    const { key: _key, ...current } = state.key === key ? state : blankState(key, enabled ? 'connecting' : 'idle');
    const { handlers, reconnect, disconnect } = feed;
    return {
      ...current,
      isConnected: current.connectionState === 'connected',
      subscribe: handlers.subscribe,
      unsubscribe: handlers.unsubscribe,
      subscribe_category: handlers.subscribeCategory,
      unsubscribe_category: handlers.unsubscribeCategory,
      reconnect,
      disconnect,
    };
  }, [feed, state, key, enabled]);
}
