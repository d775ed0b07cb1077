import type { Query, QueryClient } from '@tanstack/react-query';
import { createTRPCClient } from '@trpc/client';
import type { EventTable } from '../../shared/event-table.ts';
import type { AppRouter } from '../../shared/router.ts';
import { queryKeyOf } from '../connection/query-key.ts';
import type { Runwire } from '../connection/runwire.ts';
import { FeedCache } from '../feeds/feed-cache.ts';
import type { RunwireScope } from './context.ts';

export type EndableScope = RunwireScope & {
  /**
   * Ends all requests and subscriptions of the scope. If the scope `next` is of another user or server, removes the entries
   * from React Query's cache.
   */
  end(next?: RunwireScope): void;
};

/** Creates the scope of a connection's present user. */
export function createScope(runwire: Runwire, queries: QueryClient, events: EventTable): EndableScope {
  const { connection } = runwire;
  const { server } = connection;
  const { subject } = connection.getIdentity();
  const ended = new AbortController();
  const client = createTRPCClient<AppRouter>({ links: connection.linksUntil(ended.signal) });
  const feeds = new FeedCache(client, connection, events);
  const keyPrefix = JSON.stringify(queryKeyOf(server, subject));
  // Own hooks begin their keys with the prefix, and `runwire/react` its hashes. `runwire/tanstack` makes it the first part.
  const hash = `${keyPrefix.slice(0, -1)},`;
  const has: RunwireScope['has'] = ({ queryKey, queryHash }) =>
    queryHash.startsWith(hash) ||
    JSON.stringify(queryKey.slice(0, 3)) === keyPrefix ||
    (Array.isArray(queryKey[0]) && queryKey[0][0] === keyPrefix);
  const rendered = new WeakMap<Query, unknown>();
  return {
    client,
    connection,
    feeds,
    queries,
    queryKey: (...parts) => queryKeyOf(server, subject, ...parts),
    keyPrefix,
    renderedData: (queryKey) => {
      const query = queries.getQueryCache().find({ queryKey, exact: true });
      if (query && !rendered.has(query)) rendered.set(query, query.state.data);
      return query && rendered.get(query);
    },
    has,
    events,
    end: (next) => {
      feeds.end();
      ended.abort();
      if (!next || (next.queries === queries && next.keyPrefix === keyPrefix)) return;
      queries.removeQueries({ predicate: has });
    },
  };
}
