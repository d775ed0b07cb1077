import { hashKey, QueryClient } from '@tanstack/react-query';
import { createTRPCReact } from '@trpc/react-query';
import { createContext, type ReactNode, useMemo } from 'react';
import type { AppRouter } from '../../shared/router.ts';
import { type RunwireScope, useRunwire } from '../hooks/context.ts';
import { RunwireProvider as HooksProvider, type RunwireProviderProps } from '../hooks/provider.tsx';

/** tRPC's default context is one for the whole page: it belongs to the application's own tRPC. */
const context = createContext<unknown>(null);

/** tRPC's React hooks, typed by the server's router: `trpc.run.list.useQuery()`, `trpc.onRunEvent.useSubscription()`. */
export const trpc = createTRPCReact<AppRouter>({ context });

/** The provider of `runwire/hooks`, which also provides the client for the hooks of `trpc`. */
export function RunwireProvider({ children, ...props }: RunwireProviderProps): ReactNode {
  return (
    <HooksProvider {...props}>
      <ProvideTRPC>{children}</ProvideTRPC>
    </HooksProvider>
  );
}

function ProvideTRPC({ children }: { children: ReactNode }): ReactNode {
  const scope = useRunwire();
  const queries = useMemo(() => queryClientOf(scope), [scope]);
  return (
    <trpc.Provider client={scope.client} queryClient={queries}>
      {children}
    </trpc.Provider>
  );
}

/**
 * Returns a QueryClient over the caches of the application's. tRPC's keys name neither server nor user, so this client puts
 * both into the hash of each key.
 */
function queryClientOf({ queries, queryKey }: RunwireScope): QueryClient {
  const { queries: options, ...others } = queries.getDefaultOptions();
  return new QueryClient({
    queryCache: queries.getQueryCache(),
    mutationCache: queries.getMutationCache(),
    defaultOptions: { ...others, queries: { ...options, queryKeyHashFn: (key) => hashKey(queryKey(...key)) } },
  });
}
