import type { EventCategory, RunEvent, RunEventType, RunwireEvents } from '../../shared/events.ts';
import type { EventOf, TypeIn } from '../../shared/registry.ts';
import { callSafely } from '../errors.ts';

/** The TypeScript type of events that a handler for the event type `T` receives. */
export type EventOfType<T extends RunEventType> = EventOf<RunwireEvents, T>;
/** The TypeScript type of events that a handler for the category `C` receives. */
export type EventOfCategory<C extends EventCategory> = EventOf<RunwireEvents, TypeIn<RunwireEvents, C>>;

/** The category of each event type. */
type Categories = { readonly [type: string]: { readonly category: string } };
type Handler = (event: never) => unknown;

/** Event handlers by type and by category. A handler that is already registered is not added twice. */
export class Handlers {
  readonly #categories: Categories;
  readonly #byType = new Map<string, Set<Handler>>();
  readonly #byCategory = new Map<string, Set<Handler>>();

  constructor(categories: Categories) {
    this.#categories = categories;
  }

  readonly subscribe = <T extends RunEventType>(type: T, handler: (event: EventOfType<T>) => void): (() => void) =>
    add(this.#byType, type, handler);

  readonly unsubscribe = <T extends RunEventType>(type: T, handler: (event: EventOfType<T>) => void): void =>
    remove(this.#byType, type, handler);

  readonly subscribeCategory = <C extends EventCategory>(
    category: C,
    handler: (event: EventOfCategory<C>) => void,
  ): (() => void) => add(this.#byCategory, category, handler);

  readonly unsubscribeCategory = <C extends EventCategory>(
    category: C,
    handler: (event: EventOfCategory<C>) => void,
  ): void => remove(this.#byCategory, category, handler);

  /**
   * Returns the calls of the handlers for an event, one by one. A handler that throws is reported. A handler that was removed
   * in between is not called.
   */
  *calls(event: RunEvent): Generator<() => void, undefined> {
    // A newer server may send an event type that this client does not have. Its category is then unknown.
    const category = this.#categories[event.type]?.category;
    yield* callsOf(this.#byType.get(event.type), event);
    if (category !== undefined) yield* callsOf(this.#byCategory.get(category), event);
  }
}

function add(sets: Map<string, Set<Handler>>, key: string, handler: Handler): () => void {
  const handlers = sets.get(key) ?? new Set();
  sets.set(key, handlers.add(handler));
  return () => remove(sets, key, handler);
}

function remove(sets: Map<string, Set<Handler>>, key: string, handler: Handler): void {
  const handlers = sets.get(key);
  if (handlers?.delete(handler) && handlers.size === 0) sets.delete(key);
}

function* callsOf(handlers: Set<Handler> | undefined, event: RunEvent): Generator<() => void, undefined> {
  for (const handler of [...(handlers ?? [])]) {
    if (!handlers?.has(handler)) continue;
    yield () => callSafely(() => handler(event as never));
  }
}
