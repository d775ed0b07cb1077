import { createTRPCClient, type TRPCClient } from '@trpc/client';
import type { AppRouter } from '../server/api/router.ts';
import { type Connection, type ConnectionOptions, createConnection } from './connection/connection.ts';

/** `runwire/client`: the typed client, free of any framework. */

export type RunwireClient = TRPCClient<AppRouter>;

/**
 * A typed client and its connection. Subscriptions go over one WebSocket that resumes by itself; queries and mutations
 * over HTTP.
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
export { dedupeLink as dropSeenLink } from './connection/links.ts';
export type { ConnectionState, ConnectionStatus, ReconnectOptions as PacerOptions } from './connection/reconnect-policy.ts';
export type { TokenSource } from './connection/token-cache.ts';
