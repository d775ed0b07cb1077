import { useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import type { RunwireError } from '../../shared/errors.ts';
import type { EventCategory, RunEventType, RunwireEvents } from '../../shared/events.ts';
import type { CategoryOf, EventOf, Registry, TypeIn, TypeOf } from '../../shared/registry.ts';
import { Handlers } from '../feeds/handlers.ts';
import { keyOf, type RunFeedScope } from '../feeds/query.ts';
import { blankState, DEFAULT_LIMIT, RunFeedObserver, type RunFeedObserverState } from '../feeds/run-feed-observer.ts';
import { useRunwire } from './context.ts';

/** A list of types or categories that a hook selects by, or undefined for all. */
type Filter<T extends string> = readonly T[] | undefined;

export type UseRunEventsOptions<
  R extends Registry = RunwireEvents,
  Types extends Filter<TypeOf<R>> = Filter<TypeOf<R>>,
  Categories extends Filter<CategoryOf<R>> = Filter<CategoryOf<R>>,
> = RunFeedScope & {
  /** Delivers an event if `types` contains its type or `categories` contains its category; default all events. */
  types?: Types;
  /** See `types`. */
  categories?: Categories;
  /** `start` first delivers the events that the log already holds. `now` (default) delivers only later events. */
  from?: 'now' | 'start' | undefined;
  /** `false` ends the subscription and keeps its position; default true. */
  enabled?: boolean | undefined;
  /** Maximum number of events in `events`; default 1,000. */
  limit?: number | undefined;
  /** Called when the subscription ends with an error, and when the connection becomes `failed`. */
  onError?: ((error: RunwireError) => void) | undefined;
};

/** The event types that pass the filters `types` and `categories`. A filter that may be undefined may let all pass. */
export type SelectedType<
  R extends Registry,
  Types extends Filter<TypeOf<R>>,
  Categories extends Filter<CategoryOf<R>>,
> = undefined extends Types
  ? undefined extends Categories
    ? TypeOf<R>
    : NonNullable<Types>[number] | TypeIn<R, NonNullable<Categories>[number]>
  :
      | NonNullable<Types>[number]
      | ([Categories] extends [undefined] ? never : TypeIn<R, NonNullable<Categories>[number]>);

/** The result of `useRunEvents` for events of the types `T`. The functions stay the same while the component is mounted. */
export type UseRunEventsReturn<R extends Registry = RunwireEvents, T extends TypeOf<R> = TypeOf<R>> = Omit<
  RunFeedObserverState,
  'key' | 'events'
> & {
  /** The latest events, oldest first, at most `limit`. */
  events: readonly EventOf<R, T>[];
  isConnected: boolean;
  /**
   * Adds a handler for events of a type. Returns a function that removes the handler. Handlers stay registered while the
   * hook is disconnected and when its options change.
   */
  subscribe<One extends T>(type: One, handler: (event: EventOf<R, One>) => void): () => void;
  unsubscribe<One extends T>(type: One, handler: (event: EventOf<R, One>) => void): void;
  /** Adds a handler for events of a category. Returns a function that removes the handler. */
  subscribe_category<C extends CategoryOf<R>>(
    category: C,
    handler: (event: EventOf<R, T & TypeIn<R, C>>) => void,
  ): () => void;
  unsubscribe_category<C extends CategoryOf<R>>(
    category: C,
    handler: (event: EventOf<R, T & TypeIn<R, C>>) => void,
  ): void;
  /** Resumes after the last event. If the connection is down, reconnects at once and resets the count of failures. */
  reconnect(): void;
  /** Ends this hook's subscription and keeps its position. The socket stays open for other hooks. */
  disconnect(): void;
};

/** `useRunEvents` for the event types of a registry. */
export type UseRunEvents<R extends Registry> = <
  const Types extends Filter<TypeOf<R>> = undefined,
  const Categories extends Filter<CategoryOf<R>> = undefined,
>(
  options: UseRunEventsOptions<R, Types, Categories>,
) => UseRunEventsReturn<R, SelectedType<R, Types, Categories>>;

/**
 * Delivers the events of a run, of a project, or of everything that the user may read. Each event is delivered once and in
 * order, even if the connection is lost or the server restarts. The hook renders at most once per frame of the display.
 *
 * A handler that is added in an effect at the mount misses no event. After an error `connectionState` is `failed`, and
 * `reconnect()` resumes.
 */
export function useRunEvents<
  const Types extends Filter<RunEventType> = undefined,
  const Categories extends Filter<EventCategory> = undefined,
>(
  options: UseRunEventsOptions<RunwireEvents, Types, Categories>,
): UseRunEventsReturn<RunwireEvents, SelectedType<RunwireEvents, Types, Categories>>;
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
