import { connect, createServer, type Socket } from 'node:net';
import { inject } from 'vitest';
import { silentBackplane } from '../../server/event-log/postgres/backplane.ts';
import { type InternalOptions, openRunServer, type RunServerOptions } from '../../server/run-server.ts';
import type { RunwireEvents } from '../../shared/events.ts';
import { consoleLogger } from './console-logger.ts';
import { createDatabase, dropDatabase } from './postgres.ts';

/** Several servers in this process that share a log in a PostgreSQL database of their own. */

export type BackplaneKind = 'redis' | 'notify' | 'none';
export type Node = Awaited<ReturnType<typeof openRunServer<RunwireEvents>>>;
type Options = RunServerOptions & InternalOptions;

/** Long enough for any node to follow; a node that does not follow fails the test. */
const REACH_MS = 20_000;

export type Nodes = AsyncDisposable & {
  readonly databaseUrl: string;
  readonly nodes: readonly Node[];
  /** Opens one more server on the same log. */
  add(more?: Options): Promise<Node>;
  /** Resolves once every open node has all events that any node has acknowledged. */
  settled(): Promise<void>;
};

/** `options`: of each server. */
export async function openNodes(
  { count = 3, backplane = 'notify' as BackplaneKind },
  options: Options = {},
): Promise<Nodes> {
  const postgres = inject('postgres');
  if (postgres === undefined) throw new Error('PostgreSQL is not installed');
  const databaseUrl = await createDatabase(postgres);
  const redisUrl = inject('redis');
  if (backplane === 'redis' && redisUrl === undefined) throw new Error('Redis is not installed');
  const nodes: Node[] = [];
  const add = async (more: Options = {}) => {
    const node = await openRunServer({
      port: 0,
      shutdownSpreadMs: 0,
      logger: consoleLogger,
      ...(backplane === 'none' ? { backplane: silentBackplane } : {}),
      ...(backplane === 'redis' ? { redisUrl } : {}),
      ...options,
      ...more,
      databaseUrl,
    });
    nodes.push(node);
    return node;
  };
  const dispose = async () => {
    await Promise.all(nodes.map((node) => node.close()));
    await dropDatabase(postgres, databaseUrl);
  };
  try {
    for (let index = 0; index < count; index++) await add();
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    databaseUrl,
    nodes,
    add,
    settled: async () => {
      const { seq } = await (nodes[0] as Node).log.durableHead();
      const reached = await Promise.all(nodes.map(({ log }) => log.reached(seq, REACH_MS)));
      if (!reached.every(Boolean)) throw new Error(`a node has not reached ${seq}`);
    },
    [Symbol.asyncDispose]: dispose,
  };
}

/**
 * Three servers on one log with the face of one, for tests that were written for one. The router, the bus and the waits are of
 * different nodes, and each connection of a client goes to the next node. A publish through the bus resolves once every node
 * has the events, since such tests look at the log next.
 */
export async function openAsOne(options: Options): Promise<Node> {
  const cluster = await openNodes({}, options);
  const [first, second, third] = cluster.nodes as [Node, Node, Node];
  let closing: Promise<void> | undefined;
  const proxies: (() => Promise<void>)[] = [];
  const close = () => {
    closing ??= (async () => {
      for (const stop of proxies) await stop();
      await cluster[Symbol.asyncDispose]();
    })();
    return closing;
  };
  const { bus } = first;
  return {
    ...first,
    router: second.router,
    approvals: third.approvals,
    bus: {
      get published() {
        return bus.published;
      },
      subscribe: (observer) => bus.subscribe(observer),
      publish: async (drafts, publisher) => {
        const published = await bus.publish(drafts, publisher);
        await cluster.settled();
        return published;
      },
    },
    listen: async () => {
      const places = await Promise.all(cluster.nodes.map((node) => node.listen()));
      const { port, stop } = await startRoundRobin(places.map((place) => place.port));
      proxies.push(stop);
      return { url: `http://127.0.0.1:${port}`, host: '127.0.0.1', port };
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A TCP proxy that connects its clients to the ports in turn. */
async function startRoundRobin(ports: readonly number[]) {
  const sockets = new Set<Socket>();
  let next = 0;
  const proxy = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port: ports[next++ % ports.length] as number, host: '127.0.0.1', allowHalfOpen: true });
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroySoon();
      });
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  return {
    port: (proxy.address() as { port: number }).port,
    stop: async () => {
      const closed = new Promise((resolve) => proxy.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
