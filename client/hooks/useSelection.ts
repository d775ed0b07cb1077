import { useCallback, useRef } from 'react';

/**
 * Returns a function that applies `select` to a value. A result that is equal to the last one, or has equal fields, is
 * replaced by the last one.
 */
export function useSelection<Value, Selected>(
  select: ((value: Value) => Selected) | undefined,
): (value: Value | undefined) => Selected | undefined {
  const last = useRef<Selected | undefined>(undefined);
  return useCallback(
    (value) => {
      if (value === undefined || !select) return value as Selected | undefined;
      const selected = select(value);
      if (!isShallowEqual(last.current, selected)) last.current = selected;
      return last.current;
    },
    [select],
  );
}

function isShallowEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (!isPlain(a) || !isPlain(b) || Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  const [left, right] = [a, b] as Record<string, unknown>[];
  return keys.length === Object.keys(b).length && keys.every((key) => Object.is(left?.[key], right?.[key]));
}

const isPlain = (value: unknown): value is object =>
  typeof value === 'object' &&
  value !== null &&
  [Object.prototype, Array.prototype].includes(Object.getPrototypeOf(value));

/** Returns a function that calls `compute` once. */
export function once<T>(compute: () => T): () => T {
  let result: { value: T } | undefined;
  return () => {
    result ??= { value: compute() };
    return result.value;
  };
}
