import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname } from 'node:path';
import pino, { type Logger } from 'pino';
import type { Registry as PrometheusRegistry } from 'prom-client';
import { type RunwireEvents, runwireEvents } from '../shared/events.ts';
import { foldOf, type Registry } from '../shared/registry.ts';
import type { ServerStats } from '../shared/server-stats.ts';
import { tombstoneOf } from '../shared/tombstone.ts';
import { createRouter, type ServerRouter } from './api/router.ts';
import { Approvals } from './approvals/approvals.ts';
import { ApprovalExpiry } from './approvals/expiry.ts';
import { AccessLogger } from './audit/access-logger.ts';
import { Audit } from './audit/audit.ts';
import { authenticatorOf } from './auth/authenticator.ts';
import { Credentials } from './auth/credentials.ts';
import { coversProjects } from './auth/permissions.ts';
import type { Authenticate, Principal } from './auth/principal.ts';
import { Delivery } from './delivery/delivery.ts';
import { SocketlessTransports } from './delivery/streams.ts';
import { toRunwireError, toTRPCError } from './errors.ts';
import type { EventLog } from './event-log/contract/store.ts';
import { databasePath } from './event-log/database-url.ts';
import { openSqliteLog } from './event-log/sqlite/log.ts';
import { attachTo, HTTP_GRACE_MS, WS_PATH } from './http/http-server.ts';
import { pathOf, refuseSocket } from './http/messages.ts';
import { Origins } from './http/origins.ts';
import { createRoutes } from './http/routes.ts';
import { type Limits, limitsOf } from './limits.ts';
import { Metrics } from './metrics.ts';
import { createPhiGuard, type PhiOptions } from './phi/guard.ts';
import { Privacy } from './phi/identifiers.ts';
import type { Guard, PhiPolicy } from './phi/policy.ts';
import { RunEventBroadcaster } from './publishing/broadcaster.ts';
import { EventBus } from './publishing/bus.ts';
import { PublishGateway } from './publishing/gateway.ts';
import { Rates } from './stats.ts';
import { Connections } from './ws/connections.ts';
import { createSockets } from './ws/upgrade.ts';

/** Puts the parts together, and takes them down in order. */

export type RunServerOptions<R extends Registry = RunwireEvents> = {
  /** `file:PATH` or `memory:`; default `memory:`. */
  databaseUrl?: string;
  /** HS256 secret of at least 32 bytes, checked with issuer and audience where they are given. */
  authSecret?: string | undefined;
  /** Instead of a secret, where an issuer publishes the keys that it signs tokens with. */
  authJwksUrl?: string | undefined;
  authIssuer?: string | undefined;
  authAudience?: string | undefined;
  /** Turns a token into a principal instead; throws a `RunwireError` `UNAUTHENTICATED` to refuse it. */
  authenticate?: Authenticate;
  /** Default 127.0.0.1 and 3001; port 0 takes a free one. */
  host?: string;
  port?: number;
  /** Browser origins beside the server's own, as `https://app.example.org`. */
  allowedOrigins?: string[];
  /**
   * Refuses requests that are addressed to any other than a local name or the host of an allowed origin, as for a server
   * on somebody's own machine; default false, since a proxy hands on the name that it is known by.
   */
  onlyLocalHosts?: boolean;
  /** What the guard does with protected information; default `reject`. */
  phiPolicy?: PhiPolicy;
  /** Fields that the guard leaves alone, and identifiers of your own that it is to find. */
  phi?: PhiOptions | undefined;
  /** Looks at drafts instead of the ready-made guard. */
  guard?: Guard;
  /** Events are forgotten after so many days; default never. */
  retentionDays?: number | undefined;
  /** Interval of pings; a client that is silent for two of them is cut off. Default 30,000. */
  heartbeatMs?: number;
  /** How long a reader may hear nothing while the head moves on; default 30,000. */
  quietMs?: number;
  /**
   * How events get to WebSockets: `direct`, one frame for all who are sent the same, written to their sockets; or
   * `iterator`, one by one through tRPC's own loop, several times slower: for when an upgrade of tRPC has changed the
   * ground under the first. Default `direct`.
   */
  delivery?: 'direct' | 'iterator';
  /** What one client may ask for; default {@link defaultLimits}. */
  limits?: Partial<Limits>;
  /** Takes permessage-deflate where a client offers it. It costs far more than it saves on a fast network; default false. */
  compression?: boolean;
  /** Over how long clients are sent away at the end; default 2 ms a client, at most 2,000. */
  shutdownSpreadMs?: number;
  /** Event types; default the twelve. */
  events?: R;
  /** Default: warnings and errors to stdout as JSON. */
  logger?: Logger;
};

export type RunServer<R extends Registry = RunwireEvents> = AsyncDisposable & {
  router: ServerRouter<R>;
  bus: EventBus<R>;
  broadcaster: RunEventBroadcaster;
  /** For server code that waits for a decision; decisions themselves are made by the router. */
  approvals: Pick<Approvals, 'wait'>;
  log: EventLog;
  getStats(): ServerStats;
  /** What `/metrics` shows: to add to, or to serve elsewhere. */
  metrics: PrometheusRegistry;
  /** Serves everything, the web app too. Resolves once connections are taken. */
  listen(): Promise<{ url: string; host: string; port: number }>;
  /**
   * Serves `/ws`, `/trpc` and `/api/v1` of a server that is there already, and leaves every other path to its own
   * listeners. Closing that server is its owner's business, after `close()`.
   */
  attach(httpServer: Server): void;
  /** Sends clients away, then closes the log. Resolves when all is released. */
  close(): Promise<void>;
};

const DAY_MS = 86_400_000;
const TRIM_INTERVAL_MS = 3_600_000;
/** Opens the log and makes a server that is ready to listen or to be attached. Throws `INVALID_INPUT`, `UNAVAILABLE`. */
export async function createRunServer<R extends Registry = RunwireEvents>(
  options: RunServerOptions<R> = {},
): Promise<RunServer<R>> {
  const {
    host = '127.0.0.1',
    port = 3001,
    heartbeatMs = 30_000,
    logger = pino({ level: 'warn' }),
    retentionDays,
  } = options;
  const registry = (options.events ?? runwireEvents) as R;
  const authenticate = authenticatorOf(options, logger);
  const limits = limitsOf(options.limits);
  const origins = new Origins({ allowed: options.allowedOrigins, onlyLocalHosts: options.onlyLocalHosts });
  const guard = options.guard ?? createPhiGuard(registry, options.phi);
  const path = databasePath(options.databaseUrl ?? 'memory:');
  // What the options may be refused for comes before: an open log keeps the next server out.
  const log = await openSqliteLog({
    path,
    fold: foldOf(registry) as never,
    onFailure: (error) => logger.error({ err: error }, 'the event log failed'),
    onCommit: (commit) => metrics.committed(commit),
    onDamage: ({ seq }) =>
      logger.error({ seq }, 'the event log does not end as it was left: `runwire verify` tells more'),
  });
  const timeoutMs = limits.identifyMs;
  const { revocations } = log;
  const credentials = await Credentials.open({ authenticate, revocations, timeoutMs, logger }).catch(async (error) => {
    await log.close();
    throw error;
  });
  const invalidReasonOf = (principal: Principal) => credentials.invalidReasonOf(principal);
  const phiPolicy = options.phiPolicy ?? 'reject';
  const privacy = new Privacy({ guard, policy: phiPolicy, secret: log.secret, logger });
  const bus = new EventBus({
    registry,
    log,
    logger,
    phiPolicy,
    guard,
    onPublished: (ms) => metrics.published(ms),
  });
  const delivery = new Delivery({
    log,
    quietMs: options.quietMs,
    // Errors thrown while iterating never pass the router's middleware.
    translate: (error) => toTRPCError(toRunwireError(error)),
  });
  const approvals = new Approvals({ log, bus: bus as never });
  const expiry = new ApprovalExpiry({ log, logger });
  const audit = new Audit({ log, privacy, tombstone: tombstoneOf(registry), folder: folderOf(path), logger });
  // Readers first: a slow observer of the bus must not delay them.
  const stopListening = log.subscribe((records) => {
    delivery.committed(records);
    bus.committed(records);
    approvals.committed(records);
    expiry.committed(records);
    audit.committed();
  });
  log.onErased((tombstone) => delivery.erased(tombstone));
  const access = new AccessLogger({ log, logger, isRefused: (id) => privacy.isRefused(id) });
  const connections = new Connections({
    heartbeatMs,
    isDirect: options.delivery !== 'iterator',
    limits,
    invalidReasonOf,
  });
  const streams = new SocketlessTransports(invalidReasonOf);
  credentials.onRevoked(() => {
    connections.review();
    streams.review();
  });
  const metrics = new Metrics({ log, bus, delivery, connections, access });
  const rates = new Rates(() => ({ published: bus.published, delivered: delivery.counts.delivered }));
  const startedAt = performance.now();
  let isClosing = false;

  const getStats = (seenBy?: Principal): ServerStats => {
    const clients = connections.stats((principal) => seenBy === undefined || coversProjects(seenBy, principal));
    const { subscriptions } = connections.totals();
    const perSecond = rates.perSecond();
    return {
      epoch: log.epoch,
      head: log.head,
      oldest: log.oldest,
      uptimeMs: Math.round(performance.now() - startedAt),
      connections: connections.count,
      subscriptions,
      published: bus.published,
      delivered: delivery.counts.delivered,
      publishedPerSecond: perSecond.published,
      deliveredPerSecond: perSecond.delivered,
      clients,
    };
  };

  const publishing = new PublishGateway(bus, limits);
  const router = createRouter({
    registry,
    log,
    publishing,
    delivery,
    approvals,
    audit,
    access,
    credentials,
    streams,
    stats: getStats,
    onRejected: (code) => metrics.rejected(code),
    logger,
  });
  const cookieName = `runwire_${log.epoch}`;
  const routes = createRoutes({
    registry,
    router,
    log,
    publishing,
    privacy,
    access,
    credentials,
    origins,
    cookieName,
    limits,
    metrics,
    logger,
    // Any read shows whether the log answers.
    isReady: async () => !isClosing && (await log.projectsOf('').then(Boolean, () => false)),
  });

  const upgrade = createSockets({
    router,
    connections,
    access,
    credentials,
    origins,
    cookieName,
    limits,
    compression: options.compression ?? false,
    logger,
    isClosing: () => isClosing,
  });

  const httpServer = createServer(routes.all);
  httpServer.on('upgrade', (request, socket, head) => {
    if (pathOf(request) === WS_PATH) upgrade(request, socket, head);
    else refuseSocket(socket, '404 Not Found');
  });
  httpServer.on('clientError', (_error, socket) => refuseSocket(socket, '400 Bad Request'));
  const detachers: (() => void)[] = [];

  const trim = () => {
    log.trim(Date.now() - (retentionDays ?? 0) * DAY_MS).catch((error) => {
      if (!isClosing) logger.error({ err: error }, 'trimming the log failed');
    });
  };
  const trimmer = retentionDays === undefined ? undefined : setInterval(trim, TRIM_INTERVAL_MS).unref();
  if (retentionDays !== undefined) trim();

  let closing: Promise<void> | undefined;
  const shutDown = async (): Promise<void> => {
    isClosing = true;
    clearInterval(trimmer);
    for (const detach of detachers) detach();
    const stopped = new Promise<void>((resolve) => httpServer.close(() => resolve()));
    httpServer.closeIdleConnections();
    await connections.close(options.shutdownSpreadMs ?? Math.min(2_000, 2 * connections.count));
    delivery.close();
    const grace = setTimeout(() => httpServer.closeAllConnections(), HTTP_GRACE_MS);
    await stopped;
    clearTimeout(grace);
    stopListening();
    rates.close();
    expiry.close();
    approvals.close();
    bus.close();
    await audit.close();
    await access.close();
    await log.close();
  };
  const close = () => {
    closing ??= shutDown();
    return closing;
  };

  return {
    router: router as never,
    bus,
    broadcaster: new RunEventBroadcaster(bus as never),
    approvals,
    log,
    getStats: () => getStats(),
    metrics: metrics.registry,
    listen: () =>
      new Promise((resolve, reject) => {
        httpServer.once('error', reject);
        httpServer.listen(port, host, () => {
          httpServer.off('error', reject);
          const address = httpServer.address() as AddressInfo;
          const name = address.family === 'IPv6' ? `[${address.address}]` : address.address;
          resolve({ url: `http://${name}:${address.port}`, host: address.address, port: address.port });
        });
      }),
    attach: (server) => {
      detachers.push(attachTo(server, routes.own, upgrade));
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

const folderOf = (path: string): string | undefined => (path === ':memory:' ? undefined : dirname(path));
