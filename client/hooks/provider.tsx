import { QueryClient, QueryClientContext, QueryClientProvider } from '@tanstack/react-query';
import {
  type ReactNode,
  type RefObject,
  Suspense,
  useContext,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react';
import { runwireCategories } from '../../shared/event-categories.ts';
import type { EventTable } from '../../shared/event-table.ts';
import type { Runwire } from '../connection/runwire.ts';
import { subjectOf } from '../connection/token-cache.ts';
import { RunwireContext, type RunwireScope } from './context.ts';
import { createScope, type EndableScope } from './scope.ts';
import { Session, type SessionOptions } from './session.ts';

/** Props of `RunwireProvider`: the server, the user, and the policy of reconnecting. */
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
 * closes it.
 *
 * A new token of the same user is sent over the open socket. With a token of another user, all hooks start over with a new
 * connection and an empty cache. The components below stay mounted and keep their state.
 */
export function RunwireProvider(props: RunwireProviderProps): ReactNode {
  return <ScopeProvider {...props} />;
}

/** A `RunwireProvider` for the event types of `events`; default the twelve types. */
export function ScopeProvider({
  client,
  queryClient,
  events = runwireCategories,
  children,
  ...options
}: RunwireProviderProps & { events?: EventTable | undefined }): ReactNode {
  const surrounding = useContext(QueryClientContext);
  const [ownQueries] = useState(() => new QueryClient());
  const queries = queryClient ?? surrounding ?? ownQueries;
  const current = useRef<EndableScope>(null);
  const runwire = useSession(options, client, ({ connection }) => {
    if (current.current?.connection === connection) current.current.end();
  });
  const scope = useScope(runwire, queries, events, current);
  useEffect(() => {
    queries.mount(); // React Query counts the mounts.
    return () => queries.unmount();
  }, [queries]);

  // Without a client above, React would forget `ownQueries` when a component below suspends before the first mount, and
  // each attempt to render would fetch again. A boundary between both keeps it. The same applies to a user that only the server
  // can name.
  const [isForgettable] = useState(
    () => queries === ownQueries || (!client && (options.identity ?? subjectOf(options.token)) === undefined),
  );
  const below = isForgettable ? <Suspense>{children}</Suspense> : children;
  return (
    <RunwireContext.Provider value={scope}>
      {/* A client of the application stays the client of the components below. */}
      {surrounding ? below : <QueryClientProvider client={queries}>{below}</QueryClientProvider>}
    </RunwireContext.Provider>
  );
}

/** React warns about layout effects on servers. */
const useLayout = typeof window === 'undefined' ? useEffect : useLayoutEffect;

/** Returns the scope of the present user. The former scope ends before the browser paints. */
function useScope(
  runwire: Runwire,
  queries: QueryClient,
  events: EventTable,
  current: RefObject<EndableScope | null>,
): RunwireScope {
  const { subscribe, getIdentity } = runwire.connection;
  const identity = useSyncExternalStore(subscribe, getIdentity, getIdentity);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another user needs another scope.
  const scope = useMemo(() => createScope(runwire, queries, events), [runwire, identity, queries, events]);
  useLayout(() => {
    if (current.current !== scope) current.current?.end(scope);
    current.current = scope;
  }, [scope, current]);
  return scope;
}

/** Returns `given`, or else a client and a connection for these options, which live as long as the component. */
function useSession(options: SessionOptions, given: Runwire | undefined, onOver: (runwire: Runwire) => void): Runwire {
  const [session, setSession] = useState(() => (given ? undefined : new Session(options)));
  let latest = session;
  if (!given && !session?.isFor(options)) {
    latest = new Session(options);
    setSession(latest);
  }
  if (given && session) setSession(undefined);

  useLayout(() => session?.update(options.token));
  useLayout(() => {
    if (!session?.isOver) return session?.hold(onOver);
    setSession(new Session(options)); // React had hidden the provider, for example in <Activity>, and shows it again.
    return undefined;
  }, [session]);
  return given ?? (latest as Session).runwire;
}
