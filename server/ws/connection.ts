import { closeCodes } from '../../shared/protocol.ts';
import type { ClientStats } from '../../shared/server-stats.ts';
import type { CallerConnection } from '../api/context.ts';
import { type TokenInvalidReason, tokenInvalidText } from '../auth/credentials.ts';
import type { Principal } from '../auth/principal.ts';
import type { AttachedReader, FrameSink } from '../delivery/transport.ts';
import type { Limits } from '../limits.ts';
import { TokenBucket } from '../rate-limit.ts';
import type { DirectWebSocket, SocketObserver } from './socket.ts';

/** The connections of one user, and their subscriptions. */
export type User = { principal: Principal; connections: Connection[]; subscriptions: number };
/** Connections from one network address: the number of authenticated ones, and the others, oldest first. */
export type Address = { text: string; connections: number; unidentified: Set<Connection> | undefined };

/** Totals since the server started. */
export type ConnectionCounts = {
  /** Sockets that the server closed, by close code. */
  closes: Map<number, number>;
  /** How often a reader (the server's side of a subscription) had to wait until its socket had drained. */
  stalls: number;
};

export type ConnectionsOptions = {
  heartbeatMs: number;
  /** Whether readers write WebSocket frames to the sockets. If not, their items are sent one by one. */
  isDirect: boolean;
  limits: Limits;
  /** Connections have the ids above this number. Default 0. */
  lastId?: number;
  /** Returns what a user has open on the other servers of the log. Default: nothing. */
  elsewhere?: (user: string) => { connections: number; subscriptions: number };
  /** Returns why a token is no longer valid, or undefined if it is valid. */
  invalidReasonOf: (principal: Principal) => TokenInvalidReason | undefined;
  /**
   * Called after each sweep (the check of all connections), to end subscriptions without a socket that have outlived their
   * token.
   */
  onSweep: () => void;
};

/** The part of {@link Connections} that one connection uses. */
export interface ConnectionRegistry {
  readonly options: ConnectionsOptions;
  readonly counts: ConnectionCounts;
  readonly monotonicMs: number;
  /** Maximum time between two checks of a connection at rest. */
  readonly restMs: number;
  /** Subscriptions of all connections. */
  subscriptions: number;
  /** Returns a promise to wait for before a message of a user is answered, or undefined. Users take turns. */
  turnToAnswer(user: string | undefined): Promise<void> | undefined;
  /** Called when the socket has closed. Returns a promise to wait for before the connection ends, or undefined. */
  turnToClose(connection: Connection): Promise<void> | undefined;
  remove(connection: Connection): void;
  /** Removes the connections that wait for their turn to end. */
  removeClosed(): void;
}

/** The part of the heartbeat interval (5 s of 30 s) that {@link Connection.probe} grants for an answer. */
const PROBE_PART = 1 / 6;
/** A close frame has room for 123 bytes of reason. */
const MAX_REASON_BYTES = 123;
/** A connection without readers. */
const noReaders: AttachedReader[] = [];
/** tRPC's stock client reconnects at once when it receives this message. */
const RECONNECT_NOTICE = '{"id":null,"method":"reconnect"}';

/**
 * One client on a WebSocket: its principal, its subscriptions, its limits and its heartbeat.
 *
 * 1. Opened: the client has `identifyMs` to send a token.
 * 2. Authenticated: the connection counts for its user, and the client may subscribe. `auth.refresh` replaces the
 *    principal.
 * 3. Closing: {@link close} sends the close code, and reads no further message. `ws` destroys the socket a second later.
 * 4. Closed: the registry removes the connection.
 */
export class Connection implements CallerConnection, SocketObserver {
  readonly id: number;
  readonly connectedAtMs = Date.now();
  readonly address: Address;
  /**
   * Whether the server has read the token, or found that there is none. From then on, the limit `identifyMs` does not
   * apply: the verification of a token has its own timeout.
   */
  isHandshakeRead = false;
  readonly #ws: DirectWebSocket;
  readonly #registry: ConnectionRegistry;
  /** The rate limit for messages. Undefined while the bucket is full, so that an idle connection needs no bucket. */
  #messages: TokenBucket | undefined;
  /** An array: most connections have few readers, and a Set is larger. */
  #readers: AttachedReader[] = noReaders;
  #principal: Principal | undefined;
  #user: User | undefined;
  // `…At` are times on the registry's monotonic clock.
  /** Time of the registry's monotonic clock. */
  readonly openedAt: number;
  #receivedAt: number;
  #pingAt: number;
  /** Time of the first ping since the client last sent something. */
  #unansweredAt: number | undefined;
  /** Since when the socket has unsent bytes and sends none of them. */
  #stalledAt: number | undefined;
  #isDraining = false;
  /** Bytes that the socket had sent at `#stalledAt`. */
  #stalledSentBytes = 0;
  /** Until then, {@link check} has nothing to do. 0 while there is something to observe: unsent bytes, for example. */
  #restsUntil = 0;

  constructor(id: number, ws: DirectWebSocket, address: Address, registry: ConnectionRegistry) {
    const { heartbeatMs } = registry.options;
    this.id = id;
    this.address = address;
    this.#ws = ws;
    this.#registry = registry;
    this.openedAt = registry.monotonicMs;
    this.#receivedAt = this.openedAt;
    this.#pingAt = this.openedAt + heartbeatMs;
  }

  /** Undefined on a compressed socket: `ws` must build its frames. */
  get sink(): FrameSink | undefined {
    return this.#registry.options.isDirect && !this.#ws.isCompressed ? this.#ws.sink : undefined;
  }

  /** The current principal: `auth.refresh` replaces it. */
  get principal(): Principal {
    if (!this.#principal) throw new Error('the connection is not authenticated yet');
    return this.#principal;
  }

  get isAuthenticated(): boolean {
    return this.#principal !== undefined;
  }

  get isOpen(): boolean {
    return this.#ws.isOpen;
  }

  setPrincipal(principal: Principal): void {
    this.#principal = principal;
    this.#restsUntil = 0;
    for (const reader of [...this.#readers]) reader.recheckAccess();
  }

  get user(): User | undefined {
    return this.#user;
  }

  /** Counts the connection for its user and its address. */
  count(user: User): void {
    this.#user = user;
    if (user.connections.length === 0) user.connections = [this];
    else user.connections.push(this);
    this.address.connections++;
  }

  /** Removes a closed connection from the counts of its user and its address. Returns the user. */
  uncount(): User | undefined {
    const user = this.#user;
    if (user) {
      user.connections.splice(user.connections.indexOf(this), 1);
      this.#countSubscriptions(user, -this.#readers.length);
      this.address.connections--;
    }
    this.#user = undefined;
    return user;
  }

  onReceive(isMessage: boolean): void {
    this.#receivedAt = this.#registry.monotonicMs;
    this.#unansweredAt = undefined;
    if (isMessage) this.countMessage();
  }

  onSend(): void {
    if (this.unsentBytes > 0) this.#restsUntil = 0;
    if (this.backlogBytes > this.#limits.unsentBytes) this.close(closeCodes.tooSlow, 'too slow');
  }

  onOverflow(): void {
    this.close(closeCodes.overLimit, 'too many messages at once');
  }

  onStall(): void {
    this.#registry.counts.stalls++;
    this.#restsUntil = 0;
  }

  turnToAnswer(): Promise<void> | undefined {
    return this.#registry.turnToAnswer(this.#principal?.sub);
  }

  turnToClose(): Promise<void> | undefined {
    return this.#registry.turnToClose(this);
  }

  onClose(): void {
    this.#registry.remove(this);
  }

  /**
   * Counts a message, or one more request of a batch, against the rate limit. Returns false over the limit: the connection
   * then closes, and the request must not begin.
   */
  countMessage(): boolean {
    this.#messages ??= new TokenBucket(this.#limits.messagesPerSecond);
    this.#restsUntil = 0;
    if (this.#messages.take(1)) return true;
    this.close(closeCodes.overLimit, 'too many messages');
    return false;
  }

  get isDrained(): boolean {
    return this.#ws.isDrained;
  }

  drained(): Promise<void> {
    return this.#ws.drained();
  }

  attach(reader: AttachedReader): void {
    const { subscriptionsPerSocket, subscriptionsPerUser } = this.#limits;
    // A push to an empty array would allocate room for 17.
    if (this.#readers.length === 0) this.#readers = [reader];
    else this.#readers.push(reader);
    this.#restsUntil = 0;
    const user = this.#user;
    if (user) this.#countSubscriptions(user, 1);
    const isOverLimit = () => user !== undefined && this.#subscriptionsOf(user) > subscriptionsPerUser;
    if (isOverLimit()) this.#registry.removeClosed();
    if (this.#readers.length > subscriptionsPerSocket) {
      this.close(closeCodes.overLimit, 'too many subscriptions on this socket');
    } else if (isOverLimit()) {
      this.close(closeCodes.overLimit, 'too many subscriptions of this user');
    }
  }

  #subscriptionsOf({ principal, subscriptions }: User): number {
    return subscriptions + (this.#registry.options.elsewhere?.(principal.sub).subscriptions ?? 0);
  }

  detach(reader: AttachedReader): void {
    const index = this.#readers.indexOf(reader);
    if (index === -1) return;
    this.#readers.splice(index, 1);
    if (this.#user) this.#countSubscriptions(this.#user, -1);
  }

  #countSubscriptions(user: User, count: number): void {
    user.subscriptions += count;
    this.#registry.subscriptions += count;
  }

  /**
   * Closes the socket with a code of {@link closeCodes}, if it is open. The server reads no further message, because it
   * could not send the answer.
   */
  close(code: number, reason: string): void {
    if (code === closeCodes.goingAway && this.#ws.isOpen) this.#ws.send(RECONNECT_NOTICE);
    if (!this.#ws.isOpen) return;
    const { closes } = this.#registry.counts;
    closes.set(code, (closes.get(code) ?? 0) + 1);
    this.#restsUntil = 0;
    // The cut text must not end with half a character, which would be invalid UTF-8.
    const text = Buffer.from(reason)
      .subarray(0, MAX_REASON_BYTES)
      .toString('utf8')
      .replace(/\ufffd+$/, '');
    this.#ws.close(code, text);
  }

  closeIfTokenInvalid(): boolean {
    const reason = this.#principal && this.#registry.options.invalidReasonOf(this.#principal);
    if (!reason) return true;
    this.close(reason === 'revoked' ? closeCodes.revoked : closeCodes.unauthenticated, tokenInvalidText[reason]);
    return false;
  }

  terminate(): void {
    this.#ws.terminate();
  }

  /**
   * Returns true if the client has not answered a ping for a while. Sends a ping to a silent client, for a later call.
   */
  probe(now: number): boolean {
    const patienceMs = this.#registry.options.heartbeatMs * PROBE_PART;
    if (this.#unansweredAt !== undefined) return now - this.#unansweredAt >= patienceMs;
    if (this.#ws.isOpen && now - this.#receivedAt >= patienceMs) this.#ping(now);
    return false;
  }

  /**
   * Sends a ping if it is due, and rests if there is nothing to observe until a later time. Closes the connection if:
   *
   * - the client has sent nothing for two heartbeat intervals,
   * - the client has sent no token within `identifyMs`,
   * - the token is no longer valid,
   * - the socket has unsent bytes, and has sent none of them for `stalledMs`.
   */
  check(now: number): void {
    const { heartbeatMs, limits } = this.#registry.options;
    if (!this.#ws.isOpen) return;
    if (!this.#principal) {
      // A socket that is paused before its first message is complete will not read the rest.
      const isLate = this.#ws.isPaused || now - this.openedAt >= limits.identifyMs;
      if (!this.isHandshakeRead && isLate) this.close(closeCodes.unauthenticated, 'no token');
      return;
    }
    if (now - this.#receivedAt >= 2 * heartbeatMs) {
      this.terminate();
      return;
    }
    if (!this.closeIfTokenInvalid()) return;
    if (this.#messages?.isFull) this.#messages = undefined;
    if (this.#isStalled(now)) {
      this.close(closeCodes.tooSlow, 'too slow');
      return;
    }
    if (now >= this.#pingAt) {
      this.#pingAt = now + heartbeatMs;
      this.#ping(now);
    }
    this.#rest(now);
  }

  /** Whether {@link check} has nothing to do, no byte is unsent, and no reader is behind. */
  isAtRest(now: number): boolean {
    return now < this.#restsUntil;
  }

  #rest(now: number): void {
    if (this.#messages || this.unsentBytes > 0 || this.lag > 0) return;
    const { expiresAtMs = Number.POSITIVE_INFINITY } = this.#principal as Principal;
    const silentAt = this.#receivedAt + 2 * this.#registry.options.heartbeatMs;
    const until = Math.min(now + this.#registry.restMs, this.#pingAt, silentAt, now + expiresAtMs - Date.now());
    // A whole number needs no object of its own.
    this.#restsUntil = Math.floor(until);
  }

  get subscriptions(): number {
    return this.#readers.length;
  }

  get unsentBytes(): number {
    return this.#ws.unsentBytes;
  }

  /** Unsent bytes without the largest answer: the number of answers is bounded by user. */
  get backlogBytes(): number {
    return this.#ws.backlogBytes;
  }

  /** Number of events between the slowest subscription of this connection and the head of the log. */
  get lag(): number {
    return this.#readers.reduce((most, reader) => Math.max(most, reader.lag), 0);
  }

  /** Asks the client to connect again: tRPC's client opens a new socket, resumes its subscriptions, and closes this one. */
  drain(): void {
    if (!this.#ws.isOpen) return;
    this.#isDraining = true;
    this.#ws.send(RECONNECT_NOTICE);
  }

  stats(): ClientStats {
    const { sub, projects } = this.#principal ?? {};
    return {
      id: this.id,
      ...(sub === undefined || projects === undefined ? {} : { sub, projects: [...projects] }),
      address: this.address.text,
      state: this.#isDraining ? 'draining' : this.isDrained ? 'keeping up' : 'slow',
      connectedAt: new Date(this.connectedAtMs).toISOString(),
      subscriptions: this.subscriptions,
      lag: this.lag,
      unsentBytes: this.unsentBytes,
      sentBytes: this.#ws.sentBytes,
    };
  }

  get #limits(): Limits {
    return this.#registry.options.limits;
  }

  #ping(now: number): void {
    this.#unansweredAt ??= now;
    this.#ws.ping();
  }

  #isStalled(now: number): boolean {
    const sent = this.unsentBytes === 0 ? undefined : this.#ws.sentBytes;
    if (sent === undefined || sent !== this.#stalledSentBytes || this.#stalledAt === undefined) {
      this.#stalledAt = sent === undefined ? undefined : now;
      this.#stalledSentBytes = sent ?? 0;
      return false;
    }
    return now - this.#stalledAt >= this.#limits.stalledMs;
  }
}
