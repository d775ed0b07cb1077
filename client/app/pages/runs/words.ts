import type { ShownStatus } from './filters.ts';

/** The words of the statuses in the list. */
export const statusWords: { readonly [Status in ShownStatus]: string } = {
  created: 'queued',
  running: 'running',
  waiting: 'waiting',
  completed: 'completed',
  failed: 'failed',
  cancelled: 'cancelled',
};
