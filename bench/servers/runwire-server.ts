import type { OpenBackplane } from '../../server/event-log/postgres/backplane.ts';
import type { RunServerOptions } from '../../server/index.ts';
import type { BenchEvent } from './event.ts';
import type { ContenderServer } from './face.ts';

/** A listening Runwire, and the messages of its readers: one `onRunEvent` each. Only the public API is used. */

const secret = 'the secret of the bench, of 32 bytes and more';
/** Limits for the bench: all readers are one user at one address, and one of them stops reading for a long time. */
const limits = {
  connectionsPerUser: 50_000,
  connectionsPerAddress: 50_000,
  subscriptionsPerUser: 50_000,
  stalledMs: 3_600_000,
};

export type RunwireOptions = Pick<
  RunServerOptions,
  'databaseUrl' | 'redisUrl' | 'delivery' | 'compression' | 'heartbeatMs' | 'port'
> & {
  /** Path of the entry point of another Runwire, such as an older one. Default: this one. */
  product?: string | undefined;
  /** Replaces Redis, and LISTEN and NOTIFY. */
  backplane?: OpenBackplane;
  from?: 'now' | 'start';
};

export async function runwire({ product, from = 'now', ...options }: RunwireOptions) {
  const entry = product ?? new URL('../../server/index.js', import.meta.url).href;
  const { createRunServer, signToken } = (await import(entry)) as typeof import('../../server/index.ts');
  const server = await createRunServer({
    ...{ authSecret: secret, limits, port: 0, heartbeatMs: 600_000 },
    ...options,
  });
  const { port } = await server.listen();
  let signed = 0;
  const sign = (sub: string) => signToken({ secret }, { sub, projects: ['*'], roles: ['viewer'], ttlSeconds: 86_400 });
  const face: Omit<ContenderServer, 'send' | 'emit'> = {
    port,
    path: '/ws?connectionParams=1',
    ...(options.compression ? { protocol: 'permessage-deflate' } : {}),
    tokens: [await sign('bench')],
    greetings: [
      JSON.stringify({ method: 'connectionParams', data: { token: '$TOKEN' } }),
      // `$ID` without quotes: a number.
      `{"id":$ID,"method":"subscription","params":${JSON.stringify({
        path: 'onRunEvent',
        input: { runId: '$RUN', projectId: 'bench', from },
      })}}`,
      // `started`, and `stream.live` unless it reads the log first.
      ...(from === 'now' ? [2] : []),
    ],
    // Of this server alone: other servers may share its log.
    subscribed: () => subscriptionsOf(server.getStats()),
    also: {
      tokens: (count: number) => Promise.all(Array.from({ length: count }, () => sign(`bench-${++signed}`))),
    },
  };
  return { server, face };
}

type Server = Awaited<ReturnType<typeof runwire>>['server'];

/** An older Runwire has no nodes. */
const subscriptionsOf = ({ nodes, ...stats }: Partial<ReturnType<Server['getStats']>>): number =>
  nodes?.[0]?.subscriptions ?? (stats as { subscriptions?: number }).subscriptions ?? 0;

/** Resolves once the search index has all events: a search waits for it. */
export async function indexed({ log }: Server): Promise<void> {
  const query = { projects: 'all', text: 'accuracy', limit: 1 } as const;
  if (typeof log.search !== 'function') return void (await log.search.find(query));
  // Of an older Runwire.
  await (log as unknown as { search(of: typeof query): Promise<unknown> }).search(query);
}

export const draftOf = ({ type, projectId, runId, stageId, progress, message }: BenchEvent) => ({
  ...{ type, projectId, runId, stageId, progress, message },
});
