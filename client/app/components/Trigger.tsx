import type { ReactNode } from 'react';

/** A button that opens a popover. */
export const Trigger = ({ children, ...props }: { children: ReactNode }) => (
  <button type="button" className="chip" {...props}>
    {children}
    <span aria-hidden="true"> ▾</span>
  </button>
);
