import { createTRPCClient, type TRPCClient } from '@trpc/client';
import type { AppRouter } from '../server/api/router.ts';
import { type Connection, type ConnectionOptions, createConnection } from './connection/connection.ts';

/** `runwire/client`: the typed tRPC client. It needs no framework. */

export type RunwireClient = TRPCClient<AppRouter>;

/**
 * Creates a typed client and its connection. Subscriptions share one WebSocket and resume after a lost connection;
 * queries and mutations use HTTP. Throws `RunwireError` `INVALID_INPUT` on a platform without WebSocket.
 */
export function createRunwireClient(options: ConnectionOptions): {
  client: RunwireClient;
  connection: Connection<AppRouter>;
} {
  const connection = createConnection<AppRouter>(options);
  return { client: createTRPCClient<AppRouter>({ links: connection.links }), connection };
}

export type { AppRouter } from '../server/api/router.ts';
export {
  type Connection,
  type ConnectionOptions,
  createConnection,
  type WebSocketClass,
} from './connection/connection.ts';
export type {
  ConnectionState,
  ConnectionStatus,
  ReconnectOptions,
} from './connection/reconnect-policy.ts';
export type { TokenSource } from './connection/token-cache.ts';
