import { useCallback, useSyncExternalStore } from 'react';
import { useRunwire } from '../../../hooks/index.ts';
import { FILTER_PARAMS } from './filters.ts';

/** Named filters of the list, kept in this browser for each user. */

export type SavedView = { name: string /** Query parameters of the filter, as in an address. */; search: string };

const CHANGED = 'runwire:views';
export const MAX_NAME_CHARS = 60;

function read(key: string): string {
  try {
    return localStorage.getItem(key) ?? '[]';
  } catch {
    return '[]'; // The browser denies access to its storage.
  }
}

function parsed(text: string): SavedView[] {
  try {
    const list = JSON.parse(text) as unknown;
    return Array.isArray(list) ? list.filter(isView) : [];
  } catch {
    return [];
  }
}

const isView = (value: unknown): value is SavedView =>
  typeof value === 'object' &&
  value !== null &&
  ['name', 'search'].every((key) => typeof (value as never)[key] === 'string');

function subscribe(listener: () => void): () => void {
  window.addEventListener('storage', listener);
  window.addEventListener(CHANGED, listener);
  return () => {
    window.removeEventListener('storage', listener);
    window.removeEventListener(CHANGED, listener);
  };
}

export function useViews(): { views: readonly SavedView[]; save(view: SavedView): void; remove(name: string): void } {
  const key = `runwire:views:${useRunwire().keyPrefix}`;
  const text = useSyncExternalStore(subscribe, () => read(key));
  const write = useCallback(
    (change: (views: SavedView[]) => SavedView[]) => {
      try {
        localStorage.setItem(key, JSON.stringify(change(parsed(read(key)))));
      } catch {
        // The browser denies access to its storage, or it is full.
      }
      window.dispatchEvent(new Event(CHANGED));
    },
    [key],
  );
  const save = useCallback(
    (view: SavedView) => write((views) => [...views.filter(({ name }) => name !== view.name), view]),
    [write],
  );
  const remove = useCallback((name: string) => write((views) => views.filter((view) => view.name !== name)), [write]);
  return { views: parsed(text), save, remove };
}

/** Returns the part of an address that is the filter. */
export function filterSearch(params: URLSearchParams): string {
  const kept = [...params].filter(([name]) => (FILTER_PARAMS as readonly string[]).includes(name));
  return new URLSearchParams(kept).toString();
}

/** The address of a view: its filter and its name. */
export function hrefOf({ name, search }: SavedView): string {
  const params = new URLSearchParams(search);
  params.set('view', name);
  return `/?${params}`;
}
