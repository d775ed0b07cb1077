import type { Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { closeCodes } from '../../shared/protocol.ts';
import type { ClientStats } from '../../shared/server-stats.ts';
import type { Principal } from '../auth/principal.ts';
import { Turns } from '../slices.ts';
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
export const CLOSE_MS = 1_000;
/**
 * Sockets of one address that wait for a token or its verification. A further one closes the oldest, if that one is older
 * than {@link PROMPT_MS}: behind a proxy, all clients reconnect from one address at once. Beyond `MAX_BURST`, it closes
 * the oldest of any age.
 */
const MAX_UNIDENTIFIED = 500;
const MAX_BURST = 5_000;
const PROMPT_MS = 2_000;
/** Unsent bytes of all sockets of a user, and of all users, as multiples of the limit of one socket. */
const UNSENT_OF_USER = 4;
const UNSENT_OF_ALL = 32;
/** Time between two sweeps. So a connection outlives its token by at most this time. */
const SWEEP_MS = 500;
/** Time after which a connection at rest is checked again, because few unsent bytes of a reader are not reported. */
const REST_MS = 5_000;
/** Time of a sweep in one turn of the event loop. A thousand connections take a few ms, and events wait meanwhile. */
const SWEEP_SLICE_MS = 1;

export class Connections implements ConnectionRegistry {
  readonly options: ConnectionsOptions;
  readonly counts: ConnectionCounts = { closes: new Map(), stalls: 0 };
  readonly #turns = new Turns();
  /** Their own turns: closed sockets would wait for the messages of each user in between. */
  readonly #closing = new Turns();
  readonly #open = new Set<Connection>();
  /** Those of {@link #open} with a closed socket: they wait for their turn to end. */
  readonly #closed = new Set<Connection>();
  readonly #users = new Map<string, User>();
  readonly #addresses = new Map<string, Address>();
  readonly #sweepTimer: NodeJS.Timeout;
  readonly #sweepMs: number;
  /** `performance.now()` of the last sweep. */
  #sweptAt = performance.now();
  /** `monotonicMs` of the last sweep. */
  #sweptMs = 0;
  /** `Date.now()` of the last sweep. */
  #sweptClockMs = Date.now();
  /** Whether the next sweep checks connections at rest too, and whether this one does. */
  #hasJumped = false;
  #checksAll = false;
  /** The connections that the sweep which has begun still visits. */
  #sweeping: IterableIterator<Connection> | undefined;
  /** Those of a sweep with unsent bytes, by user. */
  readonly #slow = new Map<User, Connection[]>();
  readonly restMs: number;
  subscriptions = 0;
  #lastId: number;
  #isClosing = false;
  /** Called when the last connection has closed. */
  #onEmpty = () => {};

  constructor(options: ConnectionsOptions) {
    this.options = options;
    const { heartbeatMs, limits } = options;
    this.#lastId = options.lastId ?? 0;
    this.#sweepMs = Math.min(SWEEP_MS, heartbeatMs / 4, limits.identifyMs / 4, limits.stalledMs / 4);
    // The next sweep after this time makes the check.
    this.restMs = Math.min(REST_MS, heartbeatMs / 4, limits.stalledMs / 4) - this.#sweepMs;
    this.#sweepTimer = setInterval(() => this.#sweep(), this.#sweepMs);
    this.#sweepTimer.unref();
  }

  /**
   * A clock, in ms, that counts the time during which the server could receive data: the time between two sweeps counts as
   * two intervals at most. A process that was suspended runs its timers first, and then reads the data that has arrived.
   * With a plain clock, all of its clients would seem silent, and the server would close them.
   */
  get monotonicMs(): number {
    // Whole numbers need no objects of their own in each connection.
    return this.#sweptMs + Math.round(Math.min(performance.now() - this.#sweptAt, 2 * this.#sweepMs));
  }

  get count(): number {
    return this.#open.size;
  }

  /** Returns totals over all open connections. Allocates nothing for each connection, because metrics may be read often. */
  totals(): { subscriptions: number; unsentBytes: number; mostLag: number; slow: number } {
    const totals = { subscriptions: this.subscriptions, unsentBytes: 0, mostLag: 0, slow: 0 };
    const now = this.monotonicMs;
    for (const connection of this.#open) {
      if (connection.isAtRest(now)) continue;
      totals.unsentBytes += connection.unsentBytes;
      totals.mostLag = Math.max(totals.mostLag, connection.lag);
      if (!connection.isDrained) totals.slow++;
    }
    return totals;
  }

  /**
   * Adds a socket. If its network address has too many without a verified token, closes the oldest of them: refusing the new
   * one would let a client that never sends a token keep all others of its address out.
   */
  add(ws: DirectWebSocket, tcp: Socket, addressText: string): Connection {
    const address = this.#addresses.get(addressText) ?? { text: addressText, connections: 0, unidentified: undefined };
    this.#addresses.set(addressText, address);
    const connection = new Connection(++this.#lastId, ws, address, this);
    ws.open(tcp, connection);
    this.#open.add(connection);
    address.unidentified ??= new Set();
    address.unidentified.add(connection);
    const [oldest] = address.unidentified;
    const count = address.unidentified.size;
    const isLate = oldest !== undefined && this.monotonicMs - oldest.openedAt >= PROMPT_MS;
    if (oldest && (count > MAX_BURST || (count > MAX_UNIDENTIFIED && isLate))) {
      address.unidentified.delete(oldest);
      oldest.close(closeCodes.overLimit, 'too many connections without a token from this address');
    }
    if (this.#isClosing) closeForShutdown(connection); // Its upgrade had begun before.
    return connection;
  }

  remove(connection: Connection): void {
    if (!this.#open.delete(connection)) return;
    this.#closed.delete(connection);
    const user = connection.uncount();
    if (user?.connections.length === 0) this.#users.delete(user.principal.sub);
    this.#identified(connection);
    const { address } = connection;
    const isUnused = address.connections === 0 && !address.unidentified;
    // A connection that gave way may close after its address was counted from zero again.
    if (isUnused && this.#addresses.get(address.text) === address) this.#addresses.delete(address.text);
    if (this.#open.size === 0) this.#onEmpty();
  }

  turnToAnswer(user: string | undefined): Promise<void> | undefined {
    return this.#turns.next({ user });
  }

  turnToClose(connection: Connection): Promise<void> | undefined {
    const turn = this.#closing.next();
    if (turn && this.#open.has(connection)) this.#closed.add(connection);
    return turn;
  }

  /** Stops counting the connections with a closed socket. */
  removeClosed(): void {
    for (const connection of this.#closed) this.remove(connection);
  }

  /**
   * Sets the principal of a connection. Returns false if the connection has closed meanwhile, the token is no longer valid, or
   * the user or the address has too many connections.
   */
  authenticate(connection: Connection, principal: Principal): boolean {
    if (!connection.isOpen) return false;
    const { connectionsPerUser, connectionsPerAddress } = this.options.limits;
    const elsewhere = this.options.elsewhere?.(principal.sub).connections ?? 0;
    const ofUser = this.#users.get(principal.sub)?.connections.length ?? 0;
    const isFull = ofUser + elsewhere >= connectionsPerUser || connection.address.connections >= connectionsPerAddress;
    if (isFull) this.removeClosed();
    const user = this.#users.get(principal.sub) ?? { principal, connections: [], subscriptions: 0 };
    // Connections of one user with equal principals share one object, to save memory.
    connection.setPrincipal(isDeepStrictEqual(user.principal, principal) ? user.principal : principal);
    if (!connection.closeIfTokenInvalid()) {
      this.#identified(connection);
      return false;
    }
    if (user.connections.length + elsewhere >= connectionsPerUser) this.#dropDead(user);
    // After `#dropDead`: the last connection of a user, or of an address, removes it.
    this.#users.set(principal.sub, user);
    connection.count(user);
    this.#identified(connection);
    if (user.connections.length + elsewhere > connectionsPerUser) {
      connection.close(closeCodes.overLimit, 'too many connections of this user');
    } else if (connection.address.connections > connectionsPerAddress) {
      connection.close(closeCodes.overLimit, 'too many connections from this address');
    }
    return connection.isOpen;
  }

  /** Replaces the principal of the connections with the same token or session (`jti`): it was renewed. */
  renewed(principal: Principal): void {
    for (const connection of this.#open) {
      if (connection.isAuthenticated && connection.principal.jti === principal.jti) connection.setPrincipal(principal);
    }
  }

  /** Closes the connections with an expired or revoked token. */
  review(): void {
    for (const connection of this.#open) connection.closeIfTokenInvalid();
  }

  /** The open connections and subscriptions of each user. */
  *users(): Iterable<readonly [user: string, counts: { connections: number; subscriptions: number }]> {
    for (const [sub, { connections, subscriptions }] of this.#users) {
      yield [sub, { connections: connections.length, subscriptions }];
    }
  }

  /** Returns the open connection with an id. */
  find(id: number): Connection | undefined {
    for (const connection of this.#open) if (connection.id === id) return connection;
    return undefined;
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

  /** Returns statistics of the connections with the most lag. Those of all would take a turn of many milliseconds. */
  mostLagging(count: number): ClientStats[] {
    const behind: { connection: Connection; lag: number }[] = [];
    const others: { connection: Connection }[] = [];
    for (const connection of this.#open) {
      const { lag } = connection;
      if (lag > 0) behind.push({ connection, lag });
      else if (others.length < count) others.push({ connection });
    }
    const first = [...behind.sort((a, b) => b.lag - a.lag), ...others].slice(0, count);
    return first.map(({ connection }) => connection.stats());
  }

  /**
   * Closes all connections, each at a random time within `spreadMs`: otherwise all clients would reconnect at the same
   * time.
   */
  async close(spreadMs: number): Promise<void> {
    this.#isClosing = true;
    const timers = [...this.#open].map((connection) =>
      setTimeout(closeForShutdown, Math.random() * spreadMs, connection),
    );
    const grace = setTimeout(() => {
      for (const connection of [...this.#open]) connection.terminate();
    }, spreadMs + CLOSE_MS);
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      if (this.#open.size === 0) resolve();
    });
    for (const timer of [...timers, grace]) clearTimeout(timer);
    clearInterval(this.#sweepTimer);
  }

  #sweep(): void {
    const now = this.monotonicMs;
    const clockMs = Date.now();
    // After a pause of the process, or a step of the clock, a token may end before the rest of its connection.
    this.#hasJumped ||= clockMs - this.#sweptClockMs - (now - this.#sweptMs) > this.#sweepMs;
    this.#sweptMs = now;
    this.#sweptClockMs = clockMs;
    this.#sweptAt = performance.now();
    if (this.#sweeping) return; // The sweep before goes on.
    this.#sweeping = this.#open.values();
    this.#checksAll = this.#hasJumped;
    this.#hasJumped = false;
    this.#sweepOn();
  }

  /** Also visits connections that are opened meanwhile. */
  readonly #sweepOn = (): void => {
    const until = performance.now() + SWEEP_SLICE_MS;
    // The iterator of a Set goes on after a loop that has been left.
    for (const connection of this.#sweeping ?? []) {
      if (!this.#checksAll && connection.isAtRest(this.#sweptMs)) continue;
      this.#check(connection);
      if (performance.now() < until) continue;
      setImmediate(this.#sweepOn);
      return;
    }
    this.#sweeping = undefined;
    this.#shed();
    this.options.onSweep();
  };

  #check(connection: Connection): void {
    connection.check(this.#sweptMs);
    const { user } = connection;
    if (!user || connection.unsentBytes === 0) return;
    const ofUser = this.#slow.get(user);
    if (ofUser) ofUser.push(connection);
    else this.#slow.set(user, [connection]);
  }

  #shed(): void {
    const { unsentBytes } = this.options.limits;
    const slow = [...this.#slow.values()];
    this.#slow.clear();
    for (const ofUser of slow) shed(ofUser, ({ backlogBytes }) => backlogBytes, UNSENT_OF_USER * unsentBytes);
    shed(slow.flat(), (connection) => connection.unsentBytes, UNSENT_OF_ALL * unsentBytes);
  }

  /** Removes a connection from those without a verified token. */
  #identified(connection: Connection): void {
    const { address } = connection;
    address.unidentified?.delete(connection);
    if (address.unidentified?.size === 0) address.unidentified = undefined;
  }

  /** Terminates one connection of the user with a client that does not answer, if there is one. */
  #dropDead(user: User): void {
    const now = this.monotonicMs;
    const [dead] = user.connections.filter((connection) => connection.probe(now)); // Not `find`: all are sent a ping.
    if (!dead) return;
    this.remove(dead);
    dead.terminate();
  }
}

const closeForShutdown = (connection: Connection): void =>
  connection.close(closeCodes.goingAway, 'the server is shutting down');

/** Closes connections, those with the most bytes first, until the others have at most `maxBytes`. */
function shed(connections: Connection[], bytesOf: (connection: Connection) => number, maxBytes: number): void {
  let bytes = connections.reduce((sum, connection) => sum + bytesOf(connection), 0);
  if (bytes <= maxBytes) return;
  for (const connection of connections.sort((a, b) => bytesOf(b) - bytesOf(a))) {
    if (bytes <= maxBytes) break;
    bytes -= bytesOf(connection);
    connection.close(closeCodes.tooSlow, 'too slow');
  }
}
