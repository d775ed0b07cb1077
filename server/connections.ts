import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { closeCodes } from '../shared/errors.ts';
import type { Principal } from './auth.ts';
import type { DirectWebSocket } from './delivery/encoder.ts';
import type { Attached, FrameSink, Transport } from './delivery/reader.ts';
import { Bucket, type Limits } from './limits.ts';

/** The open WebSockets: who is on, whether each is alive, what each has yet to take, and what it may ask for. */

export type ClientStats = {
  id: number;
  /** Who it is; absent until it has said so. */
  sub?: string;
  connectedAt: string;
  subscriptions: number;
  /** Events between the slowest of its subscriptions and the head. */
  lag: number;
  /** Bytes sent and not yet taken, and bytes taken in all. */
  unsentBytes: number;
  sentBytes: number;
};

/** Unsent bytes at which a reader stops being read for. */
const DRAIN_BYTES = 128 * 1024;
const GRACE_MS = 1_000;
/** A close frame holds 123 bytes of reason; a UTF-16 unit takes at most three. */
const REASON_LIMIT_BYTES = 123;
/** How often a compressed socket, which tells nobody when it has drained, is looked at. */
const LOOK_MS = 20;

type Parts = {
  id: number;
  ws: WebSocket;
  request: IncomingMessage;
  options: ConnectionsOptions;
  counts: ConnectionCounts;
};

export class Connection implements Transport, FrameSink {
  readonly id: number;
  readonly connectedAtMs = Date.now();
  readonly sink: FrameSink | undefined;
  readonly address: string;
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #options: ConnectionsOptions;
  readonly #counts: ConnectionCounts;
  readonly #messages: Bucket;
  readonly #readers = new Set<Attached>();
  #principal: Principal | undefined;
  /** All sockets of the same subject. */
  #user: User | undefined;
  /** What it says of itself could be read, and is being looked at. */
  hasSpoken = false;
  /** One for all readers. */
  #drained: Promise<void> | undefined;
  #heardAt = performance.now();
  #pingAt: number;
  /** Since when it has taken nothing, and what it had taken by then. */
  #stalledAt: number | undefined;
  #takenBytes = 0;

  constructor({ id, ws, request, options, counts }: Parts) {
    this.id = id;
    this.#ws = ws;
    this.#socket = request.socket;
    this.address = request.socket.remoteAddress ?? '';
    this.#options = options;
    this.#counts = counts;
    this.#messages = new Bucket(options.limits.messagesPerSecond);
    this.#pingAt = this.#heardAt + options.heartbeatMs;
    // `ws` has to make the frames of what is compressed.
    this.sink = options.isDirect && ws.extensions === '' ? this : undefined;
    const heard = () => {
      this.#heardAt = performance.now();
    };
    ws.on('message', () => {
      heard();
      this.request();
    });
    ws.on('pong', heard);
    ws.on('ping', heard);
  }

  get principal(): Principal {
    if (!this.#principal) throw new Error('the connection has not been identified yet');
    return this.#principal;
  }

  /** Puts a principal in place, at first or by a fresh token. */
  identify(principal: Principal): void {
    this.#principal = principal;
    for (const reader of this.#readers) reader.poke();
  }

  /** Counts it among the sockets of its user; closes it where they are too many. */
  enter(user: User): void {
    this.#user = user;
    user.connections++;
    if (user.connections > this.#options.limits.connectionsPerUser) this.exceed('too many connections of this user');
  }

  /** It has closed. */
  leave(): User | undefined {
    const user = this.#user;
    if (user) {
      user.connections--;
      user.subscriptions -= this.#readers.size;
    }
    this.#user = undefined;
    return user;
  }

  /** Counts a message, or a request in one: too many close the socket. */
  request(): void {
    if (!this.#messages.take(1)) this.exceed('too many messages');
  }

  /** A socket that is closing takes nothing any more, and so is never drained. */
  get isDrained(): boolean {
    return this.#ws.readyState === this.#ws.OPEN && this.unsentBytes < DRAIN_BYTES;
  }

  get unsentBytes(): number {
    return this.sink ? this.#socket.writableLength : this.#ws.bufferedAmount;
  }

  drained(): Promise<void> {
    if (this.isDrained) return Promise.resolve();
    this.#drained ??= new Promise((resolve) => {
      this.#counts.stalls++;
      const looking = this.sink ? undefined : setInterval(() => done(), LOOK_MS);
      const done = () => {
        if (this.#ws.readyState !== this.#ws.CLOSED && !this.isDrained) return;
        clearInterval(looking);
        this.#socket.off('drain', done);
        this.#ws.off('close', done);
        this.#drained = undefined;
        resolve();
      };
      this.#socket.on('drain', done);
      this.#ws.on('close', done);
    });
    return this.#drained;
  }

  /** To the TCP socket itself: `ws` would make a frame of its own for each. */
  write(frames: Buffer): void {
    // After its closing frame a WebSocket sends nothing more.
    if (this.#ws.readyState === this.#ws.OPEN) this.#socket.write(frames);
  }

  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  interrupt(reason = 'the log is not available'): void {
    this.#close(closeCodes.tryAgain, reason);
  }

  attach(reader: Attached): void {
    const { subscriptionsPerSocket, subscriptionsPerUser } = this.#options.limits;
    this.#readers.add(reader);
    if (this.#user) this.#user.subscriptions++;
    if (this.#readers.size > subscriptionsPerSocket) this.exceed('too many subscriptions on this socket');
    else if (this.#user && this.#user.subscriptions > subscriptionsPerUser) {
      this.exceed('too many subscriptions of this user');
    }
  }

  detach(reader: Attached): void {
    if (this.#readers.delete(reader) && this.#user) this.#user.subscriptions--;
  }

  /** Closes with 4401, and hears no more: what comes before the peer closes too would pile up unanswered. */
  refuse(reason: string): void {
    this.#ws.removeAllListeners('message');
    this.#close(closeCodes.unauthenticated, reason);
  }

  /** Closes with 4429: it went over a limit. */
  exceed(reason: string): void {
    this.#ws.removeAllListeners('message');
    this.#close(closeCodes.overLimit, reason);
  }

  /** Closes with 4408, which brings the client back with its cursors. */
  outpace(): void {
    this.#ws.removeAllListeners('message');
    this.#close(closeCodes.tooSlow, 'too slow');
  }

  /** Says that the server goes away. The stock client takes the notice as "connect anew". */
  dismiss(): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.send('{"id":null,"method":"reconnect"}');
    this.#close(closeCodes.goingAway, 'the server is going away');
  }

  terminate(): void {
    this.#ws.terminate();
  }

  /**
   * Pings when due, cuts off who has been silent for two intervals or has taken nothing for too long, and lets no one stay
   * beyond their token.
   */
  check(now: number): void {
    const { heartbeatMs, limits } = this.#options;
    if (now - this.#heardAt >= 2 * heartbeatMs) {
      this.#ws.terminate();
      return;
    }
    if (this.#ws.readyState !== this.#ws.OPEN) return;
    if (!this.#principal) {
      if (Date.now() - this.connectedAtMs >= limits.identifyMs) this.refuse('no token');
      return;
    }
    if (this.#principal.expiresAtMs !== undefined && this.#principal.expiresAtMs <= Date.now()) {
      this.refuse('the token has expired');
      return;
    }
    if (this.#isStalled(now)) {
      this.outpace();
      return;
    }
    if (now < this.#pingAt) return;
    this.#pingAt = now + heartbeatMs;
    this.#ws.ping();
  }

  stats(): ClientStats {
    const lags = [...this.#readers].map((reader) => reader.lag);
    return {
      id: this.id,
      ...(this.#principal ? { sub: this.#principal.sub } : {}),
      connectedAt: new Date(this.connectedAtMs).toISOString(),
      subscriptions: this.#readers.size,
      lag: lags.length === 0 ? 0 : Math.max(...lags),
      unsentBytes: this.unsentBytes,
      sentBytes: this.#sentBytes,
    };
  }

  get #sentBytes(): number {
    return this.#socket.bytesWritten - this.#socket.writableLength;
  }

  #isStalled(now: number): boolean {
    const taken = this.unsentBytes === 0 ? undefined : this.#sentBytes;
    if (taken === undefined || taken !== this.#takenBytes || this.#stalledAt === undefined) {
      this.#stalledAt = taken === undefined ? undefined : now;
      this.#takenBytes = taken ?? 0;
      return false;
    }
    return now - this.#stalledAt >= this.#options.limits.stalledMs;
  }

  #close(code: number, reason: string): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return;
    this.#counts.closes.set(code, (this.#counts.closes.get(code) ?? 0) + 1);
    // Cut between characters: half of one would not be UTF-8.
    const text = Buffer.from(reason)
      .subarray(0, REASON_LIMIT_BYTES)
      .toString('utf8')
      .replace(/\ufffd+$/, '');
    this.#ws.close(code, text);
  }
}

/** What all sockets of one subject have together. */
type User = { sub: string; connections: number; subscriptions: number };

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
};

export class Connections {
  readonly counts: ConnectionCounts = { closes: new Map(), stalls: 0 };
  readonly #options: ConnectionsOptions;
  readonly #byWebSocket = new Map<WebSocket, Connection>();
  readonly #byRequest = new WeakMap<IncomingMessage, Connection>();
  readonly #users = new Map<string, User>();
  readonly #addresses = new Map<string, number>();
  readonly #wheel: NodeJS.Timeout;
  #lastId = 0;

  /** One wheel for all: no timer of its own for any client. */
  constructor(options: ConnectionsOptions) {
    this.#options = options;
    const { heartbeatMs, limits } = options;
    const turnMs = Math.min(1_000, heartbeatMs / 4, limits.identifyMs / 4, limits.stalledMs / 4);
    this.#wheel = setInterval(() => this.#turn(), turnMs);
    this.#wheel.unref();
  }

  get count(): number {
    return this.#byWebSocket.size;
  }

  /** Those that have too much unsent to be read for. */
  get slow(): number {
    let count = 0;
    for (const connection of this.#byWebSocket.values()) if (!connection.isDrained) count++;
    return count;
  }

  /** False where it is one too many, and has been closed. */
  add(ws: DirectWebSocket, request: IncomingMessage): boolean {
    const options = this.#options;
    const connection = new Connection({ id: ++this.#lastId, ws, request, options, counts: this.counts });
    this.#byWebSocket.set(ws, connection);
    this.#byRequest.set(request, connection);
    const { address } = connection;
    const fromThere = (this.#addresses.get(address) ?? 0) + 1;
    this.#addresses.set(address, fromThere);
    ws.once('close', () => this.#forget(ws, connection));
    ws.bound(options.limits.unsentBytes, () => connection.outpace());
    if (fromThere <= options.limits.connectionsPerAddress) return true;
    connection.exceed('too many connections from this address');
    return false;
  }

  /** Puts in place who a socket is. */
  identify(ws: WebSocket, principal: Principal): void {
    const connection = this.#byWebSocket.get(ws);
    if (!connection) return; // It has closed while its token was looked at.
    connection.identify(principal);
    const user = this.#users.get(principal.sub) ?? { sub: principal.sub, connections: 0, subscriptions: 0 };
    this.#users.set(principal.sub, user);
    connection.enter(user);
  }

  of(ws: WebSocket): Connection {
    const connection = this.#byWebSocket.get(ws);
    if (!connection) throw new Error('not a connection of this server');
    return connection;
  }

  /** Closes the connection that a request opened, unless it has said who it is. */
  refuseSpeechless(request: IncomingMessage): void {
    const connection = this.#byRequest.get(request);
    if (connection && !connection.hasSpoken) connection.refuse('no token');
  }

  stats(): ClientStats[] {
    return [...this.#byWebSocket.values()].map((connection) => connection.stats());
  }

  /** Dismisses everyone, in random order over `spreadMs`, so that they do not all come back at once. */
  async close(spreadMs: number): Promise<void> {
    const connections = [...this.#byWebSocket.values()];
    const closed = [...this.#byWebSocket.keys()].map((ws) => new Promise((resolve) => ws.once('close', resolve)));
    const timers = connections.map((connection) => setTimeout(() => connection.dismiss(), Math.random() * spreadMs));
    const grace = setTimeout(() => {
      for (const connection of connections) connection.terminate();
    }, spreadMs + GRACE_MS);
    await Promise.all(closed);
    for (const timer of [...timers, grace]) clearTimeout(timer);
    clearInterval(this.#wheel);
  }

  #forget(ws: WebSocket, connection: Connection): void {
    this.#byWebSocket.delete(ws);
    const { address } = connection;
    const left = (this.#addresses.get(address) ?? 1) - 1;
    if (left === 0) this.#addresses.delete(address);
    else this.#addresses.set(address, left);
    const user = connection.leave();
    if (user?.connections === 0) this.#users.delete(user.sub);
  }

  #turn(): void {
    const now = performance.now();
    for (const connection of this.#byWebSocket.values()) connection.check(now);
  }
}
