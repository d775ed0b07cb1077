import { createWSClient, type TRPCLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { RunwireError } from '../../shared/errors.ts';
import { closeCodes } from '../../shared/protocol.ts';
import { endpointsOf } from './endpoints.ts';
import { linksOver, refreshOver } from './links.ts';
import { type ConnectionStatus, type ReconnectOptions, ReconnectPolicy } from './reconnect-policy.ts';
import { TokenCache, type TokenSource } from './token-cache.ts';
import { TokenRenewal } from './token-renewal.ts';

/** That of the platform, or of `ws`, whose types differ in what does not matter here. */
export type WebSocketClass = new (url: string | URL) => { readonly readyState: number; close(code?: number): void };

export type ConnectionOptions = ReconnectOptions & {
  /** The server's address, `https://host` or `https://host/prefix`, or that of its WebSocket, `wss://host/ws`. */
  url: string;
  /** Default: the browser's cookie. */
  token?: TokenSource | undefined;
  /** In Node, that of `ws`. Default the platform's. */
  WebSocket?: WebSocketClass | undefined;
  /** Pings when nothing has come for so long, and gives up on the socket after as long again; default 30,000. */
  heartbeatMs?: number | undefined;
  /** The socket is closed so long after the last subscription has ended; default 2,000. */
  idleMs?: number | undefined;
  /** When the network or the tab comes back, an open socket has so long to show that it is alive; default 3,000. */
  probeMs?: number | undefined;
};

/** How long a socket that was closed from this side may take over it. On a dead network that is a minute. */
const CLOSING_MS = 2_000;

/** One socket, shared by all that subscribe through its links. Opened by the first subscription. */
export type Connection<R extends AnyTRPCRouter> = {
  links: TRPCLink<R>[];
  /** The same object until something changes. */
  getStatus(): ConnectionStatus;
  subscribe(listener: () => void): () => void;
  /** Opens a new socket now, with failures forgotten; subscriptions resume by their cursors. */
  reconnect(): void;
  /** Ends all subscriptions and the socket, for good. */
  close(): Promise<void>;
};

/** Does nothing until it is used: what is never used needs no closing. */
export function createConnection<R extends AnyTRPCRouter>(options: ConnectionOptions): Connection<R> {
  const { heartbeatMs = 30_000, idleMs = 2_000, probeMs = 3_000 } = options;
  const Base = (options.WebSocket ?? globalThis.WebSocket) as typeof WebSocket | undefined;
  if (!Base) {
    throw new RunwireError('INVALID_INPUT', 'there is no WebSocket here: pass that of the package ws', {
      path: 'WebSocket',
    });
  }
  const addresses = endpointsOf(options.url);
  const tokens = new TokenCache(options.token);
  const pacer = new ReconnectPolicy(options);
  let isClosed = false;
  let current: InstanceType<typeof WatchedSocket> | undefined;

  /** Tells the pacer what becomes of each socket. */
  class WatchedSocket extends Base {
    #isReleased = false;
    #isAbandoned = false;
    #loss: RunwireError | undefined;
    #closing: ReturnType<typeof setTimeout> | undefined;
    #probing: ReturnType<typeof setTimeout> | undefined;
    readonly #madeAt = performance.now();

    constructor(url: string | URL) {
      super(url);
      current = this;
      for (const type of ['open', 'message', 'error', 'close']) {
        // The first listener of all: nothing that an abandoned socket still says is heard.
        this.addEventListener(type, (event) => {
          if (this.#isAbandoned) event.stopImmediatePropagation();
        });
      }
      // Only an answer shows that the token was taken: an open socket may be one that is about to be refused.
      const answered = () => {
        this.removeEventListener('message', answered);
        pacer.connected();
        if (tokens.isRenewable && current === this) renewal.begin();
      };
      this.addEventListener('message', answered);
      this.addEventListener('message', () => this.#stopProbing());
      this.addEventListener('close', ({ code, reason }) => {
        clearTimeout(this.#closing);
        this.#stopProbing();
        if (current === this) {
          current = undefined;
          renewal.end();
        }
        if (code === closeCodes.unauthenticated || code === closeCodes.revoked) tokens.forget();
        if (isClosed) return;
        if (this.#isReleased) {
          if (current === undefined) pacer.onReleased();
        } else pacer.onLost(this.#loss ?? lossOf(code, reason), code);
      });
    }

    override close(code?: number, reason?: string): void {
      // The stock client gives no code. With one it is `ws`, which answers the server's close frame by this very call.
      if (code === undefined) {
        this.#isReleased = true;
        if (this.readyState < this.CLOSED) this.#closing ??= setTimeout(() => this.abandon(), CLOSING_MS);
      }
      super.close(code, reason);
    }

    /** Takes the socket for closed now, whether or not the other end ever hears of it. */
    abandon(loss?: RunwireError): void {
      if (this.#isAbandoned || this.readyState === this.CLOSED) return;
      const wasConnecting = this.readyState === this.CONNECTING;
      if (loss && !this.#isReleased) this.#loss = loss;
      else this.#isReleased = true;
      if ('terminate' in this) {
        (this.terminate as () => void)(); // `ws` has a word for it.
        return;
      }
      super.close();
      if (wasConnecting) this.dispatchEvent(new Event('error'));
      this.dispatchEvent(new CloseEvent('close', { code: 1006 }));
      this.#isAbandoned = true;
    }

    /**
     * Finds out whether a socket that looks open is: after sleep, or on another network, nobody may have said that it is
     * not. Whatever comes will do for an answer.
     */
    probe(): void {
      if (this.#probing !== undefined) return;
      if (this.readyState === this.CONNECTING && performance.now() - this.#madeAt > probeMs) this.#giveUp();
      if (this.readyState !== this.OPEN) return;
      this.#probing = setTimeout(() => this.#giveUp(), probeMs);
      this.send('PING');
    }

    #giveUp(): void {
      this.abandon(new RunwireError('UNAVAILABLE', 'the connection was dead'));
      pacer.retry();
    }

    #stopProbing(): void {
      clearTimeout(this.#probing);
      this.#probing = undefined;
    }
  }

  const onReturn = () => {
    const { state } = pacer.status;
    if (state === 'failed' || state === 'reconnecting') pacer.retry();
    current?.probe();
    renewal.look();
  };
  let stopWatching: (() => void) | undefined;

  const socket = createWSClient({
    // The stock client asks for the address before each try: the one place where a try can be held back.
    url: async () => {
      stopWatching ??= watchPage(onReturn);
      await ended(current); // What it says at its end decides when the next one may be opened.
      for (;;) {
        await pacer.waitForTurn();
        if (isClosed) throw new Error('the connection has been closed');
        try {
          await tokens.get();
          return addresses.webSocket;
        } catch (error) {
          pacer.onLost(error instanceof Error ? error : new Error('no token could be fetched'));
        }
      }
    },
    retryDelayMs: () => 0,
    ...(options.token === undefined ? {} : { connectionParams: async () => ({ token: (await tokens.get()) ?? '' }) }),
    WebSocket: WatchedSocket as unknown as typeof WebSocket,
    lazy: { enabled: true, closeMs: idleMs },
    keepAlive: { enabled: true, intervalMs: heartbeatMs, pongTimeoutMs: heartbeatMs },
  });

  const renewal = new TokenRenewal(tokens, refreshOver<R>(socket));

  const reconnect = () => {
    pacer.retry();
    current?.abandon();
  };

  return {
    links: linksOver<R>(socket, addresses, tokens, () => isClosed),
    getStatus: () => pacer.status,
    subscribe: (listener) => pacer.subscribe(listener),
    reconnect,
    close: async () => {
      isClosed = true;
      stopWatching?.();
      pacer.close();
      renewal.end();
      await socket.close();
    },
  };
}

/** Resolves once a socket that has begun to close has closed; at once for any other. */
async function ended(socket: WebSocket | undefined): Promise<void> {
  if (!socket || socket.readyState < socket.CLOSING) return;
  await new Promise((resolve) => socket.addEventListener('close', resolve));
}

function lossOf(code: number, reason: string): RunwireError {
  if (code === closeCodes.unauthenticated || code === closeCodes.revoked) {
    return new RunwireError('UNAUTHENTICATED', reason || 'the server did not accept the token');
  }
  if (code === closeCodes.overLimit) return new RunwireError('RATE_LIMITED', reason || 'over a limit of the server');
  // 1006 is the platform's own, for a socket that ended without a word: it tells nobody anything.
  const how = code === 1006 ? '' : ` (${code})`;
  return new RunwireError('UNAVAILABLE', reason || `the connection was lost${how}`);
}

/** Calls back when the network or the tab comes back. Outside a browser there is neither. */
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
