import { useEffect, useRef, useState } from 'react';

/** Returns a value that changes at most every `ms`: at once after a pause, and otherwise at the end of the time. With 0, the value. */
export function useThrottled<Value>(value: Value, ms: number): Value {
  const [shown, setShown] = useState(value);
  const changedAt = useRef(0);
  const waitMs = changedAt.current + ms - performance.now();
  const isDue = ms === 0 || (value !== shown && waitMs <= 0);
  useEffect(() => {
    if (ms === 0 || value === shown) return;
    const show = () => {
      changedAt.current = performance.now();
      setShown(value);
    };
    if (isDue) return show();
    const timer = setTimeout(show, Math.max(0, changedAt.current + ms - performance.now()));
    return () => clearTimeout(timer);
  }, [value, shown, ms, isDue]);
  return isDue ? value : shown;
}
