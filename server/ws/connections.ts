import type { IncomingMessage } from 'node:http';
import { isDeepStrictEqual } from 'node:util';
import type { ClientStats } from '../../shared/server-stats.ts';
import type { TokenInvalidReason } from '../auth/credentials.ts';
import type { Principal } from '../auth/principal.ts';
import type { Limits } from '../limits.ts';
import { type Address, Connection, type User } from './connection.ts';
import type { DirectWebSocket } from './socket.ts';

/** The open WebSockets together: who is on, how many are whose, and their dismissal. */

/** After the close frame, for the peer to close too. */
const GRACE_MS = 1_000;
/** How often each socket is looked at, at least: who stays beyond their token does so for no longer than this. */
const SWEEP_MS = 500;

/** Since the start. */
export type ConnectionCounts = {
  /** Sockets that the server closed, by code. */
  closes: Map<number, number>;
  /** How often a reader had to wait for its socket. */
  stalls: number;
};

export type ConnectionsOptions = {
  heartbeatMs: number;
  /** Whether frames may be written to the sockets. */
  isDirect: boolean;
  limits: Limits;
  /** Why a principal does not count any more. */
  invalidReasonOf: (principal: Principal) => TokenInvalidReason | undefined;
};

export class Connections {
  readonly options: ConnectionsOptions;
  readonly counts: ConnectionCounts = { closes: new Map(), stalls: 0 };
  readonly #open = new Set<Connection>();
  readonly #users = new Map<string, User>();
  readonly #addresses = new Map<string, Address>();
  readonly #sweepTimer: NodeJS.Timeout;
  readonly #turnMs: number;
  #turnedAt = performance.now();
  #awakeMs = 0;
  #lastId = 0;
  /** Told when the last one has gone. */
  #onEmpty = () => {};

  /** One wheel for all: no timer of its own for any client. */
  constructor(options: ConnectionsOptions) {
    this.options = options;
    const { heartbeatMs, limits } = options;
    this.#turnMs = Math.min(SWEEP_MS, heartbeatMs / 4, limits.identifyMs / 4, limits.stalledMs / 4);
    this.#sweepTimer = setInterval(() => this.#sweep(), this.#turnMs);
    this.#sweepTimer.unref();
  }

  /**
   * Milliseconds for which the server has been there to hear its clients: of the time between two turns of the wheel, two
   * turns at most. A process that was held up finds its timers due before it reads what came meanwhile, and would take
   * everybody for silent.
   */
  get monotonicMs(): number {
    return this.#awakeMs + Math.min(performance.now() - this.#turnedAt, 2 * this.#turnMs);
  }

  get count(): number {
    return this.#open.size;
  }

  /** What all open sockets have together. Makes nothing of any one: whoever asks for metrics may ask often. */
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

  /** Undefined where it is one too many from its address, and has been closed. */
  add(ws: DirectWebSocket, request: IncomingMessage): Connection | undefined {
    const text = request.socket.remoteAddress ?? '';
    const address = this.#addresses.get(text) ?? { text, connections: 0 };
    this.#addresses.set(text, address);
    address.connections++;
    const connection = new Connection(++this.#lastId, ws, request, address, this);
    ws.owner = connection;
    this.#open.add(connection);
    if (address.connections <= this.options.limits.connectionsPerAddress) return connection;
    ws.on('error', () => undefined); // It never gets to tRPC's handler, which listens; unheard, one would end the process.
    connection.exceed('too many connections from this address');
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
   * Puts in place who a socket is; false for one that closed while its token was looked at, or whose token does not count
   * any more.
   */
  authenticate(connection: Connection, principal: Principal): boolean {
    if (!this.#open.has(connection)) return false;
    const user = this.#users.get(principal.sub) ?? { principal, connections: 0, subscriptions: 0 };
    this.#users.set(principal.sub, user);
    // Tabs of one user that came with the same token share what it says.
    connection.identify(isDeepStrictEqual(user.principal, principal) ? user.principal : principal);
    connection.countForUser(user);
    return connection.closeIfTokenInvalid();
  }

  /** Closes those whose token has expired or been revoked. */
  review(): void {
    for (const connection of this.#open) connection.closeIfTokenInvalid();
  }

  /** Of those whose principal passes, which one that has not said who it is does not have. */
  stats(passes: (principal: Principal | undefined) => boolean): ClientStats[] {
    const seen = [...this.#open].filter(({ holder }) => passes(holder));
    return seen.map((connection) => connection.stats());
  }

  /** Dismisses everyone, in random order over `spreadMs`, so that they do not all come back at once. */
  async close(spreadMs: number): Promise<void> {
    const connections = [...this.#open];
    const timers = connections.map((connection) => setTimeout(() => connection.dismiss(), Math.random() * spreadMs));
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
    this.#awakeMs = this.monotonicMs;
    this.#turnedAt = performance.now();
    for (const connection of this.#open) connection.check(this.#awakeMs);
  }
}
