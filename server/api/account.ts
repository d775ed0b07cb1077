import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import * as field from '../../shared/fields.ts';
import type { Credentials } from '../auth/credentials.ts';
import type { Identity } from '../auth/identity.ts';
import { requirePermission } from '../auth/permissions.ts';
import { everyProject } from '../auth/principal.ts';
import type { Procedure } from './trpc.ts';

export type AccountParts = {
  credentials: Credentials;
  identity: Pick<Identity, 'modes' | 'modeOf' | 'oidc'>;
};

/** The procedures `auth.me`, `auth.modes`, `auth.refresh` and `auth.revoke`. */
export function authProcedures(procedure: Procedure, { credentials, identity }: AccountParts) {
  const { modes, oidc } = identity;
  return {
    modes: procedure.meta({ accessLog: 'errors' }).query(() => ({
      modes: [...modes],
      ...(oidc ? { provider: oidc.provider.host } : {}),
      ...(oidc?.provider.signOutUrl === undefined ? {} : { signOutUrl: oidc.provider.signOutUrl }),
    })),

    me: procedure.meta({ accessLog: 'errors' }).query(({ ctx: { principal } }) => ({
      sub: principal.sub,
      projects: [...principal.projects],
      roles: [...principal.roles],
      ...(principal.runId === undefined ? {} : { runId: principal.runId }),
      mode: identity.modeOf(principal),
      ...(principal.name === undefined ? {} : { name: principal.name }),
      ...(principal.expiresAtMs === undefined ? {} : { expiresAt: new Date(principal.expiresAtMs).toISOString() }),
    })),

    refresh: procedure
      .meta({ accessLog: 'errors' })
      .input(z.strictObject({ token: z.string() }))
      .mutation(async ({ ctx, input }) => {
        if (!ctx.connection) throw new RunwireError('INVALID_INPUT', 'auth.refresh needs a WebSocket');
        const fresh = await credentials.authenticate(input.token);
        if (fresh.sub !== ctx.principal.sub) throw new RunwireError('FORBIDDEN', 'the token is of another subject');
        ctx.connection.setPrincipal(fresh);
        return { expiresAt: fresh.expiresAtMs === undefined ? null : new Date(fresh.expiresAtMs).toISOString() };
      }),

    revoke: procedure
      .input(z.union([z.strictObject({ jti: field.id() }), z.strictObject({ sub: field.id() })]))
      .mutation(async ({ ctx, input }) => {
        requirePermission(ctx.principal, 'revoke', { projectId: everyProject });
        await credentials.revoke(input);
        return { revoked: true };
      }),
  };
}
