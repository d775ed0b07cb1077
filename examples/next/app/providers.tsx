'use client';

import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { createTRPCClient, httpBatchLink } from '@trpc/client';
import { type ReactNode, useState } from 'react';
import { RunwireProvider } from 'runwire/hooks';
import type { AppRouter } from '../lib/router.ts';
import { TRPCProvider } from '../lib/trpc.ts';

const fetchToken = () => fetch('/api/token', { method: 'POST' }).then((response) => response.text());

type Props = { url: string; user: string; children: ReactNode };

/** The app's own tRPC and Runwire share a QueryClient. */
export function Providers({ url, user, children }: Props) {
  const [queryClient] = useState(() => new QueryClient());
  const [trpcClient] = useState(() =>
    createTRPCClient<AppRouter>({ links: [httpBatchLink({ url: `${url}/api/trpc` })] }),
  );
  return (
    <QueryClientProvider client={queryClient}>
      <TRPCProvider trpcClient={trpcClient} queryClient={queryClient}>
        <RunwireProvider url={url} token={fetchToken} identity={user}>
          {children}
        </RunwireProvider>
      </TRPCProvider>
    </QueryClientProvider>
  );
}
