import {
  httpLink,
  type Operation,
  splitLink,
  TRPCClientError,
  type TRPCLink,
  type TRPCWebSocketClient,
  wsLink,
} from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { observable } from '@trpc/server/observable';
import { RunwireError } from '../../shared/errors.ts';
import { TIME_HEADER } from '../../shared/protocol.ts';
import { callSafely, codeOf } from '../errors.ts';
import type { Endpoints } from './endpoints.ts';
import type { Identity, TokenCache } from './token-cache.ts';

/** The tRPC links of a connection. A link is a middleware of a tRPC client: it forwards, changes or repeats requests. */

/**
 * Drops an event if the subscription has already delivered its `seq` (position in the log). A closing socket may still
 * deliver events that the next socket delivers again.
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

/** An item of a subscription: an event or a signal. Only events have a `runSeq`. */
type Item = { type?: string; seq?: number; runSeq?: number; toSeq?: number };

/**
 * Reports an error that a callback of the application throws. Thrown into tRPC's client, it would end the delivery to all
 * subscriptions of the socket. The subscription itself continues.
 */
function callbackLink<R extends AnyTRPCRouter>(): TRPCLink<R> {
  return () =>
    ({ next, op }) => {
      if (op.type !== 'subscription') return next(op);
      return observable((observer) =>
        next(op).subscribe({
          next: (envelope) => callSafely(() => observer.next(envelope)),
          error: (error) => callSafely(() => observer.error(error)),
          complete: () => callSafely(() => observer.complete()),
        }),
      );
    };
}

/**
 * Ends a request when its user is replaced. An answer to the former user is not delivered, and a request of the former user
 * is not sent with another user's token. A request belongs to `scope.identity`, or else to the user at its start.
 *
 * The link also gives requests their ids: two tRPC clients on one socket would use the same ones.
 */
function userLink<R extends AnyTRPCRouter>(tokens: TokenCache, host: Host, scope: LinkScope | undefined): TRPCLink<R> {
  return () =>
    ({ next, op }) =>
      observable((observer) => {
        const identity = scope?.identity ?? tokens.identity;
        const signals = scope ? [identity.signal, scope.signal] : [identity.signal];
        const end = () => {
          // Before `stop`, which makes tRPC's WebSocket client complete the subscription. The hooks of a scope begin again.
          if (scope && op.type === 'subscription') observer.complete();
          else observer.error(TRPCClientError.from(new RunwireError('UNAUTHENTICATED', 'another user has signed in')));
          stop();
        };
        let current: { unsubscribe(): void } | undefined;
        const stop = () => {
          for (const signal of signals) endsOf(signal).delete(end);
          current?.unsubscribe();
        };
        if (signals.some(({ aborted }) => aborted)) return end();
        for (const signal of signals) endsOf(signal).add(end);
        const context = { ...op.context, [userKey]: identity };
        current = next({ ...op, id: host.nextId(), context }).subscribe(observer);
        return stop;
      });
}

const ends = new WeakMap<AbortSignal, Set<() => void>>();

/** The functions to call at the abort of a signal. One listener calls all: Node.js takes more than ten for a leak. */
function endsOf(signal: AbortSignal): Set<() => void> {
  const known = ends.get(signal);
  if (known) return known;
  const made = new Set<() => void>();
  ends.set(signal, made);
  signal.addEventListener('abort', () => {
    for (const end of [...made]) end();
  });
  return made;
}

/** Key of the user in the context of a request. */
const userKey = 'runwire.user';

/** The user of a scope, and the end of the scope. */
export type LinkScope = { identity: Identity; signal: AbortSignal };

/** The part of a connection that its links use. */
export type Host = {
  isClosed(): boolean;
  /** Returns a request id that no other client of the connection uses. */
  nextId(): number;
  /** Called when a subscription begins. Returns a function that is called when it ends. */
  onSubscribe(): () => void;
  /** Called before each request to tRPC's WebSocket client. */
  onRequest(): void;
  /** Called with each answer over HTTP: when it was requested by this clock, and when it was made by the server's. */
  onAnswer(sentAtMs: number, serverMs: number): void;
};

/**
 * Requests a subscription again if the socket closed before the request was sent. Without this link, tRPC's WebSocket
 * client would end such a subscription with an error. The reconnect policy decides when the next socket opens. An error
 * that the server sent (`error.shape` is set) ends the subscription.
 */
function resubscribeLink<R extends AnyTRPCRouter>(host: Host): TRPCLink<R> {
  return () =>
    ({ next, op }) => {
      if (op.type !== 'subscription') return next(op);
      return observable((observer) => {
        const onEnd = host.onSubscribe();
        let current: { unsubscribe(): void } | undefined;
        let isDone = false;
        const request = () => {
          if (isDone || host.isClosed()) return observer.complete();
          host.onRequest();
          current = next(op).subscribe({
            ...observer,
            error: (error) => (error.shape === undefined ? queueMicrotask(request) : observer.error(error)),
          });
        };
        request();
        return () => {
          isDone = true;
          current?.unsubscribe();
          onEnd();
        };
      });
    };
}

/**
 * Repeats a query or mutation once with a new token if the server refused the old token. Requests that were refused with
 * the same token share one fetch of a new token.
 */
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

/** Returns links that send subscriptions and `auth.refresh` over the socket, and all other requests over HTTP. */
export function linksOver<R extends AnyTRPCRouter>(
  socket: TRPCWebSocketClient,
  endpoints: () => Endpoints,
  tokens: TokenCache,
  host: Host,
  scope?: LinkScope,
): TRPCLink<R>[] {
  // The type of these options depends on the router's transformer. TypeScript cannot resolve this type for a generic R, so
  // both calls need a cast.
  const ws = wsLink({ client: socket } as unknown as Parameters<typeof wsLink<R>>[0]);
  return [
    callbackLink<R>(),
    userLink<R>(tokens, host, scope),
    dedupeLink<R>(),
    resubscribeLink<R>(host),
    splitLink<R>({
      condition: (op) => op.type === 'subscription' || op.path === 'auth.refresh',
      true: ws,
      false: [retryWithFreshTokenLink<R>(tokens), httpLinkTo<R>(endpoints, tokens, host)],
    }),
  ];
}

/**
 * Each call is a request of its own: a batch would answer none of its calls before the slowest. The URL is read at the first
 * request: a relative URL has no host while a page is rendered on a server.
 */
function httpLinkTo<R extends AnyTRPCRouter>(endpoints: () => Endpoints, tokens: TokenCache, host: Host): TRPCLink<R> {
  // To another origin, a browser sends its cookies with a WebSocket by default, but with `fetch` only by this option.
  const credentials = tokens.isAbsent ? { credentials: 'include' as const } : {};
  const fetchTimed: typeof fetch = async (input, init) => {
    const sentAtMs = Date.now();
    const response = await fetch(input, { ...init, ...credentials });
    const serverMs = Number(response.headers.get(TIME_HEADER));
    if (serverMs > 0) host.onAnswer(sentAtMs, serverMs);
    return response;
  };
  return (runtime) => {
    let link: ReturnType<TRPCLink<R>> | undefined;
    return (operation) => {
      link ??= httpLink<R>({
        url: endpoints().trpc,
        // A GET request puts search text into the URL, and URLs into access logs. The text may be protected information.
        methodOverride: 'POST',
        headers: async ({ op }: { op: Operation }) => {
          if (op.type === 'mutation') tokens.settleDoubt();
          const token = await tokens.get();
          const { signal } = op.context[userKey] as Identity;
          if (signal.aborted) throw new RunwireError('UNAUTHENTICATED', 'another user has signed in');
          return token === undefined ? {} : { authorization: `Bearer ${token}` };
        },
        fetch: fetchTimed,
      } as unknown as Parameters<typeof httpLink<R>>[0])(runtime);
      return link(operation);
    };
  };
}

/** Returns a function that sends a new token over the open socket with the procedure `auth.refresh`. */
export function refreshOver<R extends AnyTRPCRouter>(
  socket: TRPCWebSocketClient,
  nextId: () => number,
): (token: string, signal: AbortSignal) => Promise<unknown> {
  const link = wsLink({ client: socket } as unknown as Parameters<typeof wsLink<R>>[0])({});
  return (token, signal) => {
    const op = { id: nextId(), type: 'mutation', path: 'auth.refresh', input: { token }, context: {}, signal } as const;
    return new Promise((resolve, reject) => {
      link({ op, next: () => observable(() => undefined) }).subscribe({
        next: resolve,
        error: reject,
        complete: () => reject(new Error('the socket closed before the server answered')),
      });
    });
  };
}
