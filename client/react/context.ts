import { createTRPCReact } from '@trpc/react-query';
import { createContext, useContext } from 'react';
import type { AppRouter } from '../../server/api/router.ts';
import type { Connection } from '../connection/connection.ts';
import type { FeedCache } from '../feeds/feed-cache.ts';
import type { RunwireClient } from '../index.ts';

/** tRPC's own hooks, typed by the server's router: `trpc.run.list.useQuery()`, `trpc.onRunEvent.useSubscription()`. */
export const trpc = createTRPCReact<AppRouter>();

/** What a provider shares with the hooks below it. */
export type Runwire = { client: RunwireClient; connection: Connection<AppRouter>; feeds: FeedCache };

export const RunwireContext = createContext<Runwire | null>(null);

export function useRunwire(): Runwire {
  const runwire = useContext(RunwireContext);
  if (!runwire) throw new Error('there is no <RunwireProvider> above this component');
  return runwire;
}
