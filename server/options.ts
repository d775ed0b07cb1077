import type { Logger } from 'pino';
import { RunwireError } from '../shared/errors.ts';
import type { RunwireEvents } from '../shared/events.ts';
import type { KeyedByType, Registry } from '../shared/registry.ts';
import type { AuthOptions } from './auth/authenticator.ts';
import { isPostgresUrl } from './event-log/database-url.ts';
import type { OpenBackplane } from './event-log/postgres/backplane.ts';
import { type Limits, problemOfNumber } from './limits.ts';
import type { PhiOptions } from './phi/guard.ts';
import type { Guard, ServerPolicy } from './phi/policy.ts';
import type { RetryOptions } from './webhooks/retries.ts';

/** The options of a server. */

export type RunServerOptions<R extends Registry = RunwireEvents> = AuthOptions & {
  /**
   * Place of the event log: `file:PATH` for a SQLite file, `postgres://USER:PASSWORD@HOST:5432/DATABASE` for a log that any
   * number of servers share, or `memory:`. Default `memory:`.
   */
  databaseUrl?: string;
  /**
   * Redis server that connects the servers of a log in PostgreSQL: `redis://HOST:6379`, or `rediss://` for TLS. Default: they
   * use LISTEN and NOTIFY of PostgreSQL.
   */
  redisUrl?: string | undefined;
  /**
   * Ed25519 private key in PEM, or the path of its file, that signs the record of a log in PostgreSQL; all its servers have the same one. Default: a key
   * in the database.
   */
  auditKey?: string | undefined;
  /** Name or IP address to listen on. Default `127.0.0.1`. */
  host?: string;
  /** Port to listen on; 0 selects a free port. Default 3001. */
  port?: number;
  /** Other origins with pages that may call the server from a browser, such as `https://app.example.org`. */
  allowedOrigins?: string[];
  /**
   * Refuses requests with a `Host` header that is neither a local name nor the host of an allowed origin. This protects
   * a server on a developer's machine from DNS rebinding. Default false, because behind a proxy the `Host` is any
   * public name.
   */
  onlyLocalHosts?: boolean;
  /**
   * Addresses and networks of proxies, such as `127.0.0.1` and `10.0.0.0/8`: the address of a client behind them is taken
   * from `X-Forwarded-For`. Default: none, so all clients of a proxy count as one address.
   */
  trustedProxies?: string[];
  /**
   * What the PHI guard (`phi/guard.ts`) does with an event in which it finds protected health information: `reject`
   * refuses the event, `redact` replaces the findings, `off` does not check, whatever policy a request names. Secrets
   * are masked under each of them. Default `reject`.
   */
  phiPolicy?: ServerPolicy;
  /** Fields in which the PHI guard only masks secrets, and patterns that it searches for in addition to its own. */
  phi?: PhiOptions | undefined;
  /**
   * Address of the web app for people, such as `https://runs.example.org`: the links in messages of webhooks begin with it.
   * Default: none, and messages have no links.
   */
  publicUrl?: string | undefined;
  /**
   * Hosts, addresses and networks inside the server's network to which webhooks may connect, such as `hooks.internal`,
   * `127.0.0.1` and `10.0.0.0/8`. Default: none, only public addresses.
   */
  webhookAllow?: readonly string[];
  /** Returns the address of the proxy for the requests of webhooks to a URL. Default: no proxy. */
  webhookProxy?: (url: string) => string | undefined;
  /** Events older than this are deleted from the log. Default: no event is deleted. */
  retentionDays?: number | undefined;
  /**
   * Runs that ended longer ago than this, and have no event left, are removed. Their approvals stay in `approval.list`.
   * Needs `retentionDays`. Default: no run is removed.
   */
  retentionRunsDays?: number | undefined;
  /** Interval of WebSocket pings. A client silent for two intervals is disconnected. Default 30,000. */
  heartbeatMs?: number;
  /**
   * How events are sent to WebSockets. `direct` encodes an event once and writes the frame to all sockets. `iterator`
   * encodes the event for each subscriber, and is several times slower. Default `direct`.
   */
  delivery?: 'direct' | 'iterator';
  /** Limits per client. Defaults: the table of `docs/protocol.md`. */
  limits?: Partial<Limits>;
  /** Whether WebSockets may be compressed, which saves bandwidth at a high cost in CPU time. Default false. */
  compression?: boolean;
  /** Registry of the event types. Default: Runwire's twelve types. */
  events?: R & KeyedByType<R>;
  /** Default: a logger that writes warnings and errors to stdout as JSON. */
  logger?: Logger;
};

/** For tests and benchmarks. Not part of the public API. */
export type InternalOptions = {
  /** Whether `authSecret` is the server's own, with which it has printed a sign-in link. */
  isLocalSecret?: boolean;
  /**
   * Whether only programs and pages of this machine may connect, whichever address the HTTP server has: their user is not
   * verified.
   */
  onlyThisMachine?: boolean;
  /** Replaces Redis, and LISTEN and NOTIFY. */
  backplane?: OpenBackplane;
  /** Replaces the PHI guard. */
  guard?: Guard;
  /**
   * A subscription without a matching event for this time is sent a `stream.live` with the current head of the log, so
   * that its client can resume from there. Default 30,000.
   */
  quietMs?: number;
  /**
   * At shutdown, clients are disconnected one by one over this time, so that they do not all reconnect at once. Default
   * 2 ms for each client, at most 2,000 ms.
   */
  shutdownSpreadMs?: number;
  /** Times and numbers of the tries of webhooks. */
  webhookRetries?: Partial<RetryOptions>;
};

const numbers = ['retentionDays', 'retentionRunsDays', 'heartbeatMs', 'quietMs', 'shutdownSpreadMs'] as const;

type Checked = Pick<
  RunServerOptions & InternalOptions,
  'port' | (typeof numbers)[number] | 'databaseUrl' | 'redisUrl' | 'auditKey'
>;

/** Throws `INVALID_INPUT` for an option that would have no effect, or a number out of its range: `retentionDays: 0` would delete the whole log. */
export function checkOptions(options: Checked): void {
  const refuse = (path: string, message: string) => {
    throw new RunwireError('INVALID_INPUT', message, { path });
  };
  const { port = 0, shutdownSpreadMs } = options;
  if (!(Number.isInteger(port) && port >= 0 && port <= 65_535)) refuse('port', 'must be a whole number up to 65535');
  for (const path of numbers) {
    const value = options[path];
    if (value === undefined || (path === 'shutdownSpreadMs' && shutdownSpreadMs === 0)) continue;
    const problem = problemOfNumber(path, value);
    if (problem !== undefined) refuse(path, problem);
  }
  if (options.retentionRunsDays !== undefined && options.retentionDays === undefined) {
    refuse('retentionRunsDays', 'needs retentionDays, since only runs without events are removed');
  }
  for (const path of ['redisUrl', 'auditKey'] as const) {
    if (options[path] === undefined || isPostgresUrl(options.databaseUrl ?? '')) continue;
    refuse(path, 'needs a databaseUrl that begins with postgres://');
  }
}
