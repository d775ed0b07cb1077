import { createWSClient, type TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { RunwireError } from '../../shared/errors.ts';
import { closeCodes, HEARTBEAT_MS } from '../../shared/protocol.ts';
import { endpointsOf } from './endpoints.ts';
import { linksOver, refreshOver } from './links.ts';
import { type ConnectionStatus, type ReconnectOptions, ReconnectPolicy } from './reconnect-policy.ts';
import { type Identity, TokenCache, type TokenSource } from './token-cache.ts';
import { TokenRenewal } from './token-renewal.ts';
import { type WatchedSocket, watchedSocketOf, whenClosed } from './watched-socket.ts';

/** The platform's WebSocket class, or the class of the npm package `ws`. */
export type WebSocketClass = new (url: string | URL) => { readonly readyState: number; close(code?: number): void };

export type ConnectionOptions = ReconnectOptions & {
  /** URL of the server (`https://host[/prefix]`) or its WebSocket (`wss://host[/prefix]/ws`); default the page's origin. */
  url?: string | undefined;
  /** A token, or a function that fetches one. Without a token, the browser's session cookie authenticates the user. */
  token?: TokenSource | undefined;
  /**
   * The user that the token or the cookie authenticates. Default: the claim `sub` of the token. Required to reuse cached
   * data of a user whose token is fetched by a function.
   */
  identity?: string | undefined;
  /** Default: the platform's class. Node.js before 22 has none: pass the class of the package `ws`. */
  WebSocket?: WebSocketClass | undefined;
  /**
   * The connection sends a ping after this time without a message. It closes the socket if the same time passes again
   * without a message. Default 30,000.
   */
  heartbeatMs?: number | undefined;
  /** Time from the end of the last subscription until the socket is closed; default 2,000. */
  idleMs?: number | undefined;
  /**
   * When the network or the tab comes back, the connection sends a ping. It replaces a socket that does not answer the
   * ping within this time. Default 3,000.
   */
  probeMs?: number | undefined;
};

/**
 * One WebSocket for all subscriptions. The first subscription opens the socket. Each subscription has a cursor (the
 * position of its last event), from which it resumes on the next socket.
 */
export type Connection<R extends AnyTRPCRouter> = {
  /** Links for a tRPC client: subscriptions use the WebSocket, queries and mutations use HTTP. */
  links: TRPCLink<R>[];
  /** The `url` of the options; empty for the page's origin. */
  server: string;
  /** Returns the user of the connection, as the same object until another user's token arrives. */
  getIdentity(): Identity;
  /** Returns the status, as the same object until the status changes. */
  getStatus(): ConnectionStatus;
  /** Calls `listener` after each change of the status. Returns a function that removes the listener. */
  subscribe(listener: () => void): () => void;
  /** Opens a new socket now and resets the count of failures. Subscriptions resume from their cursors. */
  reconnect(): void;
  /** Ends all subscriptions and the socket. The connection cannot be used again. */
  close(): Promise<void>;
};

/**
 * Creates a connection. The connection opens no socket and starts no timer until its first use.
 *
 * Throws a `RunwireError` with the code `INVALID_INPUT` if the platform has no WebSocket and `options.WebSocket` is
 * missing.
 */
export function createConnection<R extends AnyTRPCRouter>(options: ConnectionOptions): Connection<R> {
  const { heartbeatMs = HEARTBEAT_MS, idleMs = 2_000, probeMs = 3_000 } = options;
  const Base = (options.WebSocket ?? globalThis.WebSocket) as typeof WebSocket | undefined;
  if (!Base) {
    const message = 'this platform has no WebSocket: pass the class of the package ws';
    throw new RunwireError('INVALID_INPUT', message, { path: 'WebSocket' });
  }
  const endpoints = endpointsOf(options.url ?? location.origin);
  const tokens = new TokenCache(options.token, options.identity);
  const policy = new ReconnectPolicy(options);
  let isClosed = false;
  let current: WatchedSocket | undefined;

  const observer = {
    onCreated: (socket: WatchedSocket) => {
      current = socket;
    },
    onAnswered: (socket: WatchedSocket) => {
      policy.onConnected();
      if (tokens.isRenewable && current === socket) renewal.start();
    },
    onClosed: (socket: WatchedSocket, code: number, loss: RunwireError | undefined) => {
      if (current === socket) {
        current = undefined;
        renewal.stop();
      }
      if (code === closeCodes.unauthenticated || code === closeCodes.revoked) tokens.forget();
      if (isClosed) return;
      if (loss) policy.onLost(loss, code);
      else if (current === undefined) policy.onReleased();
    },
    onDead: () => policy.retry(),
  };

  const onPageReturn = () => {
    const { state } = policy.status;
    if (state === 'failed' || state === 'reconnecting') policy.retry();
    current?.probe();
    renewal.check();
  };
  let stopWatchingPage: (() => void) | undefined;

  const socket = createWSClient({
    // tRPC's WebSocket client calls this function before each attempt to connect. No other hook can delay an attempt.
    url: async () => {
      stopWatchingPage ??= watchPage(onPageReturn);
      await whenClosed(current); // The close code of the old socket decides when the next socket may open.
      for (;;) {
        await policy.waitForTurn();
        if (isClosed) throw new Error('the connection has been closed');
        try {
          await tokens.get();
          return endpoints.webSocket;
        } catch (error) {
          policy.onLost(tokenError(error));
        }
      }
    },
    retryDelayMs: () => 0,
    ...(options.token === undefined ? {} : { connectionParams: async () => ({ token: (await tokens.get()) ?? '' }) }),
    WebSocket: watchedSocketOf(Base, observer, probeMs) as unknown as typeof WebSocket,
    lazy: { enabled: true, closeMs: idleMs },
    keepAlive: { enabled: true, intervalMs: heartbeatMs, pongTimeoutMs: heartbeatMs },
  });
  const renewal = new TokenRenewal(tokens, refreshOver<R>(socket));

  return {
    links: linksOver<R>(socket, endpoints, tokens, () => isClosed),
    server: options.url ?? '',
    getIdentity: () => tokens.identity,
    getStatus: () => policy.status,
    subscribe: policy.subscribe,
    reconnect: () => {
      policy.retry();
      current?.abandon();
    },
    close: async () => {
      isClosed = true;
      stopWatchingPage?.();
      policy.close();
      renewal.stop();
      await socket.close();
    },
  };
}

/** Returns the error of a token source as a `RunwireError`. The message is the application's own. */
function tokenError(error: unknown): RunwireError {
  if (error instanceof RunwireError) return error;
  const message = error instanceof Error && error.message ? error.message : 'the token source failed';
  return new RunwireError('UNAVAILABLE', message, { cause: error });
}

/**
 * Calls `onReturn` when the network comes back or the tab becomes visible. Does nothing outside a browser. Returns a
 * function that ends the calls.
 */
function watchPage(onReturn: () => void): () => void {
  if (typeof window === 'undefined' || typeof document === 'undefined') return () => undefined;
  const onVisible = () => {
    if (document.visibilityState === 'visible') onReturn();
  };
  window.addEventListener('online', onReturn);
  document.addEventListener('visibilitychange', onVisible);
  return () => {
    window.removeEventListener('online', onReturn);
    document.removeEventListener('visibilitychange', onVisible);
  };
}
