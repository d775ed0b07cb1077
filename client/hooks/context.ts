import { createTRPCReact } from '@trpc/react-query';
import { createContext, useContext } from 'react';
import type { AppRouter } from '../../shared/router.ts';
import type { Connection } from '../connection/connection.ts';
import type { FeedCache } from '../feeds/feed-cache.ts';
import type { RunwireClient } from '../index.ts';

/** tRPC's React hooks, typed by the server's router: `trpc.run.list.useQuery()`, `trpc.onRunEvent.useSubscription()`. */
export const trpc = createTRPCReact<AppRouter>();

/** The objects that a `RunwireProvider` shares with the hooks below it. */
export type Runwire = { client: RunwireClient; connection: Connection<AppRouter>; feeds: FeedCache };

export const RunwireContext = createContext<Runwire | null>(null);

export function useRunwire(): Runwire {
  const runwire = useContext(RunwireContext);
  if (!runwire) throw new Error('this component needs a <RunwireProvider> above it');
  return runwire;
}
