import { createContext, type ReactNode, use, useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { signal } from '../lib/signal.ts';
import { readSetting } from './useSetting.ts';

/** What a key does. `does` is its line in the help, where keys with the same words share a line; without it there is none. */
export type Key = { does?: string; act: (event: KeyboardEvent) => void };
export type Keys = { readonly [key: string]: Key };
type Scope = 'everywhere' | 'page';
export type Registered = { keys: Keys; scope: Scope; order: number };

/** The keys of the mounted components, and one listener for all of them. */
class KeyMap {
  /** Sorted: the keys of the page first, then those of the component that was mounted last. */
  #registered: readonly Registered[] = [];
  readonly #changed = signal<void>();
  readonly subscribe = this.#changed.listen;
  #order = 0;
  #first = '';

  /** Orders components as they are rendered first: the inner one after the outer one. */
  readonly nextOrder = (): number => ++this.#order;

  /** Adds the keys of a component until the returned function is called. */
  add(registered: Registered): () => void {
    this.#set([...this.#registered, registered].sort(byPrecedence));
    return () => this.#set(this.#registered.filter((other) => other !== registered));
  }

  readonly registered = (): readonly Registered[] => this.#registered;

  readonly onKeyDown = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
    const isSingle = event.key.length === 1;
    if (isSingle && readSetting('shortcuts') === 'off') return;
    const both = `${this.#first} ${event.key}`;
    this.#first = event.key;
    const key = this.#find(both) ?? this.#find(event.key);
    if (!key) return;
    event.preventDefault();
    key.act(event);
  };

  #find(key: string): Key | undefined {
    return this.#registered.find(({ keys }) => Object.hasOwn(keys, key))?.keys[key];
  }

  #set(registered: readonly Registered[]): void {
    this.#registered = registered;
    this.#changed.send();
  }
}

const byPrecedence = (a: Registered, b: Registered) =>
  Number(a.scope === 'everywhere') - Number(b.scope === 'everywhere') || b.order - a.order;

const KeysContext = createContext<KeyMap | null>(null);

export function KeysProvider({ children }: { children: ReactNode }) {
  const [map] = useState(() => new KeyMap());
  useEffect(() => {
    window.addEventListener('keydown', map.onKeyDown);
    return () => window.removeEventListener('keydown', map.onKeyDown);
  }, [map]);
  return <KeysContext value={map}>{children}</KeysContext>;
}

/**
 * Gives keys to a component while it is mounted: `useKeys({ a: { does: 'Approve', act } })`. The key name `g r` means `g`, then
 * `r`. Presses in text fields, dialogs and menus are ignored, and presses with Ctrl, Alt or Meta. The reader can switch off keys
 * that are one letter.
 */
export function useKeys(keys: Keys, scope: Scope = 'page'): void {
  const map = use(KeysContext);
  const [order] = useState(() => map?.nextOrder() ?? 0);
  const latest = useRef(keys);
  useEffect(() => {
    latest.current = keys;
  });
  const described = JSON.stringify(Object.entries(keys).map(([key, { does = '' }]) => [key, does]));
  useEffect(() => {
    const registered = (JSON.parse(described) as [key: string, does: string][]).map(
      ([key, does]) => [key, { does, act: (event: KeyboardEvent) => latest.current[key]?.act(event) }] as const,
    );
    return map?.add({ keys: Object.fromEntries(registered), scope, order });
  }, [map, described, scope, order]);
}

/** Returns the keys of the mounted components: those of the page first. */
export function useRegisteredKeys(): readonly Registered[] {
  const map = use(KeysContext);
  return useSyncExternalStore(map?.subscribe ?? never, map?.registered ?? none);
}

const never = () => () => undefined;
const noKeys: readonly Registered[] = [];
const none = () => noKeys;

/** For Escape in a search field: leaves it. The browser would also delete its text. */
export function leaveField(event: { preventDefault(): void; currentTarget: HTMLElement }): void {
  event.preventDefault();
  event.currentTarget.blur();
}

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement &&
  (target.isContentEditable ||
    target.closest('input:not([type="checkbox"], [type="radio"]), textarea, select, [role="dialog"], [role="menu"]') !==
      null);
