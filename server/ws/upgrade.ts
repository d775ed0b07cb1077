import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { applyWSSHandler } from '@trpc/server/adapters/ws';
import type { Logger } from 'pino';
import { WebSocketServer } from 'ws';
import { type ErrorCode, errorTable, RunwireError } from '../../shared/errors.ts';
import { closeCodes } from '../../shared/protocol.ts';
import type { Registry } from '../../shared/registry.ts';
import type { Context } from '../api/context.ts';
import type { RouterOf } from '../api/router.ts';
import type { AccessLogger } from '../audit/access-logger.ts';
import type { Credentials } from '../auth/credentials.ts';
import type { Principal } from '../auth/principal.ts';
import { directEncoder } from '../delivery/encoder.ts';
import { toRunwireError } from '../errors.ts';
import type { Upgrade } from '../http/http-server.ts';
import { cookieOf, refuseSocket } from '../http/messages.ts';
import { isOrigin, type Origins } from '../http/origins.ts';
import type { Limits } from '../limits.ts';
import type { Connection } from './connection.ts';
import type { Connections } from './connections.ts';
import { DirectWebSocket } from './socket.ts';

/**
 * Upgrades of `/ws`:
 *
 * 1. A request from a wrong host or origin is refused.
 * 2. `Connections` counts the socket, and tRPC's handler takes it.
 * 3. The handler asks for a context: the token of the connection parameters, or of the cookie, is verified.
 */

export type SocketsOptions<R extends Registry> = {
  router: RouterOf<R>;
  connections: Connections;
  access: AccessLogger;
  credentials: Credentials;
  origins: Origins;
  cookieName: string;
  limits: Limits;
  compression: boolean;
  logger: Logger;
};

/**
 * Without context takeover: zlib would keep a few hundred KB for each socket. Messages below the threshold are smaller
 * than an event. docs/benchmarks.md has the costs.
 */
const DEFLATE = { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 256 };

/** At most this many refused origins are logged. */
const MAX_LOGGED_ORIGINS = 20;
/** No host name is longer than this. The header may have any length. */
const MAX_LOGGED_ORIGIN_LENGTH = 300;

export function createSockets<R extends Registry>(options: SocketsOptions<R>): Upgrade {
  const { router, connections, origins, limits, compression, logger } = options;
  const recordRefusal = refusalRecorder(options.access);
  const isAllowed = originCheck(origins, recordRefusal, logger);
  const wss = new WebSocketServer({
    noServer: true,
    maxPayload: limits.messageBytes,
    perMessageDeflate: compression ? DEFLATE : false,
    WebSocket: DirectWebSocket,
    // Each message in its own turn: the handler needs promises to start a subscription, and loses an earlier stop.
    allowSynchronousEvents: false,
  });
  const createContext = contextFactory(options, recordRefusal);
  applyWSSHandler({
    wss,
    router,
    experimental_encoder: directEncoder,
    createContext: ({ req, res, info }) =>
      createContext(upgradeOf(req), res as DirectWebSocket, info.connectionParams?.token),
    onError: ({ error, req }) => {
      // Malformed connection parameters never reach `createContext`.
      const { connection } = upgradeOf(req);
      if (!connection.isHandshakeRead) {
        recordRefusal('UNAUTHENTICATED');
        connection.close(closeCodes.unauthenticated, 'no token');
      }
      const cause = error.cause as { code?: unknown } | undefined;
      // Errors of the peer or the network are not errors of the server, and must not fill its log.
      if (/^(WS_ERR_|ECONN|EPIPE)/.test(String(cause?.code))) logger.debug({ code: cause?.code }, 'WebSocket aborted');
      else if (toRunwireError(error).code === 'INTERNAL') logger.error({ err: cause ?? error }, 'WebSocket failed');
    },
  });

  return (request, socket, head) => {
    socket.on('error', destroyThis);
    let refusal: string | undefined;
    // tRPC builds a URL from both, outside of any `try`: an invalid one would end the process.
    if (!URL.canParse(request.url ?? '', `http://${request.headers.host}`)) refusal = '400 Bad Request';
    else if (!isAllowed(request)) refusal = '403 Forbidden';
    if (refusal !== undefined) {
      refuseSocket(socket, refusal);
      return;
    }
    wss.handleUpgrade(request, socket, head, (ws) => {
      socket.off('error', destroyThis); // `ws` has its own.
      const connection = connections.add(ws, request.socket);
      if (connection) wss.emit('connection', ws, new UpgradeRequest(request, connection));
    });
  };
}

/**
 * The upgrade request, reduced to what tRPC's handler and `createContext` read. The handler keeps its request until the
 * socket closes: Node's would hold a kilobyte of headers for each socket. {@link release} drops the rest.
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

  /** The context has been created: nothing reads the headers any more. */
  release(): void {
    this.url = undefined;
    this.headers = noHeaders;
  }
}

const noHeaders = Object.freeze({});
const upgradeOf = (request: IncomingMessage): UpgradeRequest => request as unknown as UpgradeRequest;

/** The context of all calls of one connection. Its principal is the connection's current one. */
class ConnectionContext implements Context {
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
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

/** Resolves with a context once the token is verified. Otherwise closes the connection, and never resolves. */
function contextFactory<R extends Registry>(
  { connections, credentials, cookieName, logger }: SocketsOptions<R>,
  recordRefusal: RecordRefusal,
) {
  return async (request: UpgradeRequest, ws: DirectWebSocket, paramsToken: string | undefined): Promise<Context> => {
    const { connection } = request;
    ws.hold();
    connection.isHandshakeRead = true;
    // The upgrade checked the origin. A request without an origin comes from no browser, so its cookie does not count.
    const cookie = request.headers.origin === undefined ? undefined : cookieOf(request, cookieName);
    const token = paramsToken ?? cookie;
    request.release();
    try {
      if (token === undefined) throw new RunwireError('UNAUTHENTICATED', 'no token');
      const principal = await credentials.verify(token);
      if (connections.authenticate(connection, principal)) {
        ws.release();
        return new ConnectionContext(connection);
      }
      if (credentials.invalidReasonOf(principal)) recordRefusal('UNAUTHENTICATED', undefined, principal);
    } catch (error) {
      // Not thrown on: the handler would answer each subscription with an error, and the client would end them.
      const known = toRunwireError(error);
      recordRefusal(known.code);
      if (known.code === 'INTERNAL') logger.error({ err: error }, 'cannot verify a token');
      // The token may be valid: 4401 would make the client give up.
      if (errorTable[known.code].retryable) connection.close(closeCodes.tryAgain, 'the token cannot be verified now');
      else connection.close(closeCodes.unauthenticated, known.message);
    }
    return new Promise<never>(() => undefined);
  };
}

/** Checks the host and the origin of a request. Logs each refused origin once. */
function originCheck(origins: Origins, recordRefusal: RecordRefusal, logger: Logger) {
  const logged = new Set<string>();
  return (request: IncomingMessage): boolean => {
    const isKnownHost = origins.knowsHost(request);
    if (isKnownHost && origins.allows(request)) return true;
    recordRefusal('FORBIDDEN', 'origin');
    if (!isKnownHost) return false;
    // Logged, because the page sees only a failed connection. Once for each origin, so that requests cannot fill the log.
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
