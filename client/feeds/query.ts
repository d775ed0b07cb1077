import type { EventCategory, RunEvent, RunEventType } from '../../shared/events.ts';
import type { RunwireClient } from '../connection/runwire.ts';
import type { StreamObserver } from './subscription.ts';

/** The run that a hook follows. Without `projectId`, the only readable run of that id. */
export type RunFeedScope =
  | { runId: string; projectId?: string | undefined; scope?: undefined }
  | { projectId: string; runId?: undefined; scope?: undefined }
  /** `user`: events addressed to the user, and events of runs that the user created. `all`: all that the user may read. */
  | { scope: 'user' | 'all'; runId?: undefined; projectId?: undefined };
export type RunFeedQuery = RunFeedScope & {
  /** Delivers an event if `types` contains its type or `categories` contains its category; default all events. */
  types?: readonly RunEventType[] | undefined;
  /** See `types`. */
  categories?: readonly EventCategory[] | undefined;
  /** `start` first delivers the events that the log already holds. `now` (default) delivers only later events. */
  from?: 'now' | 'start' | undefined;
};

/** Returns the key of a query. Hooks with equal keys can share a subscription. */
export const keyOf = ({ runId, projectId, scope, types, categories, from = 'now' }: RunFeedQuery): string =>
  JSON.stringify([runId, projectId, scope, types, categories, from]);

/** Opens the tRPC subscription of a query. `lastEventId` is a cursor (a position): only later events are delivered. */
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
