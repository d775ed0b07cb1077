import { type SkipToken, skipToken } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useState } from 'react';
import type { RunwireError } from '../../shared/errors.ts';
import type { EventCategory, RunEventType, RunwireEvents } from '../../shared/events.ts';
import type { CategoryOf, EventOf, Registry, TypeIn, TypeOf } from '../../shared/registry.ts';
import type { RunView } from '../../shared/run.ts';
import { Handlers } from '../feeds/handlers.ts';
import { keyOf, type RunFeedScope } from '../feeds/query.ts';
import {
  blankState,
  DEFAULT_LIMIT,
  type RunEndEvent,
  RunFeedObserver,
  type RunFeedObserverState,
} from '../feeds/run-feed-observer.ts';
import type { Gap } from '../feeds/subscription.ts';
import { useRunwire } from './context.ts';
import { type FollowingOptions, useFollowing } from './useFollowing.ts';
import { once, useSelection } from './useSelection.ts';
import { useTracked } from './useTracked.ts';

/** A list of types or categories that a hook selects by, or undefined for all. */
type Filter<T extends string> = readonly T[] | undefined;

/** Options of `useRunEvents`: the run, project or scope, the filter, the start, and callbacks. */
export type UseRunEventsOptions<
  R extends Registry = RunwireEvents,
  Types extends Filter<TypeOf<R>> = Filter<TypeOf<R>>,
  Categories extends Filter<CategoryOf<R>> = Filter<CategoryOf<R>>,
  Selected = RunView,
> = RunFeedScope &
  FollowingOptions & {
    /** Delivers an event if `types` contains its type or `categories` contains its category; default all events. */
    types?: Types;
    /** See `types`. */
    categories?: Categories;
    /** `start` first delivers the events that the log already holds. `now` (default) delivers only later events. */
    from?: 'now' | 'start' | undefined;
    /** Maximum number of events in `events`; default 1,000. */
    limit?: number | undefined;
    /**
     * A `cursor` of an earlier result, for example from before a reload of the page: only later events are delivered. It
     * overrides `from`. It is used when the hook begins with a run, project or scope; later changes are ignored.
     */
    lastEventId?: string | null | undefined;
    /**
     * Selects what the component uses of the run: `run` in the result is what `select` returns. The component renders when that
     * changes, compared field by field.
     */
    select?: ((run: RunView) => Selected) | undefined;
    // The callbacks need no memoisation: the hook calls those of the latest render. If one throws, the error is reported.
    /** Called for each event, once and in order, before the handlers. */
    onEvent?: ((event: EventOf<R, SelectedType<R, Types, Categories>>, cursor: string) => void) | undefined;
    /** Called when the server could not deliver some events. */
    onGap?: ((gap: Gap) => void) | undefined;
    /** With `runId`: called after the delivery of the event that ends the run. Not called if a filter excludes that event. */
    onEnd?: ((event: RunEndEvent) => void) | undefined;
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
export type UseRunEventsReturn<
  R extends Registry = RunwireEvents,
  T extends TypeOf<R> = TypeOf<R>,
  Selected = RunView,
> = Omit<RunFeedObserverState, 'key' | 'events' | 'run'> & {
  /**
   * The run after its last event, or what `select` returns for it. Undefined without `runId` and with `types` or
   * `categories`: the state of a run needs all its events. It is loaded when a component first reads it.
   */
  run: Selected | undefined;
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
  Selected = RunView,
>(
  options: UseRunEventsOptions<R, Types, Categories, Selected> | SkipToken,
) => UseRunEventsReturn<R, SelectedType<R, Types, Categories>, Selected>;

/**
 * Delivers the events of a run, of a project, or of everything that the user may read. Each event is delivered once and in
 * order, even if the connection is lost or the server restarts. With `skipToken` in place of the options, the hook is idle.
 *
 * The component renders at most once per frame of the display, and only after a change of a field that it reads: one that
 * only handles events does not render for them.
 *
 * A callback, or a handler that is added in an effect at the mount, misses no event. After an error `connectionState` is `failed`, and
 * `reconnect()` resumes.
 */
export function useRunEvents<
  const Types extends Filter<RunEventType> = undefined,
  const Categories extends Filter<EventCategory> = undefined,
  Selected = RunView,
>(
  options: UseRunEventsOptions<RunwireEvents, Types, Categories, Selected> | SkipToken,
): UseRunEventsReturn<RunwireEvents, SelectedType<RunwireEvents, Types, Categories>, Selected>;
export function useRunEvents(options: UseRunEventsOptions | SkipToken): UseRunEventsReturn {
  const query = options === skipToken ? undefined : options;
  const given: Partial<UseRunEventsOptions> = query ?? {};
  const { enabled = query !== undefined, limit = DEFAULT_LIMIT, select, onEvent, onGap, onEnd, onError } = given;
  const { feeds } = useRunwire();
  // Handlers stay registered when another user, and with it another scope, begins.
  const [handlers] = useState(() => new Handlers(feeds.events));
  const observer = useMemo(() => new RunFeedObserver(feeds, { handlers }), [feeds, handlers]);
  const key = query && keyOf(query);
  const selectRun = useSelection(select);

  const resultOf = useCallback(
    (state: RunFeedObserverState): UseRunEventsReturn => {
      // Until the effects below have run, the observer still has the state of the previous options.
      const isCurrent = key !== undefined && state.key === key;
      const current = isCurrent ? state : blankState(key, enabled ? 'connecting' : 'idle');
      const { key: _key, run: view, ...fields } = current;
      const run = once(() => selectRun(view));
      return {
        ...fields,
        get run() {
          return run();
        },
        isConnected: current.connectionState === 'connected',
        subscribe: handlers.subscribe,
        unsubscribe: handlers.unsubscribe,
        subscribe_category: handlers.subscribeCategory,
        unsubscribe_category: handlers.unsubscribeCategory,
        reconnect: observer.reconnect,
        disconnect: observer.disconnect,
      };
    },
    [observer, handlers, key, enabled, selectRun],
  );
  const onRead = useCallback(
    (field: keyof UseRunEventsReturn) => {
      if (field === 'run') observer.wantsRun = true;
    },
    [observer],
  );
  // This hook comes before the effects, so that at unmount React removes the listener before the observer changes its
  // state.
  const result = useTracked(observer, resultOf, onRead);
  useEffect(() => {
    observer.limit = limit;
    observer.onEvent = onEvent;
    observer.onGap = onGap;
    observer.onEnd = onEnd;
    observer.onError = onError;
  });
  useFollowing(observer, enabled ? query : undefined, given, given.lastEventId);
  return result;
}
