import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { TestProject } from 'vitest/node';
import type { Role } from '../../server/auth/principal.ts';
import { type RunEventDraft, type RunwireEvents, runwireEvents } from '../../shared/events.ts';
import type { ServerStats } from '../../shared/server-stats.ts';
import { tokenFor } from '../support/harness.ts';
import { ownEvents } from '../support/own-events.ts';
import { startCuttableServer } from './server.ts';

/** Runs real servers for tests in a browser. The tests control them over HTTP: `POST /<action>` with JSON. */

type Served = Awaited<ReturnType<typeof startCuttableServer>>;

export type Actions = {
  /** Starts a server that accepts requests from pages of `origin`. `hasOwnTypes`: with the registry `ownEvents`. */
  open(input: {
    origin: string;
    hasOwnTypes?: boolean;
  }): Promise<{ port: number; url: string; token: string; cookieName: string }>;
  /** Creates a token. Default: of `ada`, with all roles, for all projects. */
  token(input: { sub?: string; roles?: Role[]; projects?: string[] }): Promise<string>;
  /** Destroys all connections of a server. */
  cut(input: { port: number }): Promise<void>;
  /** Replaces a server with one with an empty log at the same address. */
  replace(input: { port: number }): Promise<void>;
  /** Stops all traffic of the open WebSockets. */
  freeze(input: { port: number }): Promise<void>;
  /** Publishes in the server's process, without a connection. */
  publish(input: { port: number; events: RunEventDraft[] }): Promise<void>;
  /** Stops listening and destroys all connections. The log stays open. */
  away(input: { port: number }): Promise<void>;
  /** Listens again at the same address. */
  back(input: { port: number }): Promise<void>;
  /** Trims all events of the log but the last. */
  trim(input: { port: number }): Promise<void>;
  stats(input: { port: number }): Promise<ServerStats>;
  /** Starts the application of the former system, once, and returns its port. */
  formerApp(input: object): Promise<{ port: number }>;
  /** Destroys the connections of the application of the former system. */
  cutFormerApp(input: object): Promise<void>;
  close(input: { port: number }): Promise<void>;
};

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const servers = new Map<number, { server: Served; origin: string }>();
  const serverAt = (port: number) => {
    const found = servers.get(port);
    if (!found) throw new Error('no such server');
    return found;
  };
  let former: Awaited<ReturnType<typeof startFormerApp>> | undefined;
  const actions: Actions = {
    open: async ({ origin, hasOwnTypes }) => {
      const events = (hasOwnTypes ? ownEvents : runwireEvents) as RunwireEvents;
      const server = await startCuttableServer({ allowedOrigins: [origin], events });
      const { port } = new URL(server.url);
      servers.set(Number(port), { server, origin });
      const cookieName = `runwire_${server.log.epoch}`;
      return { port: Number(port), url: server.url, token: await tokenFor(), cookieName };
    },
    formerApp: async () => {
      former ??= await startFormerApp();
      return { port: former.port };
    },
    cutFormerApp: async () => former?.cut(),
    token: (input) => tokenFor(input),
    cut: async ({ port }) => serverAt(port).server.cut(),
    replace: async ({ port }) => {
      const { server, origin } = serverAt(port);
      await server.close();
      servers.set(port, { server: await startCuttableServer({ allowedOrigins: [origin] }, port), origin });
    },
    freeze: async ({ port }) => serverAt(port).server.freeze(),
    publish: async ({ port, events }) => {
      await serverAt(port).server.bus.publish(events, { actor: 'ada' });
    },
    away: async ({ port }) => serverAt(port).server.away(),
    back: async ({ port }) => serverAt(port).server.back(),
    trim: async ({ port }) => {
      await serverAt(port).server.log.trim(Date.now() + 60_000);
    },
    stats: async ({ port }) => serverAt(port).server.getStats(),
    close: async ({ port }) => {
      const { server } = serverAt(port);
      servers.delete(port);
      await server.close();
    },
  };

  const http = createServer(async (request, response) => {
    response.setHeader('access-control-allow-origin', '*');
    const name = request.url?.slice(1) as keyof Actions;
    let body = '';
    for await (const chunk of request) body += chunk;
    try {
      const answer = await actions[name](JSON.parse(body));
      response.end(JSON.stringify(answer ?? null));
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  project.provide('control', `http://127.0.0.1:${(http.address() as AddressInfo).port}`);
  return async () => {
    http.closeAllConnections();
    await new Promise((resolve) => http.close(resolve));
    await Promise.all([former?.close(), ...[...servers.values()].map(({ server }) => server.close())]);
  };
}

declare module 'vitest' {
  interface ProvidedContext {
    /** Address of the control server. */
    control: string;
  }
}

async function startFormerApp() {
  process.env.PORT = '0';
  const { httpServer, gracefulShutdown } = await import('../compat/new-app/server/index.ts');
  const sockets = new Set<Socket>();
  httpServer.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  if (!httpServer.listening) await once(httpServer, 'listening');
  const { port } = httpServer.address() as AddressInfo;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const close = async () => {
    const closed = once(httpServer, 'close');
    gracefulShutdown();
    cut();
    await closed;
  };
  return { port, cut, close };
}
