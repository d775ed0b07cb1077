import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { Fragment, type ReactNode, useEffect, useState } from 'react';
import { RunwireContext, trpc } from './context.ts';
import { Session, type SessionOptions } from './session.ts';

/** `runwire/react`: the provider, tRPC's hooks typed by the server's router, and hooks that hide the protocol. */

export type RunwireProviderProps = SessionOptions & {
  /** Default one of its own. */
  queryClient?: QueryClient | undefined;
  children?: ReactNode;
};

/** One connection for all below it: opened by the first subscription, closed on unmount. For browsers alone. */
export function RunwireProvider({ queryClient, children, ...options }: RunwireProviderProps): ReactNode {
  const [ownQueries] = useState(() => new QueryClient());
  const [session, setSession] = useState(() => new Session(options));
  // Another server, or another way to say who one is: what hangs on the old connection starts anew.
  if (!session.isFor(options)) setSession(new Session(options));

  useEffect(() => {
    session.token = options.token;
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the session stands for the options.
  useEffect(() => {
    if (!session.isOver) return session.hold();
    setSession(new Session(options)); // Hidden, then shown again.
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

export type { AppRouter } from '../../server/api/router.ts';
export type { EventCategory, RunEvent, RunEventDraft, RunEventType } from '../../shared/events.ts';
export type { Approval, Artifact, RunHeader, RunStatus, RunView, Stage, StageStatus } from '../../shared/run.ts';
export type { ConnectionState } from '../connection/reconnect-policy.ts';
export type { TokenSource } from '../connection/token-cache.ts';
export type { EventOfCategory, EventOfType } from '../feeds/handlers.ts';
export type { RunFeedScope } from '../feeds/query.ts';
export type { Gap, RunFeedPhase } from '../feeds/subscription.ts';
export { trpc } from './context.ts';
export { type UseConnectionReturn, useConnection } from './useConnection.ts';
export { type UseRunOptions, type UseRunReturn, useRun } from './useRun.ts';
export { type UseRunEventsOptions, type UseRunEventsReturn, useRunEvents } from './useRunEvents.ts';
export { type UseRunsOptions, type UseRunsReturn, useRuns } from './useRuns.ts';
