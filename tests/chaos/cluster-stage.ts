import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { signToken } from '../../server/auth/tokens.ts';
import { startHaproxy } from '../support/cluster.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { type ClusterFault, type ClusterPlan, NODES } from './cluster-plan.ts';
import { ProxyProcess } from './proxy-process.ts';
import type { Sabotage } from './sabotage.ts';
import { ServerProcess } from './server.ts';

/** The processes of a round with several nodes, and what its faults do to them. */

const secret = 'a secret of the rounds, 32 bytes long or more';
/** A connection that is silent for this long is dead for its client: less would not do on a busy machine. */
export const SILENCE_MS = 5_000;
export const RETRY_MS = 200;

export type ClusterOptions = {
  script: string;
  seed: number;
  isShort?: boolean;
  /** Of the first node. */
  sabotage?: Sabotage | undefined;
  say?: (line: string) => void;
};

export type Node = { server: ServerProcess; url: string };
export type Stage = {
  nodes: readonly Node[];
  postgres: PostgresServer;
  redis: RedisServer;
  proxies: ProxyProcess;
  databaseUrl: string;
  haproxy: Awaited<ReturnType<typeof startHaproxy>>;
  say: ((line: string) => void) | undefined;
};

/** Starts everything. `atEnd` gets what stops it, in the order of the start. */
export async function setStage(
  plan: ClusterPlan,
  { script, sabotage, say }: ClusterOptions,
  atEnd: (ending: () => unknown) => void,
): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'runwire-chaos-'));
  atEnd(() => rmSync(folder, { recursive: true, force: true }));
  const postgres = await startPostgres({ isDurable: true });
  atEnd(() => postgres.remove());
  const redis = await startRedis();
  atEnd(() => redis.remove());
  const databaseUrl = await postgres.createDatabase();
  const nodes: Node[] = [];
  // Two proxies for each node: to PostgreSQL, and to Redis.
  const targets = Array.from({ length: NODES }, () => [postgres.port, redis.port]).flat();
  const proxies = await ProxyProcess.start(targets);
  atEnd(() => proxies.stop());
  for (let at = 0; at < NODES; at++) {
    const [toPostgres, toRedis] = proxies.ports.slice(2 * at);
    const server = new ServerProcess(script, {
      path: join(folder, `${at}`, 'log.db'),
      ...{ port: 0, secret, delivery: plan.seed % 2 ? 'direct' : 'iterator', clockMs: 0 },
      ...{ heartbeatMs: SILENCE_MS, quietMs: SILENCE_MS / 2 },
      databaseUrl: databaseUrl.replace(`:${postgres.port}/`, `:${toPostgres}/`),
      redisUrl: `redis://127.0.0.1:${toRedis}`,
      ...(sabotage && at === 0 ? { sabotage: { kind: sabotage, seed: plan.seed } } : {}),
    });
    atEnd(() => server.stop('SIGKILL'));
    await server.start();
    nodes.push({ server, url: `http://127.0.0.1:${server.ready.port}` });
  }
  const ports = nodes.map(({ server }) => server.ready.port);
  const haproxy = await startHaproxy(folder, ports);
  atEnd(() => haproxy.stop());
  return { nodes, postgres, redis, proxies, databaseUrl, haproxy, say };
}

export const producer = { sub: 'producer', projects: ['*'] };
export const token = ({ sub, projects }: { sub: string; projects: string[] }): Promise<string> =>
  signToken({ secret }, { sub, projects, roles: ['viewer', 'producer'], ttlSeconds: 36_000 });

/** Resolves once the fault has ended. */
export async function inject(fault: ClusterFault, { postgres, redis, proxies, nodes }: Stage): Promise<void> {
  const { server } = nodes['node' in fault ? fault.node : 0] as Node;
  switch (fault.kind) {
    case 'kill -9':
      await server.stop('SIGKILL');
      await delay(fault.ms);
      await server.start();
      return;
    case 'rolling restart':
      await server.stop('SIGTERM');
      await server.start();
      return;
    case 'SIGSTOP':
      server.signal('SIGSTOP');
      await delay(fault.ms);
      server.signal('SIGCONT');
      return;
    case 'Redis killed':
      await redis.stop();
      await delay(fault.ms);
      await redis.start();
      return;
    case 'PostgreSQL fast':
    case 'PostgreSQL immediate':
      await postgres.stop(fault.kind === 'PostgreSQL fast' ? 'fast' : 'immediate');
      await delay(fault.ms);
      await postgres.start();
      return;
    default:
      cutOff(proxies, 2 * fault.node + (fault.kind === 'no Redis' ? 1 : 0), fault);
      await delay(fault.ms);
  }
}

function cutOff(proxies: ProxyProcess, at: number, { how, ms }: { how: 'stall' | 'drop'; ms: number }): void {
  if (how === 'stall') proxies.apply(at, { kind: 'stall', direction: 'both', ms });
  else {
    proxies.apply(at, { kind: 'half-open', ms });
    proxies.apply(at, { kind: 'cut' });
  }
}

/** Counts the connections that a proxy accepts, for each second. */
export async function countConnects(haproxy: Stage['haproxy']) {
  const first = await haproxy.opened();
  const ending = new AbortController();
  let last = first;
  let mostInSecond = 0;
  const counting = (async () => {
    while (!ending.signal.aborted) {
      await delay(1_000, undefined, { signal: ending.signal }).catch(() => undefined);
      const opened = await haproxy.opened();
      mostInSecond = Math.max(mostInSecond, opened - last);
      last = opened;
    }
  })();
  return async () => {
    ending.abort();
    await counting;
    return { all: last - first, mostInSecond };
  };
}
