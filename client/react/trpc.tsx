'use client';

import { hashKey, MutationCache, type Query, QueryCache, QueryClient } from '@tanstack/react-query';
import { type CreateTRPCReact, createTRPCReact } from '@trpc/react-query';
import { createContext, type ReactNode, useMemo } from 'react';
import type { TableOf } from '../../shared/event-table.ts';
import type { Registry } from '../../shared/registry.ts';
import type { AppRouter, RouterOf } from '../../shared/router.ts';
import { type RunwireScope, useRunwire } from '../hooks/context.ts';
import { createRunwireHooks, type RunwireHooks } from '../hooks/create-hooks.tsx';
import { RunwireProvider as HooksProvider, type RunwireProviderProps } from '../hooks/provider.tsx';

/** tRPC's default context is one for the whole page: it belongs to the application's own tRPC. */
const context = createContext<unknown>(null);

/** tRPC's React hooks, typed by the server's router: `trpc.run.list.useQuery()`, `trpc.onRunEvent.useSubscription()`. */
export const trpc = createTRPCReact<AppRouter>({ context });

/** What `createRunwireHooks` returns, and the hooks of `trpc`, typed by the registry. */
export type RunwireReact<R extends Registry> = RunwireHooks<R> & { trpc: CreateTRPCReact<RouterOf<R>, unknown> };

/** As `createRunwireHooks` of `runwire/hooks`, with the provider and the hooks of `trpc`. */
export function createRunwireReact<R extends Registry>(events: R | TableOf<R>): RunwireReact<R> {
  const hooks = createRunwireHooks<R>(events);
  const RunwireProvider: typeof hooks.RunwireProvider = ({ children, ...props }) => (
    <hooks.RunwireProvider {...props}>
      <ProvideTRPC>{children}</ProvideTRPC>
    </hooks.RunwireProvider>
  );
  return { ...hooks, RunwireProvider, trpc: trpc as unknown as CreateTRPCReact<RouterOf<R>, unknown> };
}

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
  const queries = useMemo(() => new ClientOfScope(scope), [scope]);
  return (
    <trpc.Provider client={scope.client} queryClient={queries}>
      {children}
    </trpc.Provider>
  );
}

/**
 * A QueryClient over the caches of the application's. tRPC's keys name neither server nor user, so this client puts both into
 * the hash of each key, and finds no other queries.
 */
class ClientOfScope extends QueryClient {
  readonly #has: ReturnType<typeof finderOf>;

  constructor(scope: RunwireScope) {
    const { queries, queryKey } = scope;
    const { queries: options, ...others } = queries.getDefaultOptions();
    super({
      queryCache: new CacheOfScope(scope),
      mutationCache: new MutationsOfScope(queries.getMutationCache()),
      defaultOptions: {
        ...others,
        queries: { ...options, queryKeyHashFn: (key) => hashKey(queryKey('trpc', ...key)) },
      },
    });
    this.#has = finderOf(scope);
  }

  /** Options such as `keepPreviousData` show data of the query before, which may be another user's. */
  override defaultQueryOptions: QueryClient['defaultQueryOptions'] = (options) => {
    const all = super.defaultQueryOptions(options);
    const show = all.placeholderData as ((data: unknown, query: Query | undefined) => unknown) | undefined;
    if (options._defaulted || typeof show !== 'function') return all;
    const placeholderData = (data: unknown, query: Query | undefined) =>
      query && this.#has(query) ? show(data, query) : show(undefined, undefined);
    return { ...all, placeholderData } as typeof all;
  };
}

/** Returns a function that finds the queries of tRPC's hooks in this scope. */
function finderOf({ queryKey }: RunwireScope): (query: { queryHash: string }) => boolean {
  const prefix = `${hashKey(queryKey('trpc')).slice(0, -1)},`;
  return ({ queryHash }) => queryHash.startsWith(prefix);
}

/** The queries of tRPC's hooks in the cache of the application. `utils.invalidate()` leaves all other queries alone. */
class CacheOfScope extends QueryCache {
  readonly #cache: QueryCache;
  readonly #has: ReturnType<typeof finderOf>;

  constructor(scope: RunwireScope) {
    const cache = scope.queries.getQueryCache();
    super(cache.config);
    this.#cache = cache;
    this.#has = finderOf(scope);
  }

  override getAll(): Query[] {
    return this.#cache.getAll().filter(this.#has);
  }
  override get: QueryCache['get'] = (hash) => this.#cache.get(hash);
  override add: QueryCache['add'] = (query) => this.#cache.add(query);
  override remove: QueryCache['remove'] = (query) => this.#cache.remove(query);
  override notify: QueryCache['notify'] = (event) => this.#cache.notify(event);
  override subscribe: QueryCache['subscribe'] = (listener) => this.#cache.subscribe(listener);
}

/**
 * The mutations of the application. A hook gives its latest options to a mutation that waits, for example for the network.
 * After a change of the user, these would send it in the name of the next user.
 */
class MutationsOfScope extends MutationCache {
  readonly #cache: MutationCache;

  constructor(cache: MutationCache) {
    super(cache.config);
    this.#cache = cache;
  }

  override build: MutationCache['build'] = (client, options, state) => {
    const mutation = this.#cache.build(client, options, state);
    const { mutationFn } = mutation.options;
    const setOptions = mutation.setOptions.bind(mutation);
    mutation.setOptions = (latest) => setOptions(mutationFn ? { ...latest, mutationFn } : latest);
    return mutation;
  };
  override getAll: MutationCache['getAll'] = () => this.#cache.getAll();
  override subscribe: MutationCache['subscribe'] = (listener) => this.#cache.subscribe(listener);
  override resumePausedMutations: MutationCache['resumePausedMutations'] = () => this.#cache.resumePausedMutations();
}
