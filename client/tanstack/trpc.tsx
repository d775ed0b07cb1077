'use client';

import type { AnyTRPCRouter } from '@trpc/server';
import { createTRPCContext } from '@trpc/tanstack-react-query';
import type { ReactNode } from 'react';
import type { TableOf } from '../../shared/event-table.ts';
import type { Registry } from '../../shared/registry.ts';
import type { AppRouter, RouterOf } from '../../shared/router.ts';
import { useRunwire } from '../hooks/context.ts';
import { createRunwireHooks, type RunwireHooks } from '../hooks/create-hooks.tsx';
import { RunwireProvider as HooksProvider, type RunwireProviderProps } from '../hooks/provider.tsx';

/** `@trpc/tanstack-react-query` does not export the name of this type. */
type ContextOf<Router extends AnyTRPCRouter> = ReturnType<typeof createTRPCContext<Router, { keyPrefix: true }>>;

/** A context of its own: an application that has a tRPC server too has another. */
const trpc: ContextOf<AppRouter> = createTRPCContext();

/**
 * Returns tRPC's options, typed by the server's router, for the hooks of React Query and for `useSubscription` of
 * `@trpc/tanstack-react-query`: `useQuery(useTRPC().run.history.queryOptions({ runId }))`. Their keys name the server and
 * the user.
 */
export const useTRPC: ContextOf<AppRouter>['useTRPC'] = () => {
  useRunwire(); // Throws outside of a provider, and names the provider.
  return trpc.useTRPC();
};

/** Returns the tRPC client of the provider: `useTRPCClient().run.get.query({ runId })`. */
export const useTRPCClient: ContextOf<AppRouter>['useTRPCClient'] = () => useRunwire().client;

/** What `createRunwireHooks` returns, and tRPC's options and client, typed by the registry. */
export type RunwireTanstack<R extends Registry> = RunwireHooks<R> &
  Pick<ContextOf<RouterOf<R>>, 'useTRPC' | 'useTRPCClient'>;

/** As `createRunwireHooks` of `runwire/hooks`, with the provider of {@link useTRPC}. */
export function createRunwireTanstack<R extends Registry>(events: R | TableOf<R>): RunwireTanstack<R> {
  const hooks = createRunwireHooks<R>(events);
  const RunwireProvider: typeof hooks.RunwireProvider = ({ children, ...props }) => (
    <hooks.RunwireProvider {...props}>
      <ProvideTRPC>{children}</ProvideTRPC>
    </hooks.RunwireProvider>
  );
  return { ...hooks, RunwireProvider, useTRPC, useTRPCClient } as unknown as RunwireTanstack<R>;
}

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
