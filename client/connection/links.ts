import { httpBatchLink, splitLink, type TRPCLink, type TRPCWebSocketClient, wsLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { observable } from '@trpc/server/observable';
import { codeOf } from '../errors.ts';
import type { Endpoints } from './endpoints.ts';
import type { TokenCache } from './token-cache.ts';

/**
 * Drops an event with a `seq` that the subscription has already delivered. A closing socket may still deliver events
 * that its successor delivers too.
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

/** Only events have a `runSeq`. */
type Item = { type?: string; seq?: number; runSeq?: number; toSeq?: number };

/**
 * Requests a subscription again when its socket closed before the request was sent: the stock client fails such a
 * subscription and forgets it. The reconnect policy decides when the next socket opens. An error from the server ends the
 * subscription.
 */
function resubscribeLink<R extends AnyTRPCRouter>(isClosed: () => boolean): TRPCLink<R> {
  return () =>
    ({ next, op }) => {
      if (op.type !== 'subscription') return next(op);
      return observable((observer) => {
        let current: { unsubscribe(): void } | undefined;
        let isDone = false;
        const request = () => {
          if (isDone || isClosed()) return observer.complete();
          current = next(op).subscribe({
            ...observer,
            error: (error) => (error.shape === undefined ? queueMicrotask(request) : observer.error(error)),
          });
        };
        request();
        return () => {
          isDone = true;
          current?.unsubscribe();
        };
      });
    };
}

/** Repeats a refused query or mutation once with a fresh token. Requests refused with the same token share one fetch. */
function retryWithFreshTokenLink<R extends AnyTRPCRouter>(tokens: TokenCache): TRPCLink<R> {
  return () =>
    ({ next, op }) => {
      if (!tokens.isRenewable) return next(op);
      return observable((observer) => {
        const { generation } = tokens;
        let current = next(op).subscribe({
          ...observer,
          error: (error) => {
            if (codeOf(error) !== 'UNAUTHENTICATED') return observer.error(error);
            tokens.forget(generation);
            current = next(op).subscribe(observer);
          },
        });
        return () => current.unsubscribe();
      });
    };
}

/** Sends subscriptions and `auth.refresh` over the socket, and all other requests over HTTP. */
export function linksOver<R extends AnyTRPCRouter>(
  socket: TRPCWebSocketClient,
  endpoints: Endpoints,
  tokens: TokenCache,
  isClosed: () => boolean,
): TRPCLink<R>[] {
  // The casts replace a conditional type on the router's transformer, which TypeScript cannot resolve for a generic R.
  const ws = wsLink({ client: socket } as unknown as Parameters<typeof wsLink<R>>[0]);
  const http = httpBatchLink({
    url: endpoints.trpc,
    methodOverride: 'POST', // A GET would put search text, which may be PHI, into URLs and so into access logs.
    maxItems: 50,
    headers: async () => {
      const token = await tokens.get();
      return token === undefined ? {} : { authorization: `Bearer ${token}` };
    },
    // Without this option the browser sends its cookie to another origin with a WebSocket but not with a fetch.
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
 * Returns a function that sends a token over the socket with `auth.refresh`. It builds the request itself, with negative
 * ids: a second client would reuse request ids of the user's client and take over its subscriptions.
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
        complete: () => reject(new Error('the socket closed before the server answered')),
      });
    });
  };
}

const withCookie: typeof fetch = (input, init) => fetch(input, { ...init, credentials: 'include' });
