import { useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import type { EventCategory, RunEventType } from '../../shared/events.ts';
import type { EventOfCategory, EventOfType } from '../feeds/handlers.ts';
import { keyOf, type RunFeedQuery } from '../feeds/query.ts';
import { blankState, DEFAULT_LIMIT, RunFeedObserver, type RunFeedObserverState } from '../feeds/run-feed-observer.ts';
import { useRunwire } from './context.ts';

export type UseRunEventsOptions = RunFeedQuery & {
  /** False holds the subscription back, and keeps its cursor; default true. */
  enabled?: boolean | undefined;
  /** How many of the latest events `events` holds; default 1,000. */
  limit?: number | undefined;
  /** Called when the subscription ends with an error, and when the connection has failed for good. */
  onError?: ((error: Error) => void) | undefined;
};

/** The functions are the same ones for as long as the component is mounted. */
export type UseRunEventsReturn = Omit<RunFeedObserverState, 'key'> & {
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
  const { feeds } = useRunwire();
  const [follower] = useState(() => new RunFeedObserver(feeds));
  const key = keyOf(options);

  // Before the effects: what is unmounted is told of nothing any more.
  const state = useSyncExternalStore(follower.subscribe, follower.getState, follower.getState);
  useEffect(() => {
    follower.limit = limit;
    follower.onError = onError;
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key stands for the options.
  useEffect(() => (enabled ? follower.follow(options) : undefined), [follower, key, enabled]);

  return useMemo(() => {
    // Until the effect has run, the follower still holds what other options brought.
    const { key: _key, ...current } = state.key === key ? state : blankState(key, enabled ? 'connecting' : 'idle');
    const { handlers, reconnect, disconnect } = follower;
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
  }, [follower, state, key, enabled]);
}
