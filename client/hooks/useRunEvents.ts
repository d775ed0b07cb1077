import { useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import type { RunwireError } from '../../shared/errors.ts';
import type { EventCategory, RunEventType } from '../../shared/events.ts';
import { type EventOfCategory, type EventOfType, Handlers } from '../feeds/handlers.ts';
import { keyOf, type RunFeedQuery } from '../feeds/query.ts';
import { blankState, DEFAULT_LIMIT, RunFeedObserver, type RunFeedObserverState } from '../feeds/run-feed-observer.ts';
import { useRunwire } from './context.ts';

export type UseRunEventsOptions = RunFeedQuery & {
  /** `false` ends the subscription and keeps its position; default true. */
  enabled?: boolean | undefined;
  /** Maximum number of events in `events`; default 1,000. */
  limit?: number | undefined;
  /** Called when the subscription ends with an error, and when the connection becomes `failed`. */
  onError?: ((error: RunwireError) => void) | undefined;
};

/** The functions stay the same while the component is mounted. */
export type UseRunEventsReturn = Omit<RunFeedObserverState, 'key'> & {
  isConnected: boolean;
  /**
   * Adds a handler for events of a type. Returns a function that removes the handler. Handlers stay registered while the
   * hook is disconnected and when its options change.
   */
  subscribe<T extends RunEventType>(type: T, handler: (event: EventOfType<T>) => void): () => void;
  unsubscribe<T extends RunEventType>(type: T, handler: (event: EventOfType<T>) => void): void;
  /** Adds a handler for events of a category. Returns a function that removes the handler. */
  subscribe_category<C extends EventCategory>(category: C, handler: (event: EventOfCategory<C>) => void): () => void;
  unsubscribe_category<C extends EventCategory>(category: C, handler: (event: EventOfCategory<C>) => void): void;
  /** Resumes after the last event. If the connection is down, reconnects at once and resets the count of failures. */
  reconnect(): void;
  /** Ends this hook's subscription and keeps its position. The socket stays open for other hooks. */
  disconnect(): void;
};

/**
 * Delivers the events of a run, of a project, or of everything that the user may read. Each event is delivered once and in
 * order, even if the connection is lost or the server restarts. The hook renders at most once per frame of the display.
 *
 * A handler that is added in an effect at the mount misses no event. After an error `connectionState` is `failed`, and
 * `reconnect()` resumes.
 */
export function useRunEvents(options: UseRunEventsOptions): UseRunEventsReturn {
  const { enabled = true, limit = DEFAULT_LIMIT, onError } = options;
  const { feeds } = useRunwire();
  // Handlers stay registered when another user, and with it another scope, begins.
  const [handlers] = useState(() => new Handlers(feeds.events));
  const observer = useMemo(() => new RunFeedObserver(feeds, { handlers }), [feeds, handlers]);
  observer.wantsRun = true;
  const key = keyOf(options);

  // This hook comes before the effects, so that at unmount React removes the listener before the observer changes its
  // state.
  const state = useSyncExternalStore(observer.subscribe, observer.getState, observer.getState);
  useEffect(() => {
    observer.limit = limit;
    observer.onError = onError;
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key represents the options.
  useEffect(() => (enabled ? observer.follow(options) : undefined), [observer, key, enabled]);

  return useMemo(() => {
    // Until the effect above has run, the observer still has the state of the previous options.
    const { key: _key, ...current } = state.key === key ? state : blankState(key, enabled ? 'connecting' : 'idle');
    const { handlers, reconnect, disconnect } = observer;
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
  }, [observer, state, key, enabled]);
}
