import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { applyWSSHandler } from '@trpc/server/adapters/ws';
import type { Logger } from 'pino';
import { WebSocketServer } from 'ws';
import { type ErrorCode, errorTable, RunwireError } from '../../shared/errors.ts';
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

/** `/ws`: who may open a socket, and tRPC's handler behind it. */

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
 * Were what was sent before kept for each socket, zlib would take a few hundred KB for it. What is smaller than an event is
 * not worth it. docs/benchmarks.md has what it costs all the same.
 */
const DEFLATE = { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 256 };

/** How many refused origins the log is told of. */
const REFUSED_ORIGINS_TOLD = 20;
/** Longer than any name of a host: the header may hold what it likes. */
const ORIGIN_TOLD_LENGTH = 300;

export function createSockets<R extends Registry>(options: SocketsOptions<R>): Upgrade {
  const { router, connections, access, credentials, origins, cookieName, limits, compression, logger } = options;
  const refused = new Set<string>();
  const recordRefusal = (outcome: ErrorCode, detail?: 'origin', principal?: Principal) =>
    access.record({ principal, action: 'connect', via: 'ws', outcome, detail });
  const wss = new WebSocketServer({
    noServer: true,
    maxPayload: limits.messageBytes,
    perMessageDeflate: compression ? DEFLATE : false,
    WebSocket: DirectWebSocket,
    // Each message in a turn of its own: the handler needs promises to begin a subscription, and loses a stop before that.
    allowSynchronousEvents: false,
  });
  applyWSSHandler({
    wss,
    router,
    experimental_encoder: directEncoder,
    createContext: async ({ req, res, info }): Promise<Context> => {
      const connection = connectionOf(req);
      const ws = res as DirectWebSocket;
      ws.hold();
      connection.hasSpoken = true;
      // The origin was checked at the upgrade; without one it is no browser of ours that brings the cookie.
      const cookie = req.headers.origin === undefined ? undefined : cookieOf(req, cookieName);
      const token = info.connectionParams?.token ?? cookie;
      connection.forgetRequest();
      try {
        if (token === undefined) throw new RunwireError('UNAUTHENTICATED', 'no token');
        const principal = await credentials.verify(token);
        if (connections.authenticate(connection, principal)) {
          ws.release();
          return connection;
        }
        if (credentials.invalidReasonOf(principal)) recordRefusal('UNAUTHENTICATED', undefined, principal);
      } catch (error) {
        // A throw here would answer every subscription with an error, and the client would forget them.
        const known = toRunwireError(error);
        recordRefusal(known.code);
        if (known.code === 'INTERNAL') logger.error({ err: error }, 'a token could not be checked');
        // Whether the token is good nobody knows: to call it bad would make the client give up.
        if (errorTable[known.code].retryable) connection.interrupt('the token cannot be checked now');
        else connection.refuse(known.message);
      }
      // It is closing, or has closed: nothing is to be answered.
      return new Promise<never>(() => undefined);
    },
    onError: ({ error, req }) => {
      // Connection parameters that cannot be read never reach `createContext`.
      const connection = connectionOf(req);
      if (!connection.hasSpoken) {
        recordRefusal('UNAUTHENTICATED');
        connection.refuse('no token');
      }
      const cause = error.cause as { code?: unknown } | undefined;
      // What a peer sends on the wire is not an error of ours, and must not be able to fill the log.
      if (/^(WS_ERR_|ECONN|EPIPE)/.test(String(cause?.code)))
        logger.debug({ code: cause?.code }, 'a WebSocket broke off');
      else if (toRunwireError(error).code === 'INTERNAL') logger.error({ err: cause ?? error }, 'a WebSocket failed');
    },
  });

  return (request, socket, head) => {
    socket.on('error', destroyThis);
    const { origin, host } = request.headers;
    let refusal: string | undefined;
    // tRPC makes a URL of both, outside of any try: an address that is none would end the process.
    if (!URL.canParse(request.url ?? '', `http://${host}`)) refusal = '400 Bad Request';
    else if (!origins.knowsHost(request)) {
      refusal = '403 Forbidden';
      recordRefusal('FORBIDDEN', 'origin');
    } else if (!origins.allows(request)) {
      refusal = '403 Forbidden';
      recordRefusal('FORBIDDEN', 'origin');
      // To the page it looks like a server that is down. Once for each origin, lest the log be filled.
      const isTold = origin !== undefined && isOrigin(origin) && origin.length <= ORIGIN_TOLD_LENGTH;
      if (isTold && !refused.has(origin) && refused.size < REFUSED_ORIGINS_TOLD) {
        refused.add(origin);
        logger.warn({ origin }, 'an origin was refused: ALLOWED_ORIGINS does not have it');
      }
    }
    if (refusal !== undefined) {
      refuseSocket(socket, refusal);
      return;
    }
    wss.handleUpgrade(request, socket, head, (ws) => {
      socket.off('error', destroyThis); // `ws` has its own.
      const connection = connections.add(ws, request);
      if (connection) wss.emit('connection', ws, connection);
    });
  };
}

function destroyThis(this: Duplex): void {
  this.destroy();
}

/** What tRPC's handler takes for the request is the connection. */
const connectionOf = (request: IncomingMessage): Connection => request as unknown as Connection;
