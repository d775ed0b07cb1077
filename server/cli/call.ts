import { TRPCClientError } from '@trpc/client';
import { WebSocket } from 'ws';
import { createRunwireClient, type RunwireClient } from '../../client/index.ts';
import { RunwireError } from '../../shared/errors.ts';
import { can } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import { describeError, serverErrorOf } from './errors.ts';
import type { Target } from './target.ts';

/** Time limit of {@link serverProblem}, so that a slow server does not delay the commands of `exec`. */
const CHECK_MS = 5_000;

/** The WebSocket class that connects to the server of a target, through a proxy if there is one. */
export function webSocketOf({ agent }: Pick<Target, 'agent'>): typeof WebSocket {
  if (!agent) return WebSocket;
  return class extends WebSocket {
    constructor(url: string | URL) {
      super(url, { agent });
    }
  } as typeof WebSocket;
}

/** Makes one call to a server. Throws the server's error, and `UNAVAILABLE` if the server does not answer. */
export async function call<T>(target: Target, procedure: (client: RunwireClient) => Promise<T>): Promise<T> {
  const { client, connection } = createRunwireClient({ ...target, WebSocket: webSocketOf(target) });
  try {
    return await procedure(client);
  } catch (error) {
    if (!(error instanceof TRPCClientError)) throw error;
    throw error.data
      ? serverErrorOf(error)
      : new RunwireError('UNAVAILABLE', `the server at ${target.url} cannot be reached`, { cause: error });
  } finally {
    await connection.close();
  }
}

/** Describes why events of a run cannot be published now; undefined if they can. */
export async function serverProblem(
  target: Target,
  { projectId, runId }: { projectId: string; runId: string },
): Promise<string | undefined> {
  try {
    const signal = AbortSignal.timeout(CHECK_MS);
    const me = await call(target, (client) => client.auth.me.query(undefined, { signal }));
    if (can(callerOf(me), 'publish', { projectId, runId })) return undefined;
    return me.runId === undefined
      ? `FORBIDDEN: the token may not publish to the project ${projectId}`
      : `FORBIDDEN: the token is for the run ${me.runId} of ${me.projects[0]} alone; name it with --run`;
  } catch (error) {
    return describeError(error);
  }
}

/** The rights that `auth.me` has answered. */
export function callerOf({ sub, projects, roles, runId }: Principal): Principal {
  return { sub, projects, roles, runId };
}
