import type { QueryClient, QueryKey } from '@tanstack/react-query';
import { createContext, useContext } from 'react';
import type { EventTable } from '../../shared/event-table.ts';
import type { AppRouter } from '../../shared/router.ts';
import type { Connection } from '../connection/connection.ts';
import type { RunwireClient } from '../connection/runwire.ts';
import type { FeedCache } from '../feeds/feed-cache.ts';

/** What the hooks below a `RunwireProvider` share: everything that belongs to one user of one server. */
export type RunwireScope = {
  client: RunwireClient;
  connection: Connection<AppRouter>;
  feeds: FeedCache;
  /** The React Query client of the application, or of the provider if there is none above it. */
  queries: QueryClient;
  /** Returns a query key that no other user and no other server shares: `['runwire', server, subject, ...parts]`. */
  queryKey(...parts: readonly unknown[]): QueryKey;
  /** Same for libraries that build their keys themselves and put a text in front. */
  keyPrefix: string;
  /**
   * Returns the data that a server has rendered: that of the query at the first call, which is at the first hydration. Parts
   * of a page are hydrated at different times, and the hooks of earlier parts keep the data up to date.
   */
  renderedData(queryKey: QueryKey): unknown;
  /** True for a query in React Query's cache that belongs to this scope. */
  has(query: { queryKey: QueryKey; queryHash: string }): boolean;
  /** The event types of the application's registry; by default the twelve types with their categories alone. */
  events: EventTable;
};

export const RunwireContext = createContext<RunwireScope | null>(null);

/** Returns the scope of the nearest `RunwireProvider`. Another user, or another server, is another scope. */
export function useRunwire(): RunwireScope {
  const scope = useContext(RunwireContext);
  if (!scope) throw new Error('this component needs a <RunwireProvider> above it');
  return scope;
}
