import { useCallback, useMemo } from 'react';
import { useRunwire } from '../../../hooks/index.ts';
import { isText, listOf, readStored, useStored, writeStored } from '../../lib/storage.ts';

const MAX_RECENT = 8;

/** The last texts that the user has searched for in this browser, newest first. */
export function useRecent(): { recent: readonly string[]; add(text: string): void; clear(): void } {
  const key = `runwire:searches:${useRunwire().keyPrefix}`;
  const text = useStored(key);
  const write = useCallback((texts: readonly string[]) => writeStored(key, JSON.stringify(texts)), [key]);
  const add = useCallback(
    (added: string) => {
      // A text that was typed on replaces its beginning.
      const others = listOf(readStored(key), isText).filter((other) => other !== added && !added.startsWith(other));
      write([added, ...others].slice(0, MAX_RECENT));
    },
    [key, write],
  );
  const clear = useCallback(() => write([]), [write]);
  return { recent: useMemo(() => listOf(text, isText), [text]), add, clear };
}
