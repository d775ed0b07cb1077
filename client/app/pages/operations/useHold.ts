import { type FocusEvent, useMemo, useState } from 'react';

/** Returns whether the pointer or the focus is in an element: its rows must not move then. */
export function useHold(): { isHeld: boolean; holdProps: HoldProps } {
  const [hasPointer, setHasPointer] = useState(false);
  const [hasFocus, setHasFocus] = useState(false);
  const holdProps = useMemo(
    () => ({
      onPointerEnter: () => setHasPointer(true),
      onPointerLeave: () => setHasPointer(false),
      onFocus: () => setHasFocus(true),
      onBlur: ({ currentTarget, relatedTarget }: FocusEvent) => {
        if (!currentTarget.contains(relatedTarget)) setHasFocus(false);
      },
    }),
    [],
  );
  return { isHeld: hasPointer || hasFocus, holdProps };
}

type HoldProps = {
  onPointerEnter: () => void;
  onPointerLeave: () => void;
  onFocus: () => void;
  onBlur: (event: FocusEvent) => void;
};
