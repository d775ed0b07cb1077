import { httpBatchLink, splitLink, type TRPCLink, type TRPCWebSocketClient, wsLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { observable } from '@trpc/server/observable';
import type { ErrorCode } from '../../shared/errors.ts';
import type { Endpoints } from './endpoints.ts';
import type { TokenCache } from './token-cache.ts';

/**
 * Drops an event whose `seq` has been seen: a socket that is closing may still deliver what its successor brings again.
 */
export function dedupeLink<R extends AnyTRPCRouter>(): TRPCLink<R> {
  return () =>
    ({ next, op }) => {
      if (op.type !== 'subscription') return next(op);
      return observable((observer) => {
        let lastSeq = 0;
        return next(op).subscribe({
          ...observer,
          next: (envelope) => {
            const { result } = envelope;
            const item = 'data' in result ? (result.data as { data?: Item } | undefined)?.data : undefined;
            if (item?.type === 'stream.gap') lastSeq = item.toSeq ?? 0;
            else if (item?.runSeq !== undefined && item.seq !== undefined) {
              if (item.seq <= lastSeq) return;
              lastSeq = item.seq;
            }
            observer.next(envelope);
          },
        });
      });
    };
}

/** Events alone have a `runSeq`. */
type Item = { type?: string; seq?: number; runSeq?: number; toSeq?: number };

/**
 * The stock client fails a subscription, and forgets it, whose socket closes between its opening and the request. It is
 * asked for again; when a socket is opened, the pacer decides. An error that the server sent ends it.
 */
function resubscribeLink<R extends AnyTRPCRouter>(isClosed: () => boolean): TRPCLink<R> {
  return () =>
    ({ next, op }) => {
      if (op.type !== 'subscription') return next(op);
      return observable((observer) => {
        let current: { unsubscribe(): void } | undefined;
        let isDone = false;
        const ask = () => {
          if (isDone || isClosed()) return observer.complete();
          current = next(op).subscribe({
            ...observer,
            error: (error) => (error.shape === undefined ? queueMicrotask(ask) : observer.error(error)),
          });
        };
        ask();
        return () => {
          isDone = true;
          current?.unsubscribe();
        };
      });
    };
}

/** Asks once more, with a token fetched anew, for what was refused because of the token. */
function retryWithFreshTokenLink<R extends AnyTRPCRouter>(tokens: TokenCache): TRPCLink<R> {
  return () =>
    ({ next, op }) => {
      if (!tokens.isRenewable) return next(op);
      return observable((observer) => {
        const { generation } = tokens;
        let current = next(op).subscribe({
          ...observer,
          error: (error) => {
            const { runwireCode } = (error.data ?? {}) as { runwireCode?: ErrorCode };
            if (runwireCode !== 'UNAUTHENTICATED') return observer.error(error);
            tokens.forget(generation);
            current = next(op).subscribe(observer);
          },
        });
        return () => current.unsubscribe();
      });
    };
}

/** Subscriptions, and what concerns the socket itself, over the socket; the rest over HTTP. */
export function linksOver<R extends AnyTRPCRouter>(
  socket: TRPCWebSocketClient,
  addresses: Endpoints,
  tokens: TokenCache,
  isClosed: () => boolean,
): TRPCLink<R>[] {
  // The options of these links depend on whether the router has a transformer; ours has none, and R cannot tell.
  const ws = wsLink({ client: socket } as unknown as Parameters<typeof wsLink<R>>[0]);
  const http = httpBatchLink({
    url: addresses.trpc,
    methodOverride: 'POST', // Inputs hold search text, which does not belong into addresses.
    maxItems: 50,
    headers: async () => {
      const token = await tokens.get();
      return token === undefined ? {} : { authorization: `Bearer ${token}` };
    },
    // A browser opens a socket of another origin with its cookie, but sends a request without, unless it is asked to.
    ...(tokens.isAbsent ? { fetch: withCookie } : {}),
  } as unknown as Parameters<typeof httpBatchLink<R>>[0]);
  return [
    dedupeLink<R>(),
    resubscribeLink<R>(isClosed),
    splitLink<R>({
      condition: (op) => op.type === 'subscription' || op.path === 'auth.refresh',
      true: ws,
      false: [retryWithFreshTokenLink<R>(tokens), http],
    }),
  ];
}

/**
 * Puts a token in place on the socket itself. Not by a client of its own: that would number its requests as the user's
 * does, and take over the subscription that has the number.
 */
export function refreshOver<R extends AnyTRPCRouter>(
  socket: TRPCWebSocketClient,
): (token: string, signal: AbortSignal) => Promise<unknown> {
  const link = wsLink({ client: socket } as unknown as Parameters<typeof wsLink<R>>[0])({});
  let lastId = 0;
  return (token, signal) => {
    const op = { id: --lastId, type: 'mutation', path: 'auth.refresh', input: { token }, context: {}, signal } as const;
    return new Promise((resolve, reject) => {
      link({ op, next: () => observable(() => undefined) }).subscribe({
        next: resolve,
        error: reject,
        complete: () => reject(new Error('the socket has closed')),
      });
    });
  };
}

const withCookie: typeof fetch = (input, init) => fetch(input, { ...init, credentials: 'include' });
