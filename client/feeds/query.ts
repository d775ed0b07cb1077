import type { EventCategory, RunEvent, RunEventType } from '../../shared/events.ts';
import type { RunwireClient } from '../index.ts';
import type { StreamObserver } from './subscription.ts';

export type RunFeedScope =
  | { runId: string; projectId?: string | undefined; scope?: undefined }
  | { projectId: string; runId?: undefined; scope?: undefined }
  /** `user`: events addressed to the user and events of runs the user created. `all`: every event the user may read. */
  | { scope: 'user' | 'all'; runId?: undefined; projectId?: undefined };
export type RunFeedQuery = RunFeedScope & {
  /** Delivers only these types and the types of `categories`; default all. */
  types?: readonly RunEventType[] | undefined;
  /** Delivers only these categories and `types`; default all. */
  categories?: readonly EventCategory[] | undefined;
  /** `start` delivers the events in the log first; default `now`. */
  from?: 'now' | 'start' | undefined;
};

/** Queries with equal keys can share a subscription. */
export const keyOf = ({ runId, projectId, scope, types, categories, from = 'now' }: RunFeedQuery): string =>
  JSON.stringify([runId, projectId, scope, types, categories, from]);

/** Opens the tRPC subscription for a query, after `lastEventId`. */
export function subscribeTo(
  client: RunwireClient,
  { runId, projectId, scope, types, categories, from }: RunFeedQuery,
  lastEventId: string | undefined,
  observer: StreamObserver<RunEvent>,
): { unsubscribe(): void } {
  const common = {
    from,
    lastEventId,
    ...(types ? { types: [...types] } : {}),
    ...(categories ? { categories: [...categories] } : {}),
  };
  if (runId !== undefined) return client.onRunEvent.subscribe({ runId, projectId, ...common }, observer);
  if (projectId !== undefined) return client.onProjectEvent.subscribe({ projectId, ...common }, observer);
  if (scope === 'user') return client.onUserEvent.subscribe(common, observer);
  return client.onEvent.subscribe(common, observer);
}
