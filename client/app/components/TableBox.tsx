import type { ReactNode } from 'react';
import { NARROW, useMedia } from '../hooks/useMedia.ts';

/** A table that scrolls sideways in a narrow window, where it is a tab stop for the arrow keys. */
export const TableBox = ({ children }: { children: ReactNode }) => (
  <div className="table-box" tabIndex={useMedia(NARROW) ? 0 : undefined}>
    {children}
  </div>
);
