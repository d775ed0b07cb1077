import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { Fragment, type ReactNode, useEffect, useState } from 'react';
import { RunwireContext, trpc } from './context.ts';
import { Session, type SessionOptions } from './session.ts';

export type RunwireProviderProps = SessionOptions & {
  /** The React Query client for the hooks below the provider; default a new client. */
  queryClient?: QueryClient | undefined;
  children?: ReactNode;
};

/**
 * Provides one connection for all hooks below it. The first subscription opens the connection; unmounting the provider
 * closes it. The connection is replaced, and the children are mounted again, when `url` or a retry option changes, or when
 * a token is added or removed. The provider renders in a browser only.
 */
export function RunwireProvider({ queryClient, children, ...options }: RunwireProviderProps): ReactNode {
  const [ownQueries] = useState(() => new QueryClient());
  const [session, setSession] = useState(() => new Session(options));
  // A new session changes the key of the Fragment below. React then mounts the children again, so that no hook keeps state
  // of the old connection.
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

  const queries = queryClient ?? ownQueries;
  return (
    <RunwireContext.Provider value={session}>
      <trpc.Provider client={session.client} queryClient={queries}>
        <QueryClientProvider client={queries}>
          <Fragment key={session.id}>{children}</Fragment>
        </QueryClientProvider>
      </trpc.Provider>
    </RunwireContext.Provider>
  );
}
