import { signToken } from '../../server/auth/tokens.ts';
import type { OpenBackplane } from '../../server/event-log/postgres/backplane.ts';
import { openRunServer } from '../../server/run-server.ts';
import type { BenchEvent } from './event.ts';
import type { ContenderServer } from './face.ts';

/** A listening Runwire, and the messages of its readers: one `onRunEvent` each. */

const secret = 'the secret of the bench, of 32 bytes and more';
/** Limits for the bench: all readers are one user at one address, and one of them stops reading for a long time. */
const limits = {
  connectionsPerUser: 50_000,
  connectionsPerAddress: 50_000,
  subscriptionsPerUser: 50_000,
  stalledMs: 3_600_000,
};

export type RunwireOptions = {
  databaseUrl?: string;
  redisUrl?: string;
  backplane?: OpenBackplane;
  from?: 'now' | 'start';
  delivery?: 'direct' | 'iterator';
  compression?: boolean;
  /** Default true. */
  isGuarded?: boolean;
};

export async function runwire({
  databaseUrl = 'memory:',
  from = 'now',
  delivery = 'direct',
  compression = false,
  isGuarded = true,
  ...shared
}: RunwireOptions) {
  const server = await openRunServer({
    ...{ databaseUrl, delivery, compression, limits, ...shared },
    authSecret: secret,
    port: 0,
    heartbeatMs: 600_000,
    ...(isGuarded ? {} : { guard: (draft) => draft }),
  });
  const { port } = await server.listen();
  const token = await signToken({ secret }, { sub: 'bench', projects: ['*'], roles: ['viewer'], ttlSeconds: 86_400 });
  const face: Omit<ContenderServer, 'emit'> = {
    port,
    path: '/ws?connectionParams=1',
    ...(compression ? { protocol: 'permessage-deflate' } : {}),
    greetings: [
      JSON.stringify({ method: 'connectionParams', data: { token } }),
      JSON.stringify({
        id: 1,
        method: 'subscription',
        params: { path: 'onRunEvent', input: { runId: '$RUN', projectId: 'bench', from } },
      }),
      // `started`, and `stream.live` unless it reads the log first.
      ...(from === 'now' ? [2] : []),
    ],
    // Of this server alone: other servers may share its log.
    subscribed: () => server.getStats().nodes[0]?.subscriptions ?? 0,
  };
  return { server, face };
}

export const draftOf = ({ type, projectId, runId, stageId, progress, message }: BenchEvent) => ({
  ...{ type, projectId, runId, stageId, progress, message },
});
