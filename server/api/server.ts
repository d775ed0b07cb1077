import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import { closeCodes } from '../../shared/protocol.ts';
import type { RecordStats, ServerStats, StatsSample } from '../../shared/server-stats.ts';
import type { Credentials } from '../auth/credentials.ts';
import { coversProjects, requirePermission } from '../auth/permissions.ts';
import { everyProject, type Principal } from '../auth/principal.ts';
import type { Peers } from '../peers.ts';
import type { Procedure } from './trpc.ts';

export type ServerParts = {
  credentials: Credentials;
  stats: {
    /** `clients` lists only connections with projects that the token of `visibleTo` covers. */
    read(visibleTo: Principal): ServerStats;
    history(since: number): StatsSample[];
    record(): Promise<RecordStats>;
  };
  connections: { find(id: number): ClientConnection | undefined };
  peers: Pick<Peers, 'call' | 'handle'>;
};

type ClientConnection = {
  readonly isAuthenticated: boolean;
  readonly principal: Principal;
  drain(): void;
  close(code: number, reason: string): void;
};

/** What an administrator does to a client, which any server of the log may have. */
type ClientAction = { caller: Principal; id: number } & (
  | { action: 'drain' }
  | { action: 'disconnect'; revoke: boolean }
);

const PEER_TIMEOUT_MS = 5_000;

/** The procedures of `server`, for administrators. */
export function serverProcedures(procedure: Procedure, parts: ServerParts) {
  const { stats, peers } = parts;
  const input = { id: z.int().positive() };
  peers.handle('client', (action: ClientAction) => actOnClient(parts, action));
  const act = async (action: ClientAction): Promise<void> => {
    requirePermission(action.caller, 'stats');
    const done = actOnClient(parts, action) ?? peers.call<true>('client', action, PEER_TIMEOUT_MS);
    if ((await done) === undefined) throw noSuchConnection();
  };
  return {
    stats: procedure.meta({ accessLog: 'errors' }).query(({ ctx: { principal } }) => {
      requirePermission(principal, 'stats');
      return stats.read(principal);
    }),

    history: procedure
      .meta({ accessLog: 'errors' })
      .input(z.strictObject({ since: z.number().default(0) }).prefault({}))
      .query(({ ctx: { principal }, input: { since } }) => {
        requirePermission(principal, 'stats');
        return { samples: stats.history(since) };
      }),

    record: procedure.meta({ accessLog: 'errors' }).query(({ ctx: { principal } }) => {
      requirePermission(principal, 'stats');
      return stats.record();
    }),

    drain: procedure.input(z.strictObject(input)).mutation(async ({ ctx: { principal: caller }, input: { id } }) => {
      await act({ caller, id, action: 'drain' });
      return { drained: true };
    }),

    disconnect: procedure
      .input(z.strictObject({ ...input, revoke: z.boolean().default(false) }))
      .mutation(async ({ ctx: { principal: caller }, input: { id, revoke } }) => {
        await act({ caller, id, action: 'disconnect', revoke });
        return { disconnected: true };
      }),
  };
}

const noSuchConnection = () => new RunwireError('NOT_FOUND', 'no such connection', { path: 'id' });

/**
 * Acts on a connection of this server; returns undefined if it has none with this id. A connection that `stats` does not list
 * for the caller does not exist: one of a token for other projects than the caller's own.
 */
function actOnClient({ connections, credentials }: ServerParts, action: ClientAction): Promise<true> | undefined {
  const connection = connections.find(action.id);
  if (!connection) return undefined;
  const act = async (): Promise<true> => {
    const { caller } = action;
    if (!coversProjects(caller, connection.isAuthenticated ? connection.principal : undefined))
      throw noSuchConnection();
    if (action.action === 'drain') connection.drain();
    else {
      if (action.revoke) {
        requirePermission(caller, 'revoke', { projectId: everyProject });
        if (connection.isAuthenticated) await credentials.revoke({ sub: connection.principal.sub });
      }
      connection.close(closeCodes.overLimit, 'disconnected by an administrator');
    }
    return true;
  };
  return act();
}
