import { QueryClient, QueryClientContext, QueryClientProvider } from '@tanstack/react-query';
import { type ReactNode, useContext, useEffect, useMemo, useState } from 'react';
import { type EventTable, runwireTable } from '../../shared/event-table.ts';
import type { Runwire } from '../connection/runwire.ts';
import { RunwireContext } from './context.ts';
import { createScope } from './scope.ts';
import { Session, type SessionOptions } from './session.ts';

export type RunwireProviderProps = SessionOptions & {
  /**
   * A client from `createRunwireClient`, in place of `url`, `token` and the options of the connection. The provider does
   * not close it.
   */
  client?: Runwire | undefined;
  /** The React Query client for the hooks; default the client of the nearest `QueryClientProvider`, else a new one. */
  queryClient?: QueryClient | undefined;
  children?: ReactNode;
};

/**
 * Provides one connection for all hooks below it. The first subscription opens the connection; unmounting the provider
 * closes it. The connection is replaced when `url` or a retry option changes, or when a token is added or removed.
 */
export function RunwireProvider(props: RunwireProviderProps): ReactNode {
  return <ScopeProvider {...props} events={runwireTable} />;
}

/** A `RunwireProvider` for the event types of `events`. */
export function ScopeProvider({
  client,
  queryClient,
  events,
  children,
  ...options
}: RunwireProviderProps & { events: EventTable }): ReactNode {
  const surrounding = useContext(QueryClientContext);
  const [ownQueries] = useState(() => new QueryClient());
  const queries = queryClient ?? surrounding ?? ownQueries;
  const runwire = useSession(options, client);
  const scope = useMemo(() => createScope(runwire, queries, events), [runwire, queries, events]);
  const below = <RunwireContext.Provider value={scope}>{children}</RunwireContext.Provider>;
  // A client of the application stays the client of the components below.
  return surrounding ? below : <QueryClientProvider client={queries}>{below}</QueryClientProvider>;
}

/** Returns `given`, or else a client and a connection for these options, which live as long as the component. */
function useSession(options: SessionOptions, given: Runwire | undefined): Runwire {
  const [session, setSession] = useState(() => new Session(options));
  if (!session.isFor(options)) setSession(new Session(options));

  useEffect(() => {
    session.token = options.token;
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the session depends on the options.
  useEffect(() => {
    if (!session.isOver) return session.hold();
    setSession(new Session(options)); // React had hidden the provider, for example in <Activity>, and shows it again.
    return undefined;
  }, [session]);
  return given ?? session.runwire;
}
