import { type Principal, type Role, signToken } from '../server/auth.ts';
import { createRunServer, type RunServerOptions } from '../server/run-server.ts';
import type { RunEventDraft } from '../shared/events.ts';

/** What tests share: a real server on a free port, tokens it accepts, and drafts. */

export const secret = 'a secret of the tests, 32 bytes long or more';

export const allRoles: Role[] = ['viewer', 'approver', 'producer', 'admin'];
export const everyone: Principal = { sub: 'ada', projects: ['*'], roles: allRoles };

export function tokenFor(
  claims: { sub?: string; projects?: string[]; roles?: Role[]; ttlSeconds?: number; secret?: string } = {},
): Promise<string> {
  const { sub = 'ada', projects = ['*'], roles = allRoles, ttlSeconds = 3_600 } = claims;
  return signToken({ secret: claims.secret ?? secret }, { sub, projects, roles, ttlSeconds });
}

/** A server that is ready for a caller, without a port. */
export const openServer = (options: RunServerOptions = {}) =>
  createRunServer({ databaseUrl: 'memory:', authSecret: secret, port: 0, shutdownSpreadMs: 0, ...options });

/** A server that listens on a free port. */
export async function startServer(options: RunServerOptions = {}) {
  const server = await openServer(options);
  return { ...server, ...(await server.listen()) };
}

export const created = (runId: string, more: object = {}): RunEventDraft => ({
  type: 'run.created',
  projectId: 'demo',
  runId,
  name: `Run ${runId}`,
  ...more,
});
export const progress = (runId: string, value: number, more: object = {}): RunEventDraft => ({
  type: 'stage.progress',
  projectId: 'demo',
  runId,
  stageId: 's1',
  progress: value,
  ...more,
});

/** Takes items until `done` says so (which keeps that one), then ends the subscription. */
export async function take<T>(
  stream: AsyncIterable<readonly [string, T, ...unknown[]]>,
  done: (item: T, items: T[]) => boolean,
): Promise<{ items: T[]; cursors: string[] }> {
  const items: T[] = [];
  const cursors: string[] = [];
  for await (const [cursor, item] of stream) {
    items.push(item);
    cursors.push(cursor);
    if (done(item, items)) break;
  }
  return { items, cursors };
}
