import { createTRPCClient, type TRPCClient } from '@trpc/client';
import type { AppRouter } from '../shared/router.ts';
import { type Connection, type ConnectionOptions, createConnection } from './connection/connection.ts';

/** The package entry `runwire/client`: a tRPC client typed by the server's router. It needs no UI framework. */

export type RunwireClient = TRPCClient<AppRouter>;

/** A client and its connection. `<RunwireProvider client={runwire}>` shares them with the hooks below it. */
export type Runwire = { client: RunwireClient; connection: Connection<AppRouter> };

/**
 * Creates a typed client and its connection. Subscriptions share one WebSocket and resume after a lost connection;
 * queries and mutations use HTTP. Throws a `RunwireError` with the code `INVALID_INPUT` for an invalid URL.
 */
export function createRunwireClient(options: ConnectionOptions): Runwire {
  const connection = createConnection<AppRouter>(options);
  return { client: createTRPCClient<AppRouter>({ links: connection.links }), connection };
}

export { type ErrorCode, errorTable, RunwireError } from '../shared/errors.ts';
export type { AppRouter } from '../shared/router.ts';
export {
  type Connection,
  type ConnectionOptions,
  createConnection,
} from './connection/connection.ts';
export { fetchRun } from './connection/fetch-run.ts';
export type {
  ConnectionState,
  ConnectionStatus,
  ReconnectOptions,
} from './connection/reconnect-policy.ts';
export type { TokenSource } from './connection/token-cache.ts';
export type { WebSocketClass } from './connection/watched-socket.ts';
export { runwireErrorOf } from './errors.ts';
