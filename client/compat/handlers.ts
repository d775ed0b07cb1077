import { runwireCategories } from '../../shared/event-categories.ts';
import { callSafely } from '../errors.ts';
import type { Message } from './session.ts';

/** A function that the hook calls with each event of a type, in the shape of the former system. */
// biome-ignore lint/suspicious/noExplicitAny: the former type, which applications narrow.
export type EventHandler<T = any> = (event: T) => void;

/** `run`, for `run` and for the former `RUN_EVENTS`. */
const plain = (category: string): string => category.replace(/_EVENTS$/, '').toLowerCase();
const categoryOf = (type: string): string | undefined =>
  (runwireCategories as { [type: string]: { category: string } })[type]?.category;

/** Handlers by type, by category, and of all events. */
export class EventHandlers {
  readonly #byKey = new Map<string, Set<EventHandler>>();

  readonly subscribe = (type: string, handler: EventHandler): (() => void) => this.#add(`type ${type}`, handler);
  readonly unsubscribe = (type: string, handler: EventHandler): void => this.#remove(`type ${type}`, handler);
  readonly subscribeCategory = (category: string, handler: EventHandler): (() => void) =>
    this.#add(`category ${plain(category)}`, handler);
  readonly unsubscribeCategory = (category: string, handler: EventHandler): void =>
    this.#remove(`category ${plain(category)}`, handler);

  /** Calls the handlers of an event. `isWanted` is false for an event that the hook's options leave out. */
  dispatch(event: Message, isWanted: boolean): void {
    const keys = [`type ${event.type}`, `category ${categoryOf(event.type) ?? ''}`];
    if (isWanted) keys.push('type all', 'category all');
    for (const handler of keys.flatMap((key) => [...(this.#byKey.get(key) ?? [])])) callSafely(() => handler(event));
  }

  #add(key: string, handler: EventHandler): () => void {
    const handlers = this.#byKey.get(key) ?? new Set();
    this.#byKey.set(key, handlers.add(handler));
    return () => this.#remove(key, handler);
  }

  #remove(key: string, handler: EventHandler): void {
    this.#byKey.get(key)?.delete(handler);
  }
}

/** Whether the options of a hook select an event: without types and categories, every one. */
export function isSelected({ type }: Message, types: readonly string[], categories: readonly string[]): boolean {
  if (types.length === 0 && categories.length === 0) return true;
  return types.includes(type) || categories.map(plain).some((name) => name === 'all' || name === categoryOf(type));
}
