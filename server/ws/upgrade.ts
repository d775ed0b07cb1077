import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { applyWSSHandler } from '@trpc/server/adapters/ws';
import type { Logger } from 'pino';
import { WebSocketServer } from 'ws';
import { type ErrorCode, errorTable, RunwireError } from '../../shared/errors.ts';
import { closeCodes } from '../../shared/protocol.ts';
import type { Registry } from '../../shared/registry.ts';
import type { Context } from '../api/context.ts';
import type { BuiltRouter } from '../api/router.ts';
import type { AccessLogger } from '../audit/access-logger.ts';
import type { Credentials } from '../auth/credentials.ts';
import type { Principal } from '../auth/principal.ts';
import { createDirectEncoder } from '../delivery/encoder.ts';
import { toRunwireError } from '../errors.ts';
import type { Health } from '../health.ts';
import type { Upgrade } from '../http/http-server.ts';
import { cookieOf, refuseSocket } from '../http/messages.ts';
import { isOrigin, type Origins } from '../http/origins.ts';
import type { TrustedProxies } from '../http/trusted-proxies.ts';
import type { Limits } from '../limits.ts';
import type { Connection } from './connection.ts';
import { CLOSE_MS, type Connections } from './connections.ts';
import { DirectWebSocket } from './socket.ts';

/**
 * Upgrades HTTP requests for `/ws` to WebSockets:
 *
 * 1. The server refuses a request with a wrong host or origin.
 * 2. The server adds the socket to `Connections`, and passes it to tRPC's WebSocket handler.
 * 3. The handler requests a context. The server verifies the token from the connection parameters or else from the cookie.
 */

export type SocketsOptions<R extends Registry> = {
  router: BuiltRouter<R>;
  connections: Connections;
  access: AccessLogger;
  credentials: Credentials;
  origins: Origins;
  proxies: TrustedProxies;
  cookieName: string;
  limits: Limits;
  compression: boolean;
  health: Pick<Health, 'note'>;
  logger: Logger;
};

/**
 * Without context takeover, because zlib would keep a few hundred KB of memory for each socket. Messages below the
 * threshold, in bytes, are not compressed: they are smaller than an event. docs/benchmarks.md has the costs.
 */
const DEFLATE = { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 256 };

/**
 * The mean sizes that a message of the maximum size may be split into, by the client into frames and by the network into
 * chunks. Each part costs a few hundred bytes of memory until the message is complete.
 */
const MEAN_FRAGMENT_BYTES = 4096;
const MEAN_CHUNK_BYTES = 256;

/** At most this many refused origins are logged. */
const MAX_LOGGED_ORIGINS = 20;
/** Longer origins are not logged: no host name is longer than this, but a header may have any length. */
const MAX_LOGGED_ORIGIN_LENGTH = 300;

export function createSockets<R extends Registry>(options: SocketsOptions<R>): Upgrade {
  const { router, connections, origins, proxies, limits, compression, health, logger } = options;
  const recordRefusal = refusalRecorder(options.access);
  const isAllowed = originCheck(origins, recordRefusal, logger);
  const wss = new WebSocketServer({
    noServer: true,
    clientTracking: false, // `Connections` has them all.
    maxPayload: limits.messageBytes,
    maxFragments: Math.max(256, limits.messageBytes / MEAN_FRAGMENT_BYTES),
    maxBufferedChunks: Math.max(1024, limits.messageBytes / MEAN_CHUNK_BYTES),
    ...{ closeTimeout: CLOSE_MS }, // Not in the types yet.
    perMessageDeflate: compression ? DEFLATE : false,
    WebSocket: DirectWebSocket,
    // `ws` then emits each message in its own turn of the event loop. tRPC's handler starts a subscription asynchronously,
    // and would lose a message that stops it earlier.
    allowSynchronousEvents: false,
  });
  const createContext = contextFactory(options, recordRefusal);
  applyWSSHandler({
    wss,
    router,
    experimental_encoder: createDirectEncoder(),
    createContext: ({ req, res, info }) =>
      createContext(upgradeOf(req), res as DirectWebSocket, info.connectionParams?.token, info.signal),
    onError: ({ error, req }) => {
      // If the connection parameters are malformed, the handler does not call `createContext`: the connection is closed
      // here.
      const { connection } = upgradeOf(req);
      if (!connection.isHandshakeRead) {
        recordRefusal('UNAUTHENTICATED');
        connection.close(closeCodes.unauthenticated, 'no token');
      }
      const cause = error.cause as { code?: unknown } | undefined;
      // Errors of the client or the network are not errors of the server, and must not fill the log.
      if (/^(WS_ERR_|ECONN|EPIPE)/.test(String(cause?.code))) logger.debug({ code: cause?.code }, 'WebSocket aborted');
      else if (toRunwireError(error).code === 'INTERNAL') health.note('WebSocket failed', { err: cause ?? error });
    },
  });

  return (request, socket, head) => {
    socket.on('error', destroyThis);
    let refusal: string | undefined;
    // tRPC builds a URL from the path and the host, outside of any `try`: an invalid URL would end the process.
    if (!URL.canParse(request.url ?? '', `http://${request.headers.host}`)) refusal = '400 Bad Request';
    else if (!isAllowed(request)) refusal = '403 Forbidden';
    if (refusal !== undefined) {
      refuseSocket(socket, refusal);
      return;
    }
    wss.handleUpgrade(request, socket, head, (ws) => {
      socket.off('error', destroyThis); // From here on, `ws` handles errors of the socket.
      const connection = connections.add(ws, request.socket, proxies.addressOf(request));
      wss.emit('connection', ws, new UpgradeRequest(request, connection));
    });
  };
}

/**
 * The fields of the upgrade request that tRPC's handler and `createContext` read. The handler keeps its request until the
 * socket closes: Node's request would keep a kilobyte of headers for each socket. {@link release} drops these fields too.
 */
class UpgradeRequest {
  url: string | undefined;
  headers: Pick<IncomingHttpHeaders, 'host' | 'origin' | 'cookie'>;
  readonly connection: Connection;

  constructor({ url, headers: { host, origin, cookie } }: IncomingMessage, connection: Connection) {
    this.url = url;
    this.headers = { host, origin, cookie };
    this.connection = connection;
  }

  /** Called once the token has been read: nothing reads the URL or the headers later. */
  release(): void {
    this.url = undefined;
    this.headers = noHeaders;
  }
}

const noHeaders = Object.freeze({});
const upgradeOf = (request: IncomingMessage): UpgradeRequest => request as unknown as UpgradeRequest;

/** The tRPC context of all calls over one connection. `auth.refresh` may replace the principal. */
class ConnectionContext implements Context {
  readonly connection: Connection;
  /** Aborts when the socket has closed. */
  readonly signal: AbortSignal;

  constructor(connection: Connection, signal: AbortSignal) {
    this.connection = connection;
    this.signal = signal;
  }

  get principal(): Principal {
    return this.connection.principal;
  }
}

type RecordRefusal = (outcome: ErrorCode, detail?: 'origin', principal?: Principal) => void;

const refusalRecorder =
  (access: AccessLogger): RecordRefusal =>
  (outcome, detail, principal) =>
    access.record({ principal, action: 'connect', via: 'ws', outcome, detail });

/**
 * Returns tRPC's `createContext`. It returns a context if the token was verified before, and otherwise resolves with one once
 * the token is verified. If the token is refused, it closes the connection, and never settles.
 */
function contextFactory<R extends Registry>(
  { connections, credentials, cookieName, health }: SocketsOptions<R>,
  recordRefusal: RecordRefusal,
) {
  const accept = (connection: Connection, ws: DirectWebSocket, signal: AbortSignal, principal: Principal) => {
    if (connections.authenticate(connection, principal)) {
      ws.release();
      return new ConnectionContext(connection, signal);
    }
    if (credentials.invalidReasonOf(principal)) recordRefusal('UNAUTHENTICATED', undefined, principal);
    return never();
  };
  const refuse = (connection: Connection, error: unknown): Promise<never> => {
    // The error is not thrown: the handler would answer each subscription with an error, and the client would end its
    // subscriptions.
    const known = toRunwireError(error);
    recordRefusal(known.code);
    if (known.code === 'INTERNAL') health.note('cannot verify a token', { err: error });
    // The token may still be valid after a retryable error (the issuer cannot be reached, for example): close code 4401
    // would make the client give up.
    if (errorTable[known.code].retryable) connection.close(closeCodes.tryAgain, 'the token cannot be verified now');
    else connection.close(closeCodes.unauthenticated, known.message);
    return never();
  };
  return (
    request: UpgradeRequest,
    ws: DirectWebSocket,
    paramsToken: string | undefined,
    signal: AbortSignal,
  ): Context | Promise<Context> => {
    const { connection } = request;
    connection.isHandshakeRead = true;
    // The origin was checked at the upgrade. A request without an origin does not come from a browser, so its cookie is
    // ignored.
    const cookie = request.headers.origin === undefined ? undefined : cookieOf(request, cookieName);
    const token = paramsToken ?? cookie;
    request.release();
    try {
      if (token === undefined) throw new RunwireError('UNAUTHENTICATED', 'no token');
      const found = credentials.verify(token);
      // The handler then has its context before the next message, which arrives in a later turn of the event loop.
      if (!(found instanceof Promise)) return accept(connection, ws, signal, found);
      ws.hold();
      return found
        .then((principal) => accept(connection, ws, signal, principal))
        .catch((error: unknown) => refuse(connection, error));
    } catch (error) {
      return refuse(connection, error);
    }
  };
}

/** A promise of its own each time: a shared one would keep everything that waits for it. */
const never = (): Promise<never> => new Promise(() => undefined);

/** Returns a function that checks the host and the origin of a request, and logs each refused origin once. */
function originCheck(origins: Origins, recordRefusal: RecordRefusal, logger: Logger) {
  const logged = new Set<string>();
  return (request: IncomingMessage): boolean => {
    const isKnownHost = origins.knowsHost(request);
    if (isKnownHost && origins.allows(request)) return true;
    recordRefusal('FORBIDDEN', 'origin');
    if (!isKnownHost) return false;
    // Logged for the operator, because the page in the browser sees only a failed connection. Once for each origin, so that
    // requests cannot fill the log.
    const { origin } = request.headers;
    const isLoggable = origin !== undefined && isOrigin(origin) && origin.length <= MAX_LOGGED_ORIGIN_LENGTH;
    if (isLoggable && !logged.has(origin) && logged.size < MAX_LOGGED_ORIGINS) {
      logged.add(origin);
      logger.warn({ origin }, 'WebSocket refused: add its origin to ALLOWED_ORIGINS to allow it');
    }
    return false;
  };
}

function destroyThis(this: Duplex): void {
  this.destroy();
}
