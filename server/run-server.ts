import type { Server } from 'node:http';
import pino from 'pino';
import type { Registry as PrometheusRegistry } from 'prom-client';
import { type ErrorCode, objectOf } from '../shared/errors.ts';
import type { RunwireEvents } from '../shared/events.ts';
import { HEARTBEAT_MS } from '../shared/protocol.ts';
import type { Registry } from '../shared/registry.ts';
import type { ServerStats } from '../shared/server-stats.ts';
import { createRouter, type ServerRouter } from './api/router.ts';
import type { Approvals } from './approvals/approvals.ts';
import type { Principal } from './auth/principal.ts';
import { SocketlessTransports } from './delivery/socketless-transports.ts';
import type { EventLog } from './event-log/contract/store.ts';
import { isPostgresUrl } from './event-log/database-url.ts';
import { createDispatcher, type Route } from './http/dispatch.ts';
import { HttpServer } from './http/http-server.ts';
import { RequestAuthenticator } from './http/identify.ts';
import { InFlight } from './http/in-flight.ts';
import { Origins } from './http/origins.ts';
import { createRoutes } from './http/routes.ts';
import { TrustedProxies } from './http/trusted-proxies.ts';
import type { InternalOptions, RunServerOptions } from './options.ts';
import { createLineageRoutes } from './producers/openlineage/route.ts';
import { RunEventBroadcaster } from './publishing/broadcaster.ts';
import type { EventBus } from './publishing/bus.ts';
import { PublishGateway } from './publishing/gateway.ts';
import { openServices } from './services.ts';
import { SharedUsage } from './shared-usage.ts';
import { Turns } from './slices.ts';
import { Stats } from './stats.ts';
import { versionWarning } from './trpc-version.ts';
import { Connections } from './ws/connections.ts';
import { createSockets } from './ws/upgrade.ts';

/** Creates the parts of a server, connects them, and closes them in order at shutdown. */

export type { InternalOptions, RunServerOptions } from './options.ts';

/** A server in this process: the bus, the broadcaster, the router, and the functions that attach, listen and close. */
export type RunServer<R extends Registry = RunwireEvents> = AsyncDisposable & {
  router: ServerRouter<R>;
  bus: Pick<EventBus<R>, 'publish' | 'subscribe' | 'published'>;
  broadcaster: RunEventBroadcaster;
  /** Lets server code wait until an approval is decided. To decide an approval, server code calls the router. */
  approvals: Pick<Approvals, 'wait'>;
  log: EventLog;
  getStats(): ServerStats;
  /** The Prometheus registry that `/metrics` serves. Server code may add metrics to it, or serve it elsewhere. */
  metrics: PrometheusRegistry;
  /** Opens the server's own HTTP server with every route and the web app. Resolves once clients can connect. */
  listen(): Promise<{ url: string; host: string; port: number }>;
  /**
   * Serves `/ws`, `/trpc` and `/api/v1` on an existing HTTP server, which handles all other paths with its own
   * listeners. `close()` detaches this server and leaves the HTTP server open.
   */
  attach(httpServer: Server): void;
  /** Closes client connections, then the log. Resolves once every resource is released. */
  close(): Promise<void>;
};

/**
 * Opens the event log, and resolves with a server that accepts requests after `listen()` or `attach()`. Throws
 * `INVALID_INPUT` for invalid options, and `UNAVAILABLE` if the log cannot be opened.
 */
export function createRunServer<R extends Registry = RunwireEvents>(
  options: RunServerOptions<R> = {},
): Promise<RunServer<R>> {
  return openRunServer<R>(options);
}

/** {@link createRunServer} for tests and benchmarks: accepts internal options, and also returns the route table. */
export async function openRunServer<R extends Registry = RunwireEvents>(
  options: RunServerOptions<R> & InternalOptions,
): Promise<RunServer<R> & { routes: readonly Route[] }> {
  const { host = '127.0.0.1', port = 3001, heartbeatMs = HEARTBEAT_MS } = objectOf(options, 'options');
  const { compression = false, logger = pino({ level: 'warn' }) } = options;
  const { onlyLocalHosts, onlyThisMachine } = options;
  const origins = new Origins({ allowed: options.allowedOrigins, onlyLocalHosts, onlyThisMachine });
  const proxies = new TrustedProxies(options.trustedProxies);
  const services = await openServices<R>(options, logger);
  const { registry, limits, metrics, health, log, identity, peers, privacy, bus, delivery, access } = services;
  const { webhooks, approvals, clock, retention, audit, outbox } = services;
  const { credentials, oidc, invalidReasonOf } = identity;
  const streams = new SocketlessTransports({ invalidReasonOf, limits });
  const warning = versionWarning();
  if (warning) logger.warn(warning);
  const gateway: PublishGateway<R> = new PublishGateway(bus, limits, (user, events) => usage.took(user, events));
  const connections: Connections = new Connections({
    ...{ heartbeatMs, isDirect: options.delivery !== 'iterator', limits, invalidReasonOf },
    lastId: firstIdOf(peers.id, isPostgresUrl(options.databaseUrl ?? '')),
    onSweep: () => streams.review(),
    elsewhere: (user) => usage.elsewhere(user),
  });
  const usage = new SharedUsage({
    nodes: log.nodes,
    open: () => connections.users(),
    onTook: (user, events) => gateway.tookElsewhere(user, events),
  });
  credentials.onRevoked(() => {
    connections.review();
    streams.review();
  });
  const inFlight = new InFlight();
  const counted = { log, bus, delivery, connections, streams, inFlight };
  metrics.addSources({ ...counted, access, health, retention, webhooks, outbox });
  const stats = new Stats({ ...services, connections });
  const onRejected = (code: ErrorCode) => metrics.rejected(code);
  const common = { registry, log, gateway, access, credentials, identity, health, logger };
  const own = { delivery, approvals, audit, webhooks: webhooks.calls, streams, peers };
  const router = createRouter({ ...common, ...own, onRejected, stats, connections });
  const cookieName = `runwire_${log.id}`;
  const turns = new Turns();
  const authenticator = new RequestAuthenticator({ credentials, origins, cookieName, turns });
  const onRenewed = (principal: Principal) => connections.renewed(principal);
  const shared = { ...common, router, authenticator, cookieName, inFlight, turns, limits, oidc, proxies, onRenewed };
  const upgrade = createSockets({ ...shared, connections, origins, compression });
  let isClosing = false;
  // Any read shows whether the log works, so this one searches for a run id that does not exist.
  const isReading = () => log.runs.projectsOf('').then(Boolean, () => false);
  const isReady = async () =>
    !isClosing && health.problems.size === 0 && log.isCurrent && (await isReading()) && log.isCurrent;
  const routes = [
    ...createRoutes({ ...shared, metrics: metrics.registry, isReady }),
    ...createLineageRoutes({ gateway, privacy, state: log.producerState, logger }),
  ];
  const dispatcher = createDispatcher({ ...shared, routes, origins, onRejected });
  const http = new HttpServer({ dispatcher, upgrade, host, port });

  const close = once(async () => {
    isClosing = true;
    for (const part of [clock, retention]) part.close();
    http.stop();
    await connections.close(options.shutdownSpreadMs ?? Math.min(2_000, 2 * connections.count));
    delivery.close(); // Ends server-sent event streams: `http.close()` would wait for them.
    await http.close();
    for (const part of [stats, usage]) part.close();
    services.stop();
    await services.close();
  });

  return {
    bus,
    approvals,
    log,
    routes,
    close,
    [Symbol.asyncDispose]: close,
    router: router as never,
    broadcaster: new RunEventBroadcaster(bus as never),
    getStats: () => stats.read(),
    metrics: metrics.registry,
    listen: () => http.listen(),
    attach: (server) => http.attach(server),
  };
}

/** Ids of connections are unique among the servers of a log: those of a server begin at a number that its random id gives. */
const firstIdOf = (nodeId: string, isShared: boolean): number =>
  isShared ? (1 + Number.parseInt(nodeId.slice(0, 5), 16)) * 2 ** 32 : 0;

/** Returns a function that calls `work` once, and returns the same promise at each call. */
function once(work: () => Promise<void>): () => Promise<void> {
  let begun: Promise<void> | undefined;
  return () => {
    begun ??= work();
    return begun;
  };
}
