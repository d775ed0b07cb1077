import { useSyncExternalStore } from 'react';
import { signal } from './signal.ts';

/** Texts that this browser keeps. If it denies access to its storage, or has no space, nothing is kept. */

/** Sent after a change, `elsewhere` in another tab. */
export const stored = signal<'here' | 'elsewhere'>();
globalThis.addEventListener?.('storage', () => stored.send('elsewhere'));

export function readStored(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function writeStored(key: string, text: string): void {
  try {
    localStorage.setItem(key, text);
  } catch {
    // The text is not kept.
  }
  stored.send('here');
}

export const useStored = (key: string): string | null => useSyncExternalStore(stored.listen, () => readStored(key));

/** Returns the items of a stored list that `isItem` accepts. */
export function listOf<Item>(text: string | null, isItem: (value: unknown) => value is Item): Item[] {
  try {
    const list: unknown = JSON.parse(text ?? '[]');
    return Array.isArray(list) ? list.filter(isItem) : [];
  } catch {
    return [];
  }
}

export const isText = (value: unknown): value is string => typeof value === 'string';
