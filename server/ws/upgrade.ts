import type { IncomingMessage } from 'node:http';
import type { Logger } from 'pino';
import { WebSocketServer } from 'ws';
import { type ErrorCode, RunwireError } from '../../shared/errors.ts';
import { closeCodes } from '../../shared/protocol.ts';
import type { Registry } from '../../shared/registry.ts';
import type { BuiltRouter } from '../api/router.ts';
import type { AccessLogger } from '../audit/access-logger.ts';
import type { Credentials } from '../auth/credentials.ts';
import type { Principal } from '../auth/principal.ts';
import { toRunwireError } from '../errors.ts';
import type { Health } from '../health.ts';
import type { Upgrade } from '../http/http-server.ts';
import { cookieOf, destroyThis, refuseSocket } from '../http/messages.ts';
import { isOrigin, type Origins } from '../http/origins.ts';
import type { TrustedProxies } from '../http/trusted-proxies.ts';
import type { Limits } from '../limits.ts';
import type { Turns } from '../slices.ts';
import { ClientCalls, type ClientCallsOptions } from './client-calls.ts';
import type { Connection } from './connection.ts';
import { CLOSE_MS, type Connections } from './connections.ts';
import { DirectWebSocket } from './socket.ts';

/**
 * Upgrades HTTP requests for `/ws` to WebSockets:
 *
 * 1. The server refuses a request with a wrong host or origin.
 * 2. The server adds the socket to `Connections`.
 * 3. The server verifies the token from the connection parameters, which are the first message, or else from the cookie.
 * 4. `ClientCalls` answers the messages of the client.
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
  turns: Turns;
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
  const { router, connections, origins, proxies, cookieName, limits, compression, health, logger, turns } = options;
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
    // `ws` then emits each message in its own turn of the event loop: other sockets do not wait for all messages of one.
    allowSynchronousEvents: false,
  });
  const onToken = tokenReader(options, recordRefusal);
  const callsOptions: ClientCallsOptions = {
    router,
    onError: (connection, error) => {
      // The connection parameters are malformed, or never arrived.
      if (!connection.isHandshakeRead) {
        recordRefusal('UNAUTHENTICATED');
        connection.close(closeCodes.unauthenticated, 'no token');
      }
      const cause = error.cause as { code?: unknown } | undefined;
      // Errors of the client or the network are not errors of the server, and must not fill the log.
      if (/^(WS_ERR_|ECONN|EPIPE)/.test(String(cause?.code))) logger.debug({ code: cause?.code }, 'WebSocket aborted');
      else if (toRunwireError(error).code === 'INTERNAL') health.note('WebSocket failed', { err: cause ?? error });
    },
  };

  return (request, socket, head) => {
    socket.on('error', destroyThis);
    if (!isAllowed(request)) {
      refuseSocket(socket, '403 Forbidden');
      return;
    }
    const onUpgraded = (ws: DirectWebSocket) => {
      socket.off('error', destroyThis); // From here on, `ws` handles errors of the socket.
      const connection = connections.add(ws, request.socket, proxies.addressOf(request));
      // The origin was checked. A request without an origin does not come from a browser, so its cookie is ignored.
      const cookie = request.headers.origin === undefined ? undefined : cookieOf(request, cookieName);
      const read = (token: string | undefined) => onToken(connection, ws, token ?? cookie);
      const awaitsParams = new URLSearchParams(request.url?.split('?')[1]).get('connectionParams') === '1';
      ws.receiver = new ClientCalls(ws, connection, callsOptions, awaitsParams ? read : undefined);
      if (!awaitsParams) read(undefined);
    };
    const turn = turns.next();
    if (turn) void turn.then(() => wss.handleUpgrade(request, socket, head, onUpgraded));
    else wss.handleUpgrade(request, socket, head, onUpgraded);
  };
}

type RecordRefusal = (outcome: ErrorCode, detail?: 'origin', principal?: Principal) => void;

const refusalRecorder =
  (access: AccessLogger): RecordRefusal =>
  (outcome, detail, principal) =>
    access.record({ principal, action: 'connect', via: 'ws', outcome, detail });

/**
 * Returns a function that authenticates a connection by its token, when it has its turn. If the token is refused, it closes the
 * connection.
 */
function tokenReader<R extends Registry>(
  { connections, credentials, health, turns }: SocketsOptions<R>,
  recordRefusal: RecordRefusal,
) {
  const accept = (connection: Connection, ws: DirectWebSocket, principal: Principal): void => {
    if (connections.authenticate(connection, principal)) ws.release();
    else if (credentials.invalidReasonOf(principal)) recordRefusal('UNAUTHENTICATED', undefined, principal);
  };
  const refuse = (connection: Connection, error: unknown): void => {
    const known = toRunwireError(error);
    recordRefusal(known.code);
    if (known.code === 'INTERNAL') health.note('cannot verify a token', { err: error });
    // The token may still be valid after a retryable error (the issuer cannot be reached, for example): close code 4401
    // would make the client give up.
    if (known.isRetryable) connection.close(closeCodes.tryAgain, 'the token cannot be verified now');
    else connection.close(closeCodes.unauthenticated, known.message);
  };
  const verify = (connection: Connection, ws: DirectWebSocket, token: string | undefined): void => {
    if (!connection.isOpen) return;
    try {
      if (token === undefined) throw new RunwireError('UNAUTHENTICATED', 'no token');
      const found = credentials.verify(token);
      if (!(found instanceof Promise)) {
        accept(connection, ws, found);
        return;
      }
      ws.hold();
      found.then((principal) => accept(connection, ws, principal)).catch((error: unknown) => refuse(connection, error));
    } catch (error) {
      refuse(connection, error);
    }
  };
  return (connection: Connection, ws: DirectWebSocket, token: string | undefined): void => {
    connection.isHandshakeRead = true;
    const turn = turns.next();
    if (!turn) {
      verify(connection, ws, token);
      return;
    }
    ws.hold();
    void turn.then(() => verify(connection, ws, token));
  };
}

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
