import type { Server } from 'node:http';
import pino, { type Logger } from 'pino';
import type { Registry as PrometheusRegistry } from 'prom-client';
import type { ErrorCode } from '../shared/errors.ts';
import { checkRegistry, type RunwireEvents, runwireEvents } from '../shared/events.ts';
import { HEARTBEAT_MS } from '../shared/protocol.ts';
import { categoriesOf, type Registry } from '../shared/registry.ts';
import type { ServerStats } from '../shared/server-stats.ts';
import { tombstoneOf } from '../shared/tombstone.ts';
import { createRouter, type ServerRouter } from './api/router.ts';
import { Approvals } from './approvals/approvals.ts';
import { ApprovalExpiry } from './approvals/expiry.ts';
import { AccessLogger } from './audit/access-logger.ts';
import { Audit } from './audit/audit.ts';
import { createAuthenticator } from './auth/authenticator.ts';
import { type Identity, type IdentityOptions, openIdentity } from './auth/identity.ts';
import { type Authenticate, type Principal, SERVER } from './auth/principal.ts';
import { Clock } from './clock.ts';
import { Delivery } from './delivery/delivery.ts';
import { deliveryMode } from './delivery/mode.ts';
import { SocketlessTransports } from './delivery/socketless-transports.ts';
import { toRunwireError, toTRPCError } from './errors.ts';
import type { StoredEvent } from './event-log/contract/log.ts';
import type { EventLog } from './event-log/contract/store.ts';
import { logPlaceOf } from './event-log/database-url.ts';
import { Health } from './health.ts';
import { createDispatcher, type Route } from './http/dispatch.ts';
import { HttpServer } from './http/http-server.ts';
import { RequestAuthenticator } from './http/identify.ts';
import { InFlight } from './http/in-flight.ts';
import { Origins } from './http/origins.ts';
import { createRoutes } from './http/routes.ts';
import { TrustedProxies } from './http/trusted-proxies.ts';
import { limitsOf } from './limits.ts';
import { Metrics } from './metrics.ts';
import { openLog } from './open-log.ts';
import { checkOptions, type InternalOptions, type RunServerOptions } from './options.ts';
import { createPhiGuard } from './phi/guard.ts';
import { Privacy } from './phi/identifiers.ts';
import type { Guard } from './phi/policy.ts';
import { createLineageRoutes } from './producers/openlineage/route.ts';
import { RunEventBroadcaster } from './publishing/broadcaster.ts';
import { EventBus } from './publishing/bus.ts';
import { PublishGateway } from './publishing/gateway.ts';
import { OutboxMover } from './publishing/outbox-mover.ts';
import { Retention } from './retention.ts';
import { Turns } from './slices.ts';
import { Stats } from './stats.ts';
import { WebhookAddresses } from './webhooks/addresses.ts';
import { Webhooks } from './webhooks/webhooks.ts';
import { Connections } from './ws/connections.ts';
import { createSockets } from './ws/upgrade.ts';

/** Creates the parts of a server, connects them, and closes them in order at shutdown. */

export type { InternalOptions, RunServerOptions } from './options.ts';

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
  const { host = '127.0.0.1', port = 3001, heartbeatMs = HEARTBEAT_MS, logger = pino({ level: 'warn' }) } = options;
  const { phiPolicy = 'reject', compression = false, retentionDays: days, retentionRunsDays: runsDays } = options;
  const registry = (options.events ?? runwireEvents) as R;
  const authenticate = createAuthenticator(options, logger);
  checkOptions(options);
  checkRegistry(registry);
  const limits = limitsOf(options.limits);
  const origins = new Origins({ allowed: options.allowedOrigins, onlyLocalHosts: options.onlyLocalHosts });
  const proxies = new TrustedProxies(options.trustedProxies);
  const policy = phiPolicy === 'off' ? 'redact' : phiPolicy;
  const guard = options.guard ?? guardOf(registry, options, logger);
  const addresses = new WebhookAddresses(options.webhookAllow);
  const place = logPlaceOf(options.databaseUrl ?? 'memory:');
  const metrics = new Metrics();
  const health = new Health(logger);
  // Opened after all checks of options: a log that stays open keeps its lock, which blocks the next server.
  const { log, isProven, folder } = await openLog(place, options, { registry, metrics, health, logger });
  const identity = await openCallers(log, authenticate, options, limits.identifyMs, logger);
  const { credentials, oidc, invalidReasonOf } = identity;
  const privacy = new Privacy({ guard, policy, secret: log.secret, logger });
  const onPublished = (ms: number) => metrics.published(ms);
  const bus = new EventBus({ registry, log, health, phiPolicy: policy, guard, onPublished });
  // Translates errors of subscriptions: an error thrown during iteration does not pass the router's middleware.
  const translate = (error: unknown) => toTRPCError(toRunwireError(error));
  const delivery = new Delivery({ log, quietMs: options.quietMs, translate });
  const access = new AccessLogger({ log, health, isRefused: (id) => privacy.isRefused(id) });
  const webhooks = await openWebhooks(options, { log, delivery, registry, addresses, privacy, access, health });
  const approvals = new Approvals({ log, bus: bus as never });
  const expiry = new ApprovalExpiry({ log, health });
  const clock = new Clock({ log, health });
  const retention = new Retention({ log, clock, days, runsDays, logger });
  const onClockConfirmed = () => clock.confirm().then(() => void retention.run());
  const tombstone = tombstoneOf(registry);
  const audit = new Audit({ log, privacy, tombstone, folder, logger, onClockConfirmed });
  // `delivery` serves the subscriptions. It comes first, because a slow observer of the bus must not delay them.
  const stops = follow(log, delivery, [delivery, bus, approvals, expiry, audit, webhooks]);
  if (!isProven) await audit.begin();
  const streams = new SocketlessTransports({ invalidReasonOf, limits });
  const { mode, warning } = deliveryMode(options.delivery);
  if (warning) logger.warn(warning);
  const onSweep = () => streams.review();
  const connections = new Connections({ heartbeatMs, isDirect: mode === 'direct', limits, invalidReasonOf, onSweep });
  credentials.onRevoked(() => {
    connections.review();
    streams.review();
  });
  const inFlight = new InFlight();
  const outbox = log.outbox && new OutboxMover({ outbox: log.outbox, bus: bus as never, nodes: log.nodes, health });
  const counted = { log, bus, delivery, connections, streams, inFlight };
  metrics.addSources({ ...counted, access, health, retention, webhooks, outbox });
  const stats = new Stats({ log, bus, delivery, connections, metrics, phiPolicy, audit, retention });

  const gateway = new PublishGateway(bus, limits);
  const onRejected = (code: ErrorCode) => metrics.rejected(code);
  const common = { registry, log, gateway, access, credentials, identity, health, logger };
  const own = { delivery, approvals, audit, webhooks, streams };
  const router = createRouter({ ...common, ...own, onRejected, stats, connections });
  const cookieName = `runwire_${log.id}`;
  const turns = new Turns();
  const authenticator = new RequestAuthenticator({ credentials, origins, cookieName, turns });
  const onRenewed = (principal: Principal) => connections.renewed(principal);
  const shared = { ...common, router, authenticator, cookieName, inFlight, turns, limits, oidc, proxies, onRenewed };
  const upgrade = createSockets({ ...shared, connections, origins, compression });
  let isClosing = false;
  // Any read shows whether the log works, so this one searches for a run id that does not exist.
  const isReady = async () =>
    !isClosing &&
    health.problems.size === 0 &&
    log.isCurrent &&
    (await log.runs.projectsOf('').then(Boolean, () => false));
  const routes = [
    ...createRoutes({ ...shared, metrics: metrics.registry, isReady }),
    ...createLineageRoutes({ gateway, privacy, state: log.producerState, logger }),
  ];
  const dispatcher = createDispatcher({ ...shared, routes, origins, onRejected });
  const http = new HttpServer({ dispatcher, upgrade, host, port });

  const shutDown = async (): Promise<void> => {
    isClosing = true;
    for (const part of [clock, retention]) part.close();
    http.stop();
    await connections.close(options.shutdownSpreadMs ?? Math.min(2_000, 2 * connections.count));
    delivery.close(); // Ends server-sent event streams: `http.close()` would wait for them.
    await http.close();
    for (const stop of stops) stop();
    for (const part of [stats, expiry, approvals, bus]) part.close();
    for (const part of [outbox, webhooks, audit, access, log]) await part?.close();
  };
  const close = once(shutDown);

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

/** Gives the commits to the parts of the server, in their order. Returns the functions that end this. */
function follow(
  log: EventLog,
  delivery: Delivery,
  parts: readonly { committed(records: readonly StoredEvent[]): void }[],
): (() => void)[] {
  return [
    ...parts.map((part) => log.subscribe((records) => part.committed(records))),
    log.integrity.onErased((tombstone) => delivery.erased(tombstone)),
    log.onEpoch(() => delivery.renewed()),
  ];
}

/** Returns a function that calls `work` once, and returns the same promise at each call. */
function once(work: () => Promise<void>): () => Promise<void> {
  let begun: Promise<void> | undefined;
  return () => {
    begun ??= work();
    return begun;
  };
}

function guardOf(
  registry: Registry,
  { phiPolicy, phi }: Pick<RunServerOptions<never>, 'phiPolicy' | 'phi'>,
  logger: Logger,
): Guard {
  const onlySecrets = phiPolicy === 'off';
  if (onlySecrets) logger.warn('PHI_POLICY is off: the guard masks secrets, and does not check for health information');
  return createPhiGuard(registry, phi, onlySecrets);
}

/** Loads the revocations and sessions that the log stores. If loading fails, the log is closed. */
async function openCallers(
  log: EventLog,
  authenticate: Authenticate,
  options: IdentityOptions,
  timeoutMs: number,
  logger: Logger,
): Promise<Identity> {
  try {
    return await openIdentity(log, authenticate, options, { timeoutMs, logger });
  } catch (error) {
    await log.close();
    throw error;
  }
}

/** Loads the webhooks, which begin to send. If loading fails, the log is closed. */
async function openWebhooks(
  {
    publicUrl,
    webhookProxy: proxyOf,
    webhookRetries: retries,
  }: Pick<RunServerOptions & InternalOptions, 'publicUrl' | 'webhookProxy' | 'webhookRetries'>,
  parts: {
    log: EventLog;
    delivery: Delivery;
    registry: Registry;
    addresses: WebhookAddresses;
    privacy: Privacy;
    access: AccessLogger;
    health: Health;
  },
): Promise<Webhooks> {
  const { log, delivery, registry, privacy, access, ...rest } = parts;
  const categories: { [category: string]: readonly string[] } = categoriesOf(registry);
  const principal = { sub: SERVER, projects: [], roles: [] };
  try {
    return await Webhooks.open({
      ...{ ...rest, log, publicUrl, proxyOf, retries, recent: delivery.recent },
      typesOf: (category) => categories[category] ?? [],
      redact: (text) => privacy.redactText('answer', text),
      guardText: (field, text) => privacy.guardText(field, text),
      onFailedTry: ({ projectId, runId }) =>
        access.record({
          principal,
          action: 'webhook.deliver',
          via: 'caller',
          outcome: 'UNAVAILABLE',
          projectId,
          runId,
        }),
    });
  } catch (error) {
    await log.close();
    throw error;
  }
}
