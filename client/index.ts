import { createTRPCClient, type TRPCClient } from '@trpc/client';
import type { RunwireEvents } from '../shared/events.ts';
import type { Registry } from '../shared/registry.ts';
import type { RouterOf } from '../shared/router.ts';
import { type Connection, type ConnectionOptions, createConnection } from './connection/connection.ts';

/** The package entry `runwire/client`: a tRPC client typed by the server's router. It needs no UI framework. */

export type RunwireClient<R extends Registry = RunwireEvents> = TRPCClient<RouterOf<R>>;

/** A client and its connection. `<RunwireProvider client={runwire}>` shares them with the hooks below it. */
export type Runwire<R extends Registry = RunwireEvents> = {
  client: RunwireClient<R>;
  connection: Connection<RouterOf<R>>;
};

/**
 * Creates a typed client and its connection. Subscriptions share one WebSocket and resume after a lost connection;
 * queries and mutations use HTTP. `createRunwireClient<typeof events>` is typed by the registry of an application. Throws a
 * `RunwireError` with the code `INVALID_INPUT` for an invalid URL.
 */
export function createRunwireClient<R extends Registry = RunwireEvents>(options: ConnectionOptions): Runwire<R> {
  const connection = createConnection<RouterOf<R>>(options);
  return { client: createTRPCClient<RouterOf<R>>({ links: connection.links }), connection };
}

export { type ErrorCode, errorTable, RunwireError } from '../shared/errors.ts';
export type { AppRouter, RouterOf } from '../shared/router.ts';
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
