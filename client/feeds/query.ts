import type { EventCategory, RunEventType } from '../../shared/events.ts';

export type RunFeedScope =
  | { runId: string; projectId?: string | undefined; scope?: undefined }
  | { projectId: string; runId?: undefined; scope?: undefined }
  /** `user`: what concerns the caller; `all`: whatever the caller may read. */
  | { scope: 'user' | 'all'; runId?: undefined; projectId?: undefined };
export type RunFeedQuery = RunFeedScope & {
  /** Only these types, and those of these categories; default all. */
  types?: readonly RunEventType[] | undefined;
  categories?: readonly EventCategory[] | undefined;
  /** Default `now`. */
  from?: 'now' | 'start' | undefined;
};

/** Two queries with the same key are the same subscription. */
export const keyOf = ({ runId, projectId, scope, types, categories, from = 'now' }: RunFeedQuery): string =>
  JSON.stringify([runId, projectId, scope, types, categories, from]);
