import { TRPCClientError } from '@trpc/client';
import { WebSocket } from 'ws';
import { createRunwireClient, type RunwireClient } from '../../client/index.ts';
import { RunwireError } from '../../shared/errors.ts';
import { can } from '../auth/permissions.ts';
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

/** Describes why events for a project cannot be published now; undefined if they can. */
export async function serverProblem(target: Target, projectId: string): Promise<string | undefined> {
  try {
    const signal = AbortSignal.timeout(CHECK_MS);
    const { sub, projects, roles } = await call(target, (client) => client.auth.me.query(undefined, { signal }));
    if (can({ sub, projects, roles }, 'publish', { projectId })) return undefined;
    return `FORBIDDEN: the token may not publish to the project ${projectId}`;
  } catch (error) {
    return describeError(error);
  }
}
