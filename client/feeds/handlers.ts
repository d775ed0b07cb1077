import {
  type EventCategory,
  type RunEvent,
  type RunEventType,
  type RunwireEvents,
  runwireEvents,
} from '../../shared/events.ts';
import type { EventOf } from '../../shared/registry.ts';

/** What a handler of a type, or of a category, is given. */
export type EventOfType<T extends RunEventType> = EventOf<RunwireEvents, T>;
export type EventOfCategory<C extends EventCategory> = EventOf<
  RunwireEvents,
  { [T in RunEventType]: RunwireEvents[T]['category'] extends C ? T : never }[RunEventType]
>;

type Handler = (event: never) => void;

/** Handlers by type and by category. Adding one that is there already changes nothing. */
export class Handlers {
  readonly #byType = new Map<string, Set<Handler>>();
  readonly #byCategory = new Map<string, Set<Handler>>();

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

  /** Hands an event to each handler that is on at its turn. One that throws is reported, and disturbs no other. */
  deliver(event: RunEvent): void {
    // A type that this client does not know yet has no category here.
    const category = (runwireEvents[event.type] as { category?: string } | undefined)?.category;
    call(this.#byType.get(event.type), event);
    if (category !== undefined) call(this.#byCategory.get(category), event);
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

function call(handlers: Set<Handler> | undefined, event: RunEvent): void {
  if (!handlers) return;
  for (const handler of [...handlers]) {
    if (!handlers.has(handler)) continue;
    try {
      handler(event as never);
    } catch (error) {
      report(error);
    }
  }
}

/** Makes an error of somebody else's code known, as an uncaught one, without stopping this. */
export function report(error: unknown): void {
  if (typeof reportError === 'function') reportError(error);
  else
    queueMicrotask(() => {
      throw error;
    });
}
