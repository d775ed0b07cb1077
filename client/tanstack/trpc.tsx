import { createTRPCContext } from '@trpc/tanstack-react-query';
import type { ReactNode } from 'react';
import type { AppRouter } from '../../shared/router.ts';
import { useRunwire } from '../hooks/context.ts';
import { RunwireProvider as HooksProvider, type RunwireProviderProps } from '../hooks/provider.tsx';

/** `@trpc/tanstack-react-query` does not export the name of this type. */
type TRPCContext = ReturnType<typeof createTRPCContext<AppRouter, { keyPrefix: true }>>;

/** A context of its own: an application that has a tRPC server too has another. */
const trpc: TRPCContext = createTRPCContext();

/**
 * Returns tRPC's options, typed by the server's router, for the hooks of React Query and for `useSubscription` of
 * `@trpc/tanstack-react-query`: `useQuery(useTRPC().run.history.queryOptions({ runId }))`. Their keys name the server and
 * the user.
 */
export const useTRPC: TRPCContext['useTRPC'] = () => {
  useRunwire(); // Throws outside of a provider, and names the provider.
  return trpc.useTRPC();
};

/** Returns the tRPC client of the provider: `useTRPCClient().run.get.query({ runId })`. */
export const useTRPCClient: TRPCContext['useTRPCClient'] = () => useRunwire().client;

/** The provider of `runwire/hooks`, which also provides the options of {@link useTRPC}. */
export function RunwireProvider({ children, ...props }: RunwireProviderProps): ReactNode {
  return (
    <HooksProvider {...props}>
      <ProvideTRPC>{children}</ProvideTRPC>
    </HooksProvider>
  );
}

function ProvideTRPC({ children }: { children: ReactNode }): ReactNode {
  const { client, queries, keyPrefix } = useRunwire();
  return (
    <trpc.TRPCProvider trpcClient={client} queryClient={queries} keyPrefix={keyPrefix}>
      {children}
    </trpc.TRPCProvider>
  );
}
