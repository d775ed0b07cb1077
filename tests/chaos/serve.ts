import pino from 'pino';
import type { StoredEvent } from '../../server/event-log/contract/log.ts';
import { type InternalOptions, openRunServer, type RunServerOptions } from '../../server/run-server.ts';
import { type Census, census } from './census.ts';
import { setClock } from './clock.ts'; // First: the modules below must see its Date.
import { type Sabotage, sabotage } from './sabotage.ts';

/** A server in its own process. The parent sends its requests over IPC. */

export type ServeOptions = Pick<
  RunServerOptions & InternalOptions,
  'webhookAllow' | 'webhookRetries' | 'databaseUrl' | 'redisUrl'
> & {
  /** Of the database, unless `databaseUrl` is set. */
  path: string;
  port: number;
  secret: string;
  delivery: 'direct' | 'iterator';
  clockMs: number;
  heartbeatMs: number;
  quietMs: number;
  sabotage?: { kind: Sabotage; seed: number };
};

export type Asked =
  | { trim: { share: number } }
  | { clockMs: number }
  | { head: true }
  | { sockets: true }
  | { census: true };
export type Trimmed = { oldest: number; events: string[] };
export type Answers = { trim: Trimmed; clockMs: null; head: number; sockets: number; census: Census };
export type Ready = { epoch: string; head: number; port: number };

const options = JSON.parse(process.argv[2] as string) as ServeOptions;
setClock(options.clockMs);
if (options.sabotage) sabotage(options.sabotage.kind, options.sabotage.seed);

const { path, secret, ...rest } = options;
const server = await openRunServer({
  databaseUrl: `file:${path}`,
  ...rest,
  authSecret: secret,
  logger: pino({ level: 'warn' }, pino.destination(2)),
});

/** Trims a share of the log, and responds with the oldest position that may be trimmed. */
async function trim(share: number): Promise<Trimmed> {
  const { log } = server;
  const records: StoredEvent[] = [];
  for (let after = log.oldest - 1; after < log.head; ) {
    const page = await log.read({ scope: { kind: 'all' }, after, limit: 1_000 });
    records.push(...page.records);
    after = page.scannedTo;
  }
  const first = records[Math.floor(share * records.length)]?.event as { recordedAt: string } | undefined;
  if (first) await log.trim(Date.parse(first.recordedAt));
  return { oldest: log.oldest, events: records.filter(({ seq }) => seq < log.oldest).map(({ json }) => json) };
}

async function answer(asked: Asked): Promise<Answers[keyof Answers]> {
  if ('trim' in asked) return trim(asked.trim.share);
  if ('census' in asked) return census(server.getStats());
  if ('sockets' in asked) return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
  if ('head' in asked) return server.log.head;
  setClock(asked.clockMs);
  return null;
}

process.on('message', async ({ id, asked }: { id: number; asked: Asked }) => {
  process.send?.({ id, answer: await answer(asked) });
});
process.once('SIGTERM', async () => {
  await server.close();
  process.exit(0);
});
process.once('disconnect', () => process.exit(0));

const { port } = await server.listen();
process.send?.({ ready: { epoch: server.log.epoch, head: server.log.head, port } satisfies Ready });
