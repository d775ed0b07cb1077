import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { closeCodes } from '../../shared/protocol.ts';
import type { ClientStats } from '../../shared/server-stats.ts';
import { tokenInvalidText } from '../auth/credentials.ts';
import type { Principal } from '../auth/principal.ts';
import type { Attached, FrameSink, Transport } from '../delivery/transport.ts';
import type { Limits } from '../limits.ts';
import { TokenBucket } from '../rate-limit.ts';
import type { Connections } from './connections.ts';
import type { DirectWebSocket, SocketOwner } from './socket.ts';

/** What all sockets of one subject have together. */
export type User = { principal: Principal; connections: number; subscriptions: number };
/** Where sockets come from. */
export type Address = { text: string; connections: number };

/** Unsent bytes at which a reader stops being read for. */
const DRAIN_BYTES = 128 * 1024;
/** A close frame holds 123 bytes of reason; a UTF-16 unit takes at most three. */
const REASON_LIMIT_BYTES = 123;
/** How often a compressed socket, which tells nobody when it has drained, is looked at. */
const LOOK_MS = 20;
const noHeaders = Object.freeze({});

/**
 * One socket. To tRPC's handler it stands for the request that opened it, too: the handler keeps that for as long as the
 * socket is open, and a request of Node's is a kilobyte of headers that nobody reads again.
 */
export class Connection implements Transport, FrameSink, SocketOwner {
  readonly id: number;
  readonly connectedAtMs = Date.now();
  readonly sink: FrameSink | undefined;
  readonly address: Address;
  /** Of the request, until the handler has made a context of it. */
  url: string | undefined;
  headers: Pick<IncomingHttpHeaders, 'host' | 'origin' | 'cookie'>;
  readonly socket: Socket;
  readonly #ws: DirectWebSocket;
  readonly #connections: Connections;
  /** Absent while it is full. */
  #messages: TokenBucket | undefined;
  /** Few, nearly always: a set of them would be larger than they are. */
  readonly #readers: Attached[] = [];
  #principal: Principal | undefined;
  /** All sockets of the same subject. */
  #user: User | undefined;
  /** What it says of itself could be read, and is being looked at. */
  hasSpoken = false;
  /** One for all readers. */
  #drained: Promise<void> | undefined;
  /** On the clock of all connections, which is never set. */
  readonly #openedAt: number;
  #heardAt: number;
  #pingAt: number;
  /** Since when it has taken nothing, and what it had taken by then. */
  #stalledAt: number | undefined;
  #takenBytes = 0;

  constructor(id: number, ws: DirectWebSocket, request: IncomingMessage, address: Address, connections: Connections) {
    const { host, origin, cookie } = request.headers;
    const { isDirect, heartbeatMs } = connections.options;
    this.id = id;
    this.url = request.url;
    this.headers = { host, origin, cookie };
    this.socket = request.socket;
    this.address = address;
    this.#ws = ws;
    this.#connections = connections;
    this.#openedAt = connections.monotonicMs;
    this.#heardAt = this.#openedAt;
    this.#pingAt = this.#heardAt + heartbeatMs;
    // `ws` has to make the frames of what is compressed.
    this.sink = isDirect && ws.extensions === '' ? this : undefined;
  }

  get principal(): Principal {
    if (!this.#principal) throw new Error('the connection has not been identified yet');
    return this.#principal;
  }

  /** Undefined until it has said who it is. */
  get holder(): Principal | undefined {
    return this.#principal;
  }

  /** What procedures know a socket by (`Context`). */
  get connection(): this {
    return this;
  }

  /** The handler has made its context. */
  forgetRequest(): void {
    this.url = undefined;
    this.headers = noHeaders;
  }

  heard(isMessage: boolean): void {
    this.#heardAt = this.#connections.monotonicMs;
    if (isMessage) this.request();
  }

  sending(): void {
    if (this.#ws.bufferedAmount > this.#limits.unsentBytes) this.outpace();
  }

  closed(): void {
    this.#connections.remove(this);
  }

  /** Puts a principal in place, at first or by a fresh token. */
  identify(principal: Principal): void {
    this.#principal = principal;
    for (const reader of [...this.#readers]) reader.recheckAccess();
  }

  /** Counts it among the sockets of its user; closes it where they are too many. */
  countForUser(user: User): void {
    this.#user = user;
    user.connections++;
    if (user.connections > this.#limits.connectionsPerUser) this.exceed('too many connections of this user');
  }

  /** It has closed. */
  uncount(): User | undefined {
    const user = this.#user;
    if (user) {
      user.connections--;
      user.subscriptions -= this.#readers.length;
    }
    this.#user = undefined;
    return user;
  }

  /** Counts a message, or a request in one: too many close the socket. Returns whether it may be looked at. */
  request(): boolean {
    this.#messages ??= new TokenBucket(this.#limits.messagesPerSecond);
    if (this.#messages.take(1)) return true;
    this.exceed('too many messages');
    return false;
  }

  /** A socket that is closing takes nothing any more, and so is never drained. */
  get isDrained(): boolean {
    // Below its high-water mark, which an HTTP server of others may have raised, a socket never says that it has drained.
    const limit = Math.max(DRAIN_BYTES, this.socket.writableHighWaterMark);
    return this.#ws.readyState === this.#ws.OPEN && this.unsentBytes < limit;
  }

  get unsentBytes(): number {
    return this.sink ? this.socket.writableLength : this.#ws.bufferedAmount;
  }

  drained(): Promise<void> {
    if (this.isDrained) return Promise.resolve();
    this.#drained ??= new Promise((resolve) => {
      this.#connections.counts.stalls++;
      const looking = this.sink ? undefined : setInterval(() => done(), LOOK_MS);
      const done = () => {
        if (this.#ws.readyState !== this.#ws.CLOSED && !this.isDrained) return;
        clearInterval(looking);
        this.socket.off('drain', done);
        this.#ws.off('close', done);
        this.#drained = undefined;
        resolve();
      };
      this.socket.on('drain', done);
      this.#ws.on('close', done);
    });
    return this.#drained;
  }

  /** To the TCP socket itself: `ws` would make a frame of its own for each. */
  write(frames: Buffer): void {
    // After its closing frame a WebSocket sends nothing more.
    if (this.#ws.readyState === this.#ws.OPEN) this.socket.write(frames);
  }

  cork(): void {
    this.socket.cork();
  }

  uncork(): void {
    this.socket.uncork();
  }

  interrupt(reason = 'the log is not available'): void {
    this.#close(closeCodes.tryAgain, reason);
  }

  attach(reader: Attached): void {
    const { subscriptionsPerSocket, subscriptionsPerUser } = this.#limits;
    this.#readers.push(reader);
    if (this.#user) this.#user.subscriptions++;
    if (this.#readers.length > subscriptionsPerSocket) this.exceed('too many subscriptions on this socket');
    else if (this.#user && this.#user.subscriptions > subscriptionsPerUser) {
      this.exceed('too many subscriptions of this user');
    }
  }

  detach(reader: Attached): void {
    const index = this.#readers.indexOf(reader);
    if (index === -1) return;
    this.#readers.splice(index, 1);
    if (this.#user) this.#user.subscriptions--;
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

  /** Closes with 4401 or 4403 where its token has expired or been revoked. Returns whether it is good. */
  closeIfTokenInvalid(): boolean {
    const reason = this.#principal && this.#connections.options.invalidReasonOf(this.#principal);
    if (!reason) return true;
    this.#ws.removeAllListeners('message');
    this.#close(reason === 'revoked' ? closeCodes.revoked : closeCodes.unauthenticated, tokenInvalidText[reason]);
    return false;
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
    const { heartbeatMs, limits } = this.#connections.options;
    if (now - this.#heardAt >= 2 * heartbeatMs) {
      this.#ws.terminate();
      return;
    }
    if (this.#ws.readyState !== this.#ws.OPEN) return;
    if (!this.#principal) {
      if (!this.hasSpoken && now - this.#openedAt >= limits.identifyMs) this.refuse('no token');
      return;
    }
    if (!this.closeIfTokenInvalid()) return;
    if (this.#messages?.isFull) this.#messages = undefined;
    if (this.#isStalled(now)) {
      this.outpace();
      return;
    }
    if (now < this.#pingAt) return;
    this.#pingAt = now + heartbeatMs;
    this.#ws.ping();
  }

  get subscriptions(): number {
    return this.#readers.length;
  }

  /** Events between the slowest of its subscriptions and the head. */
  get lag(): number {
    return this.#readers.reduce((most, reader) => Math.max(most, reader.lag), 0);
  }

  stats(): ClientStats {
    return {
      id: this.id,
      ...(this.#principal ? { sub: this.#principal.sub } : {}),
      connectedAt: new Date(this.connectedAtMs).toISOString(),
      subscriptions: this.subscriptions,
      lag: this.lag,
      unsentBytes: this.unsentBytes,
      sentBytes: this.#sentBytes,
    };
  }

  get #limits(): Limits {
    return this.#connections.options.limits;
  }

  get #sentBytes(): number {
    return this.socket.bytesWritten - this.socket.writableLength;
  }

  #isStalled(now: number): boolean {
    const taken = this.unsentBytes === 0 ? undefined : this.#sentBytes;
    if (taken === undefined || taken !== this.#takenBytes || this.#stalledAt === undefined) {
      this.#stalledAt = taken === undefined ? undefined : now;
      this.#takenBytes = taken ?? 0;
      return false;
    }
    return now - this.#stalledAt >= this.#limits.stalledMs;
  }

  #close(code: number, reason: string): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return;
    this.#connections.counts.closes.set(code, (this.#connections.counts.closes.get(code) ?? 0) + 1);
    // Cut between characters: half of one would not be UTF-8.
    const text = Buffer.from(reason)
      .subarray(0, REASON_LIMIT_BYTES)
      .toString('utf8')
      .replace(/\ufffd+$/, '');
    this.#ws.close(code, text);
  }
}
