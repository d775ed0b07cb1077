import { useCallback, useMemo, useSyncExternalStore } from 'react';
import { useRunwire } from '../../../hooks/index.ts';

const MAX_RECENT = 8;
const CHANGED = 'runwire:recent';

function read(key: string): string {
  try {
    return localStorage.getItem(key) ?? '[]';
  } catch {
    return '[]'; // The browser denies access to its storage.
  }
}

function parsed(text: string): string[] {
  try {
    const list = JSON.parse(text) as unknown;
    return Array.isArray(list) ? list.filter((one) => typeof one === 'string') : [];
  } catch {
    return [];
  }
}

function subscribe(listener: () => void): () => void {
  window.addEventListener(CHANGED, listener);
  return () => window.removeEventListener(CHANGED, listener);
}

/** The last texts that the user has searched for in this browser, newest first. */
export function useRecent(): { recent: readonly string[]; add(text: string): void; clear(): void } {
  const key = `runwire:searches:${useRunwire().keyPrefix}`;
  const text = useSyncExternalStore(subscribe, () => read(key));
  const write = useCallback(
    (texts: readonly string[]) => {
      try {
        localStorage.setItem(key, JSON.stringify(texts));
      } catch {
        // The browser denies access to its storage, or it is full.
      }
      window.dispatchEvent(new Event(CHANGED));
    },
    [key],
  );
  const add = useCallback(
    (added: string) => {
      // A text that was typed on replaces its beginning.
      const others = parsed(read(key)).filter((other) => other !== added && !added.startsWith(other));
      write([added, ...others].slice(0, MAX_RECENT));
    },
    [key, write],
  );
  const clear = useCallback(() => write([]), [write]);
  return { recent: useMemo(() => parsed(text), [text]), add, clear };
}
