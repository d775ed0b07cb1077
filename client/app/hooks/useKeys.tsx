import { createContext, type ReactNode, use, useEffect, useId, useRef, useState, useSyncExternalStore } from 'react';
import { readSetting } from './useSetting.ts';

/** What a key does. `does` is its line in the help, where keys with the same words share a line; without it there is none. */
export type Key = { does?: string; act: (event: KeyboardEvent) => void };
export type Keys = { readonly [key: string]: Key };
type Scope = 'everywhere' | 'page';
type Registered = { keys: Keys; scope: Scope; order: number };

/** The keys of the mounted components, and one listener for all of them. */
class KeyMap {
  readonly #registered = new Map<string, Registered>();
  readonly #listeners = new Set<() => void>();
  #order = 0;
  #first = '';
  #lines: readonly KeyLine[] = [];

  /** Orders components as they are rendered first: the inner one after the outer one. */
  readonly nextOrder = (): number => ++this.#order;

  set(id: string, registered: Registered): void {
    this.#registered.set(id, registered);
    this.#changed();
  }

  delete(id: string): void {
    this.#registered.delete(id);
    this.#changed();
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** The lines of the help: this page's first. */
  readonly lines = (): readonly KeyLine[] => this.#lines;

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

  /** Of several components with the same key, that of the page wins, and then the one that was mounted last. */
  #find(key: string): Key | undefined {
    const having = [...this.#registered.values()].filter(({ keys }) => Object.hasOwn(keys, key));
    return having.sort(byPrecedence)[0]?.keys[key];
  }

  #changed(): void {
    const lines = new Map<string, KeyLine>();
    for (const { keys, scope } of [...this.#registered.values()].sort(byPrecedence)) {
      for (const [key, { does }] of Object.entries(keys)) {
        if (does === undefined) continue;
        const line = lines.get(`${scope} ${does}`) ?? { scope, does, keys: [] };
        if (!line.keys.includes(key)) line.keys.push(key);
        lines.set(`${scope} ${does}`, line);
      }
    }
    const next = [...lines.values()];
    if (JSON.stringify(next) === JSON.stringify(this.#lines)) return;
    this.#lines = next;
    for (const listener of this.#listeners) listener();
  }
}

export type KeyLine = { scope: Scope; does: string; keys: string[] };

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
  const id = useId();
  const [order] = useState(() => map?.nextOrder() ?? 0);
  const latest = useRef(keys);
  useEffect(() => {
    latest.current = keys;
  });
  const described = Object.entries(keys)
    .map(([key, { does = '' }]) => `${key}\n${does}`)
    .join('\n\n');
  useEffect(() => {
    const registered: { [key: string]: Key } = {};
    for (const part of described === '' ? [] : described.split('\n\n')) {
      const [key = '', does = ''] = part.split('\n');
      const act = (event: KeyboardEvent) => latest.current[key]?.act(event);
      registered[key] = does === '' ? { act } : { does, act };
    }
    map?.set(id, { keys: registered, scope, order });
    return () => map?.delete(id);
  }, [map, id, described, scope, order]);
}

/** Returns the lines of the help for the page as it is. */
export function useKeyLines(): readonly KeyLine[] {
  const map = use(KeysContext);
  return useSyncExternalStore(map?.subscribe ?? never, map?.lines ?? none);
}

const never = () => () => undefined;
const noLines: readonly KeyLine[] = [];
const none = () => noLines;

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
