import { createTRPCClient, type TRPCClient } from '@trpc/client';
import type { RunwireEvents } from '../../shared/events.ts';
import type { Registry } from '../../shared/registry.ts';
import type { RouterOf } from '../../shared/router.ts';
import { type Connection, type ConnectionOptions, createConnection } from './connection.ts';

/** The tRPC client of a server, typed by its registry of event types. */
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
