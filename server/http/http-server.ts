import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { RunwireError } from '../../shared/errors.ts';
import type { Dispatcher } from './dispatch.ts';
import { pathOf, refuseSocket } from './messages.ts';

/** The server's own HTTP server, which `listen` opens, and those of the user's program, which `attach` adds. */

export type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

export type HttpServerOptions = {
  dispatcher: Dispatcher;
  /** Called with each WebSocket upgrade to `/ws`. */
  upgrade: Upgrade;
  host: string;
  /** 0 selects a free port. */
  port: number;
};

const WS_PATH = '/ws';
/** Connections that are still open this long after `close` are closed: a slow client must not delay the shutdown. */
const GRACE_MS = 1_000;

/**
 * Connections that the kernel keeps until the server accepts them, which it does once a turn of the event loop. Beyond, the
 * kernel drops the client's packets, and the client tries again after 1, 3 and 7 s. Linux allows 4,096 by default.
 */
const BACKLOG = 4_096;

/**
 * Balancers keep an idle connection for 60 s by default. The server keeps it longer: otherwise a balancer could send a
 * request on a connection that the server is closing.
 */
const KEPT_ALIVE = { keepAliveTimeout: 65_000, headersTimeout: 70_000 };

export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #server: Server;
  readonly #detachers: (() => void)[] = [];
  #stopped: Promise<void> | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#server = createServer(KEPT_ALIVE, options.dispatcher.all);
    this.#server.on('upgrade', (request, socket, head) => {
      if (this.#stopped) refuseSocket(socket, '503 Service Unavailable');
      else if (pathOf(request) === WS_PATH) options.upgrade(request, socket, head);
      else refuseSocket(socket, '404 Not Found');
    });
    this.#server.on('clientError', (_error, socket) => refuseSocket(socket, '400 Bad Request'));
  }

  /** Resolves once the server accepts connections. Rejects if the port cannot be opened. */
  listen(): Promise<{ url: string; host: string; port: number }> {
    const { host, port } = this.#options;
    const server = this.#server;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, BACKLOG, () => {
        server.off('error', reject);
        const { address, family, port } = server.address() as AddressInfo;
        resolve({ url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`, host: address, port });
      });
    });
  }

  /** Serves the attachable routes and `/ws` on another HTTP server. */
  attach(server: Server): void {
    if (typeof server?.emit !== 'function') {
      throw new RunwireError('INVALID_INPUT', 'server: must be an HTTP server of node:http', { path: 'server' });
    }
    this.#detachers.push(attachTo(server, this.#options.dispatcher, this.#options.upgrade));
  }

  /** Accepts no more connections and upgrades, and detaches from attached servers. Requests in progress continue. */
  stop(): void {
    if (this.#stopped) return;
    for (const detach of this.#detachers) detach();
    this.#stopped = new Promise((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
  }

  /** Resolves once every connection has ended. Connections still open after {@link GRACE_MS} are closed. */
  async close(): Promise<void> {
    this.stop();
    const grace = setTimeout(() => this.#server.closeAllConnections(), GRACE_MS);
    await this.#stopped;
    clearTimeout(grace);
  }
}

/**
 * Handles requests and upgrades before the server's own listeners, by replacing `server.emit`. Returns a function that
 * restores `emit`. An additional listener was rejected: an application's listener answers 404 to each path that it does
 * not know, and a `WebSocketServer` with a path answers 400 to an upgrade for any other path. An upgrade that no
 * listener handles is refused, because its socket would stay open.
 */
function attachTo(server: Server, dispatcher: Dispatcher, upgrade: Upgrade): () => void {
  const emit = server.emit as (this: Server, event: string | symbol, ...args: unknown[]) => boolean;
  let isAttached = true;
  const handles = (event: string | symbol, args: unknown[]): boolean => {
    if (event === 'request') return dispatcher.attachable(...(args as [IncomingMessage, ServerResponse]));
    const [request, socket, head] = args as [IncomingMessage, Duplex, Buffer];
    if (event !== 'upgrade' || pathOf(request) !== WS_PATH) return false;
    upgrade(request, socket, head);
    return true;
  };
  const attached = function (this: Server, event: string | symbol, ...args: unknown[]): boolean {
    return (isAttached && handles(event, args)) || emit.call(this, event, ...args);
  };
  server.emit = attached;
  // Node emits `upgrade` only if the server has a listener for it. When several Runwire servers are attached to the
  // same HTTP server, only the first of them refuses an unhandled upgrade.
  const refuseUnhandled = (_request: IncomingMessage, socket: Duplex) => {
    const listeners = server.listeners('upgrade');
    const isUnhandled = listeners.every(({ name }) => name === refuseUnhandled.name);
    if (isUnhandled && listeners[0] === refuseUnhandled) refuseSocket(socket, '400 Bad Request');
  };
  server.on('upgrade', refuseUnhandled);
  return () => {
    isAttached = false;
    if (server.emit === attached) server.emit = emit;
    server.off('upgrade', refuseUnhandled);
  };
}
