import type { Logger } from 'pino';
import { checkRegistry, type RunwireEvents, runwireEvents } from '../shared/events.ts';
import { categoriesOf, type Registry } from '../shared/registry.ts';
import { tombstoneOf } from '../shared/tombstone.ts';
import { Approvals } from './approvals/approvals.ts';
import { ApprovalExpiry } from './approvals/expiry.ts';
import { AccessLogger } from './audit/access-logger.ts';
import { Audit } from './audit/audit.ts';
import { createAuthenticator } from './auth/authenticator.ts';
import { type Identity, type IdentityOptions, openIdentity } from './auth/identity.ts';
import { SERVER, type Verify } from './auth/principal.ts';
import { Clock } from './clock.ts';
import { Delivery } from './delivery/delivery.ts';
import { toRunwireError, toTRPCError } from './errors.ts';
import type { StoredEvent } from './event-log/contract/log.ts';
import type { EventLog } from './event-log/contract/store.ts';
import { logPlaceOf } from './event-log/database-url.ts';
import { Health } from './health.ts';
import { limitsOf } from './limits.ts';
import { Metrics } from './metrics.ts';
import { openLog } from './open-log.ts';
import { checkOptions, type InternalOptions, type RunServerOptions } from './options.ts';
import { Peers } from './peers.ts';
import { createPhiGuard } from './phi/guard.ts';
import { Privacy } from './phi/identifiers.ts';
import type { Guard } from './phi/policy.ts';
import { EventBus } from './publishing/bus.ts';
import { OutboxMover } from './publishing/outbox-mover.ts';
import { Retention } from './retention.ts';
import { WebhookAddresses } from './webhooks/addresses.ts';
import { SharedWebhooks } from './webhooks/shared.ts';

/** The parts of a server that work on the log, without those that clients connect to. */

/** Opens the log and the parts that follow it. Throws `INVALID_INPUT` for invalid options. */
export async function openServices<R extends Registry = RunwireEvents>(
  options: RunServerOptions<R> & InternalOptions,
  logger: Logger,
) {
  const { phiPolicy = 'reject', retentionDays: days, retentionRunsDays: runsDays } = options;
  const registry = (options.events === undefined ? runwireEvents : options.events) as R;
  const authenticate = createAuthenticator(options, logger);
  checkOptions(options);
  checkRegistry(registry);
  const limits = limitsOf(options.limits);
  const policy = phiPolicy === 'off' ? 'redact' : phiPolicy;
  const guard = options.guard ?? guardOf(registry, options, logger);
  const addresses = new WebhookAddresses(options.webhookAllow);
  const place = logPlaceOf(options.databaseUrl ?? 'memory:');
  const metrics = new Metrics();
  const health = new Health(logger);
  // Opened after all checks of options: a log that stays open keeps its lock, which blocks the next server.
  const { log, isProven, folder } = await openLog(place, options, { registry, metrics, health, logger });
  const identity = await openCallers(log, authenticate, options, limits.identifyMs, logger);
  const peers = new Peers({ nodes: log.nodes, health });
  const privacy = new Privacy({ guard, policy, secret: log.secret, logger });
  const onPublished = (ms: number) => metrics.published(ms);
  const bus = new EventBus({ registry, log, health, phiPolicy: policy, guard, onPublished });
  // Translates errors of subscriptions: an error thrown during iteration does not pass the router's middleware.
  const translate = (error: unknown) => toTRPCError(toRunwireError(error));
  const delivery = new Delivery({ log, quietMs: options.quietMs, translate });
  const access = new AccessLogger({ log, health, isRefused: (id) => privacy.isRefused(id) });
  const webhooks = await openWebhooks(options, { log, delivery, registry, addresses, privacy, access, health, peers });
  const approvals = new Approvals({ log, bus: bus as never });
  const expiry = new ApprovalExpiry({ log, health });
  const clock = new Clock({ log, health });
  const retention = new Retention({ log, clock, days, runsDays, logger });
  const onClockConfirmed = () => clock.confirm().then(() => void retention.run());
  const tombstone = tombstoneOf(registry);
  const audit = new Audit({ log, privacy, tombstone, folder, logger, onClockConfirmed, peers });
  const outbox = log.outbox && new OutboxMover({ outbox: log.outbox, bus: bus as never, nodes: log.nodes, health });
  // `delivery` serves the subscriptions. It comes first, because a slow observer of the bus must not delay them.
  const stops = follow(log, delivery, [delivery, bus, approvals, expiry, audit, webhooks]);
  if (!isProven) await audit.begin();

  /** Stops the parts that read the log for clients: before `close`, and after the last client has left. */
  const stop = (): void => {
    for (const end of stops) end();
    for (const part of [expiry, approvals, bus, peers]) part.close();
  };
  const close = async (): Promise<void> => {
    for (const part of [outbox, webhooks, audit, access, log]) await part?.close();
  };
  const own = { registry, limits, phiPolicy, metrics, health, log, identity, peers, privacy };
  return { ...own, bus, delivery, access, webhooks, approvals, clock, retention, audit, outbox, stop, close };
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
  authenticate: Verify,
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

/** Loads the webhooks. If loading fails, the log is closed. */
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
    peers: Peers;
  },
): Promise<SharedWebhooks> {
  const { log, delivery, registry, privacy, access, ...rest } = parts;
  const categories: { [category: string]: readonly string[] } = categoriesOf(registry);
  const principal = { sub: SERVER, projects: [], roles: [] };
  try {
    return await SharedWebhooks.open({
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
