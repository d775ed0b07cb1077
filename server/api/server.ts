import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import { closeCodes } from '../../shared/protocol.ts';
import type { RecordStats, ServerStats, StatsSample } from '../../shared/server-stats.ts';
import type { Credentials } from '../auth/credentials.ts';
import { coversProjects, requirePermission } from '../auth/permissions.ts';
import { everyProject, type Principal } from '../auth/principal.ts';
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
};

type ClientConnection = {
  readonly isAuthenticated: boolean;
  readonly principal: Principal;
  drain(): void;
  close(code: number, reason: string): void;
};

/** The procedures of `server`, for administrators. */
export function serverProcedures(procedure: Procedure, { credentials, stats, connections }: ServerParts) {
  const input = { id: z.int().positive() };
  /** Finds a connection as `stats` lists it: of a token for no other projects than the caller's own. */
  const find = (caller: Principal, id: number): ClientConnection => {
    requirePermission(caller, 'stats');
    const found = connections.find(id);
    if (!found || !coversProjects(caller, found.isAuthenticated ? found.principal : undefined)) {
      throw new RunwireError('NOT_FOUND', 'no such connection', { path: 'id' });
    }
    return found;
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

    drain: procedure.input(z.strictObject(input)).mutation(({ ctx: { principal }, input: { id } }) => {
      find(principal, id).drain();
      return { drained: true };
    }),

    disconnect: procedure
      .input(z.strictObject({ ...input, revoke: z.boolean().default(false) }))
      .mutation(async ({ ctx: { principal }, input: { id, revoke } }) => {
        const connection = find(principal, id);
        if (revoke) {
          requirePermission(principal, 'revoke', { projectId: everyProject });
          if (connection.isAuthenticated) await credentials.revoke({ sub: connection.principal.sub });
        }
        connection.close(closeCodes.overLimit, 'disconnected by an administrator');
        return { disconnected: true };
      }),
  };
}
