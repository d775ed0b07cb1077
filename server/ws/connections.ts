import type { Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { closeCodes } from '../../shared/protocol.ts';
import type { ClientStats } from '../../shared/server-stats.ts';
import type { Principal } from '../auth/principal.ts';
import {
  type Address,
  Connection,
  type ConnectionCounts,
  type ConnectionRegistry,
  type ConnectionsOptions,
  type User,
} from './connection.ts';
import type { DirectWebSocket } from './socket.ts';

/** All open connections: their counts by user and by network address, and one timer that checks each connection. */

/** Time for the client to answer a close frame. Then the server destroys the socket. */
const GRACE_MS = 1_000;
/** Maximum time between two checks of a connection. So a connection outlives its token by at most this time. */
const SWEEP_MS = 500;

export class Connections implements ConnectionRegistry {
  readonly options: ConnectionsOptions;
  readonly counts: ConnectionCounts = { closes: new Map(), stalls: 0 };
  readonly #open = new Set<Connection>();
  readonly #users = new Map<string, User>();
  readonly #addresses = new Map<string, Address>();
  readonly #sweepTimer: NodeJS.Timeout;
  readonly #sweepMs: number;
  /** `performance.now()` of the last sweep. */
  #sweptAt = performance.now();
  /** `monotonicMs` of the last sweep. */
  #sweptMs = 0;
  #lastId = 0;
  /** Called when the last connection has closed. */
  #onEmpty = () => {};

  constructor(options: ConnectionsOptions) {
    this.options = options;
    const { heartbeatMs, limits } = options;
    this.#sweepMs = Math.min(SWEEP_MS, heartbeatMs / 4, limits.identifyMs / 4, limits.stalledMs / 4);
    this.#sweepTimer = setInterval(() => this.#sweep(), this.#sweepMs);
    this.#sweepTimer.unref();
  }

  /**
   * A clock, in ms, that counts the time during which the server could receive data: the time between two sweeps counts as
   * two intervals at most. A process that was suspended runs its timers first, and then reads the data that has arrived.
   * With a plain clock, all of its clients would seem silent, and the server would close them.
   */
  get monotonicMs(): number {
    return this.#sweptMs + Math.min(performance.now() - this.#sweptAt, 2 * this.#sweepMs);
  }

  get count(): number {
    return this.#open.size;
  }

  /** Returns totals over all open connections. Allocates nothing for each connection, because metrics may be read often. */
  totals(): { subscriptions: number; unsentBytes: number; mostLag: number; slow: number } {
    const totals = { subscriptions: 0, unsentBytes: 0, mostLag: 0, slow: 0 };
    for (const connection of this.#open) {
      totals.subscriptions += connection.subscriptions;
      totals.unsentBytes += connection.unsentBytes;
      totals.mostLag = Math.max(totals.mostLag, connection.lag);
      if (!connection.isDrained) totals.slow++;
    }
    return totals;
  }

  /** Adds a socket. If its network address has too many connections, closes the socket and returns undefined. */
  add(ws: DirectWebSocket, tcp: Socket): Connection | undefined {
    const text = tcp.remoteAddress ?? '';
    const address = this.#addresses.get(text) ?? { text, connections: 0 };
    this.#addresses.set(text, address);
    address.connections++;
    const connection = new Connection(++this.#lastId, ws, address, this);
    ws.open(tcp, connection);
    this.#open.add(connection);
    if (address.connections <= this.options.limits.connectionsPerAddress) return connection;
    ws.on('error', () => undefined); // tRPC's handler never sees this socket. Without a listener, an error would end the process.
    connection.close(closeCodes.overLimit, 'too many connections from this address');
    return undefined;
  }

  remove(connection: Connection): void {
    if (!this.#open.delete(connection)) return;
    const { address } = connection;
    address.connections--;
    if (address.connections === 0) this.#addresses.delete(address.text);
    const user = connection.uncount();
    if (user?.connections === 0) this.#users.delete(user.principal.sub);
    if (this.#open.size === 0) this.#onEmpty();
  }

  /**
   * Sets the principal of a connection. Returns false if the connection has closed meanwhile, or the token is no longer
   * valid.
   */
  authenticate(connection: Connection, principal: Principal): boolean {
    if (!this.#open.has(connection)) return false;
    const user = this.#users.get(principal.sub) ?? { principal, connections: 0, subscriptions: 0 };
    this.#users.set(principal.sub, user);
    // Connections of one user with equal principals share one object, to save memory.
    connection.setPrincipal(isDeepStrictEqual(user.principal, principal) ? user.principal : principal);
    connection.countForUser(user);
    return connection.closeIfTokenInvalid();
  }

  /** Closes the connections with an expired or revoked token. */
  review(): void {
    for (const connection of this.#open) connection.closeIfTokenInvalid();
  }

  /**
   * Returns statistics of the connections for which `passes` returns true. `passes` gets the principal; undefined before
   * authentication.
   */
  stats(passes: (principal: Principal | undefined) => boolean): ClientStats[] {
    const passing = [...this.#open].filter((connection) =>
      passes(connection.isAuthenticated ? connection.principal : undefined),
    );
    return passing.map((connection) => connection.stats());
  }

  /**
   * Closes all connections, each at a random time within `spreadMs`: otherwise all clients would reconnect at the same
   * time.
   */
  async close(spreadMs: number): Promise<void> {
    const connections = [...this.#open];
    const timers = connections.map((connection) =>
      setTimeout(() => connection.close(closeCodes.goingAway, 'the server is shutting down'), Math.random() * spreadMs),
    );
    const grace = setTimeout(() => {
      for (const connection of connections) connection.terminate();
    }, spreadMs + GRACE_MS);
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      if (this.#open.size === 0) resolve();
    });
    for (const timer of [...timers, grace]) clearTimeout(timer);
    clearInterval(this.#sweepTimer);
  }

  #sweep(): void {
    this.#sweptMs = this.monotonicMs;
    this.#sweptAt = performance.now();
    for (const connection of this.#open) connection.check(this.#sweptMs);
    this.options.onSweep();
  }
}
