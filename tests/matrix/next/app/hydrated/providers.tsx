'use client';

import { QueryClient, QueryClientProvider, useQueryClient } from '@tanstack/react-query';
import { httpBatchLink } from '@trpc/client';
import { createTRPCReact } from '@trpc/react-query';
import { type ReactNode, useState } from 'react';
import { RunwireProvider } from 'runwire/react';
import type { AppRouter } from '../api/trpc/[trpc]/route';

/** The app's own tRPC hooks, in tRPC's default context. */
export const appTrpc = createTRPCReact<AppRouter>();

export function Providers({ url, token, children }: { url: string; token: string; children: ReactNode }) {
  const [queryClient] = useState(() => new QueryClient());
  const [client] = useState(() => appTrpc.createClient({ links: [httpBatchLink({ url: '/api/trpc' })] }));
  return (
    <appTrpc.Provider client={client} queryClient={queryClient}>
      <QueryClientProvider client={queryClient}>
        <RunwireProvider url={url} token={token} reconnectDelayMs={20}>
          <Probe queryClient={queryClient} />
          {children}
        </RunwireProvider>
      </QueryClientProvider>
    </appTrpc.Provider>
  );
}

function Probe({ queryClient }: { queryClient: QueryClient }) {
  const isOwn = useQueryClient() === queryClient;
  return <p id="client">{isOwn ? 'the QueryClient of the app' : 'another QueryClient'}</p>;
}
