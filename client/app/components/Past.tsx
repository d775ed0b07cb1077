import { createContext, useContext } from 'react';

/** True below it while the page shows a run as of an earlier event. */
export const Past = createContext(false);

/** Returns true if the page shows the past: it then offers no approving, no following and no notifications. */
export const useIsPast = (): boolean => useContext(Past);
