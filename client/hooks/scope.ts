import type { QueryClient } from '@tanstack/react-query';
import type { EventTable } from '../../shared/event-table.ts';
import { queryKeyOf } from '../connection/query-key.ts';
import type { Runwire } from '../connection/runwire.ts';
import { FeedCache } from '../feeds/feed-cache.ts';
import type { RunwireScope } from './context.ts';

/** Creates the scope of a connection's present user. */
export function createScope(runwire: Runwire, queries: QueryClient, events: EventTable): RunwireScope {
  const { client, connection } = runwire;
  const { subject } = connection.getIdentity();
  return {
    client,
    connection,
    feeds: new FeedCache(client, connection, events),
    queries,
    queryKey: (...parts) => queryKeyOf(connection.server, subject, ...parts),
    keyPrefix: JSON.stringify(queryKeyOf(connection.server, subject)),
    events,
  };
}
