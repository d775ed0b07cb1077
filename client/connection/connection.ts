import { createWSClient, type TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { objectOf, RunwireError } from '../../shared/errors.ts';
import { closeCodes, HEARTBEAT_MS } from '../../shared/protocol.ts';
import { ConnectionClosedError } from '../errors.ts';
import { Checks } from './checks.ts';
import { type Endpoints, endpointsOf } from './endpoints.ts';
import { linksOver, refreshOver } from './links.ts';
import { type ConnectionStatus, type ReconnectOptions, ReconnectPolicy } from './reconnect-policy.ts';
import { MAX_TIMER_MS } from './timer.ts';
import { type Identity, TokenCache, type TokenSource } from './token-cache.ts';
import { TokenRenewal } from './token-renewal.ts';
import { WatchedSocket, type WebSocketClass, whenClosed } from './watched-socket.ts';

/** Options of the connection that a client has to its server. */
export type ConnectionOptions = ReconnectOptions & {
  /**
   * URL of the server, `https://host[/prefix]`, or of its WebSocket, `wss://host[/prefix]/ws`. In a page or worker also
   * `/prefix`, on its own host. Default: the page's own host.
   */
  url?: string | undefined;
  /** A token, or a function that fetches one. Without a token, the browser's session cookie authenticates the user. */
  token?: TokenSource | undefined;
  /**
   * The user that the token or the cookie authenticates. Default: the claim `sub` of the token. With a token function, cached
   * data of the user is found again only if this is set.
   */
  identity?: string | undefined;
  /** Default: the platform's class. Node.js before 22 has none: pass the class of the package `ws`. */
  WebSocket?: WebSocketClass | undefined;
  /**
   * The connection sends a ping after this time without a message. It gives the socket up if the same time passes again
   * without a message. A socket that does not open, or is not answered at all, has 10 s instead, if that is shorter.
   * Default 30,000. As for each of these times, `Infinity` means never.
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
  /** Links for a client of the present user alone. Its requests end with `signal`, and with that user. */
  linksUntil(signal: AbortSignal): TRPCLink<R>[];
  /** The `url` of the options; empty for the page's origin. */
  server: string;
  /** Returns the user of the connection, as the same object until another user's token arrives. */
  getIdentity(): Identity;
  /** Returns the status, as the same object until the status changes. */
  getStatus(): ConnectionStatus;
  /** Calls `listener` after each change of the status or of the user. Returns a function that removes the listener. */
  subscribe(listener: () => void): () => void;
  /** Checks that the server answers over the open socket. */
  checks: Pick<Checks, 'getStatus' | 'subscribe' | 'check' | 'every'>;
  /**
   * Asks the token source again, because it may have another token now, for example after a sign-in. The token of the same
   * user is sent over the open socket. With another user's token, all subscriptions and requests end. Not urgent: only
   * after some time, or before the next mutation.
   */
  refreshToken(options?: { isUrgent?: boolean }): void;
  /** Opens a new socket now and resets the count of failures. Subscriptions resume from their cursors. */
  reconnect(): void;
  /** Ends all subscriptions and the socket. The connection cannot be used again. */
  close(): Promise<void>;
};

/**
 * Creates a connection. The connection opens no socket and starts no timer until its first use. On a platform without
 * WebSocket it becomes `failed` at the first subscription.
 *
 * Throws a `RunwireError` with the code `INVALID_INPUT` for an invalid URL or a negative time.
 */
export function createConnection<R extends AnyTRPCRouter>(options: ConnectionOptions): Connection<R> {
  const { heartbeatMs = HEARTBEAT_MS, idleMs = 2_000, probeMs = 3_000 } = objectOf(options, 'options');
  const endpoints = endpointsFor(options);
  const tokens = new TokenCache(options.token, {
    identity: options.identity,
    fetchSubject: (token, signal) => fetchSubject(endpoints().trpc, token, signal),
    onToken: (isOtherUser) => {
      if (isOtherUser) {
        renewal.stop();
        current?.abandon();
        policy.retry(); // Calls the listeners too.
      }
      renewal.renew();
    },
    onDue: () => refreshToken(),
  });
  const policy = new ReconnectPolicy(options);
  let isClosed = false;
  let current: WatchedSocket | undefined;
  let requestCount = 0;
  let lastId = 0;
  const nextId = () => ++lastId;

  const observer = {
    onCreated: (socket: WatchedSocket) => {
      current = socket;
    },
    onAnswered: (socket: WatchedSocket) => {
      if (current !== socket) return;
      policy.onConnected();
      if (tokens.isRenewable) renewal.start();
    },
    onClosed: (socket: WatchedSocket, code: number, loss: RunwireError | undefined) => {
      if (code === closeCodes.unauthenticated || code === closeCodes.revoked) tokens.forget();
      if (current !== socket) return;
      current = undefined;
      renewal.stop();
      if (loss) policy.onLost(loss, code);
      else policy.onReleased();
    },
    onDead: () => policy.retry(),
    requestCount: () => requestCount,
  };

  const onPageReturn = () => {
    if (policy.status.state === 'failed' || policy.status.state === 'reconnecting') policy.retry();
    current?.probe(probeMs);
    renewal.check();
  };
  const checks = new Checks(() => current, policy);
  let stopWatchingPage: (() => void) | undefined;

  const client = createWSClient({
    // tRPC's WebSocket client calls this function before each attempt to connect. No other hook can delay an attempt.
    url: async () => {
      stopWatchingPage ??= watchPage(onPageReturn);
      await whenClosed(current); // The close code of the old socket decides when the next socket may open.
      for (;;) {
        await policy.waitForTurn();
        try {
          if (isClosed) throw new ConnectionClosedError();
          await tokens.get();
          if (policy.hasSubscriptions) return endpoints().webSocket;
          policy.onReleased();
        } catch (error) {
          if (isClosed) throw error;
          policy.onLost(tokenError(error));
        }
      }
    },
    retryDelayMs: () => 0,
    ...(options.token === undefined ? {} : { connectionParams: () => ({ token: tokens.last ?? '' }) }),
    WebSocket: class extends WatchedSocket {
      constructor(url: string | URL) {
        super(url, { WebSocket: options.WebSocket, observer, heartbeatMs });
      }
    } as unknown as typeof WebSocket,
    lazy: { enabled: true, closeMs: Math.min(idleMs, MAX_TIMER_MS) },
    keepAlive: { enabled: false },
  });
  const renewal = new TokenRenewal(tokens, refreshOver<R>(client, nextId));
  const host = {
    isClosed: () => isClosed,
    nextId,
    onSubscribe: () => policy.addSubscription(),
    onRequest: () => void requestCount++,
    onAnswer: policy.onServerTime,
  };
  const refreshToken = () => {
    tokens.forget();
    if (policy.status.state === 'failed') policy.retry();
    if (!renewal.renew()) tokens.get().catch(() => undefined); // The next request fetches it again.
  };

  return {
    links: linksOver<R>(client, endpoints, tokens, host),
    linksUntil: (signal) => linksOver<R>(client, endpoints, tokens, host, { identity: tokens.identity, signal }),
    server: options.url ?? '',
    getIdentity: () => tokens.identity,
    getStatus: () => policy.status,
    subscribe: policy.subscribe,
    checks,
    refreshToken: ({ isUrgent = true } = {}) => {
      if (!tokens.isAbsent) isUrgent ? refreshToken() : tokens.doubt();
    },
    reconnect: () => {
      tokens.retry();
      policy.retry();
      current?.abandon();
    },
    close: async () => {
      isClosed = true;
      tokens.close();
      stopWatchingPage?.();
      policy.close();
      renewal.stop();
      checks.stop();
      if (current?.readyState === WatchedSocket.CONNECTING) current.abandon();
      await client.close();
    },
  };
}

/** Returns a function that derives the URLs, once. They are checked here, except a relative URL outside of a page. */
function endpointsFor({ url = '/', ...options }: ConnectionOptions): () => Endpoints {
  for (const [name, value] of Object.entries(options)) {
    const isNumber = typeof value === 'number';
    if (isNumber && !(value >= 0)) throw new RunwireError('INVALID_INPUT', `${name} must be 0 or more`, { path: name });
  }
  let endpoints: Endpoints | undefined;
  const derive = () => {
    endpoints ??= endpointsOf(url);
    return endpoints;
  };
  if (typeof url !== 'string' || !url.startsWith('/') || typeof location !== 'undefined') derive();
  return derive;
}

/** Asks the server for the user id of a token. Returns undefined if the server refuses the token. */
async function fetchSubject(url: string, token: string, signal: AbortSignal): Promise<string | undefined> {
  const response = await fetch(`${url}/auth.me`, { headers: { authorization: `Bearer ${token}` }, signal });
  if (response.status === 401) return undefined;
  // The error of a text that is no JSON quotes the text.
  const answer: { result?: { data?: { sub?: string } } } = await response.json().catch(() => ({}));
  const sub = answer.result?.data?.sub;
  if (sub === undefined) throw new RunwireError('UNAVAILABLE', 'the server did not state the user of the token');
  return sub;
}

/** Returns the error of a token source as a `RunwireError`. The message is the application's own. */
function tokenError(error: unknown): RunwireError {
  if (error instanceof RunwireError) return error;
  const message = error instanceof Error && error.message ? error.message : 'the token source failed';
  return new RunwireError('UNAVAILABLE', message, { cause: error });
}

/**
 * Calls `onReturn` when the network comes back or the tab becomes visible. Does nothing on a platform without these events.
 * Returns a function that ends the calls.
 */
function watchPage(onReturn: () => void): () => void {
  // A worker has no window, and React Native has a window without events.
  const network = (typeof window === 'undefined' ? globalThis : window) as Partial<EventTarget>;
  const page = (typeof document === 'undefined' ? {} : document) as Partial<Document>;
  const onVisible = () => {
    if (page.visibilityState === 'visible') onReturn();
  };
  network.addEventListener?.('online', onReturn);
  page.addEventListener?.('visibilitychange', onVisible);
  return () => {
    network.removeEventListener?.('online', onReturn);
    page.removeEventListener?.('visibilitychange', onVisible);
  };
}
