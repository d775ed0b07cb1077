import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { closeCodes } from '../shared/errors.ts';
import type { Principal } from './auth.ts';
import type { Attached, FrameSink, Transport } from './delivery/reader.ts';

/** The open WebSockets: who is on, whether each is alive, and what each has yet to take. */

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
/** More subscriptions on one socket than any page has. */
const SUBSCRIPTION_LIMIT = 2_000;
/** How long a client may take to say who it is. */
const IDENTIFY_MS = 10_000;
const GRACE_MS = 1_000;
/** A close frame holds 123 bytes of reason; a UTF-16 unit takes at most three. */
const REASON_LIMIT_BYTES = 123;

export class Connection implements Transport, FrameSink {
  readonly id: number;
  readonly connectedAtMs = Date.now();
  readonly sink: FrameSink | undefined;
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #readers = new Set<Attached>();
  #principal: Principal | undefined;
  /** What it says of itself could be read, and is being looked at. */
  hasSpoken = false;
  /** One for all readers. */
  #drained: Promise<void> | undefined;
  #heardAt = performance.now();
  #pingAt: number;

  constructor(
    id: number,
    ws: WebSocket,
    socket: Socket,
    { heartbeatMs, isDirect }: { heartbeatMs: number; isDirect: boolean },
  ) {
    this.id = id;
    this.#ws = ws;
    this.#socket = socket;
    this.sink = isDirect ? this : undefined;
    this.#pingAt = this.#heardAt + heartbeatMs;
    const heard = () => {
      this.#heardAt = performance.now();
    };
    ws.on('message', heard);
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

  /** A socket that is closing takes nothing any more, and so is never drained. */
  get isDrained(): boolean {
    return this.#ws.readyState === this.#ws.OPEN && this.#socket.writableLength < DRAIN_BYTES;
  }

  drained(): Promise<void> {
    if (this.isDrained) return Promise.resolve();
    this.#drained ??= new Promise((resolve) => {
      const done = () => {
        if (this.#ws.readyState !== this.#ws.CLOSED && !this.isDrained) return;
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
    this.#ws.close(closeCodes.tryAgain, reason);
  }

  attach(reader: Attached): void {
    this.#readers.add(reader);
    if (this.#readers.size > SUBSCRIPTION_LIMIT) this.#ws.close(closeCodes.overLimit, 'too many subscriptions');
  }

  detach(reader: Attached): void {
    this.#readers.delete(reader);
  }

  /** Closes with 4401, and hears no more: what comes before the peer closes too would pile up unanswered. */
  refuse(reason: string): void {
    this.#ws.removeAllListeners('message');
    // Cut between characters: half of one would not be UTF-8.
    const text = Buffer.from(reason)
      .subarray(0, REASON_LIMIT_BYTES)
      .toString('utf8')
      .replace(/\ufffd+$/, '');
    this.#ws.close(closeCodes.unauthenticated, text);
  }

  /** Says that the server goes away. The stock client takes the notice as "connect anew". */
  dismiss(): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.send('{"id":null,"method":"reconnect"}');
    this.#ws.close(closeCodes.goingAway, 'the server is going away');
  }

  terminate(): void {
    this.#ws.terminate();
  }

  /** Pings when due, cuts off who has been silent for two intervals, and lets no one stay beyond their token. */
  check(now: number, heartbeatMs: number): void {
    if (now - this.#heardAt >= 2 * heartbeatMs) {
      this.#ws.terminate();
      return;
    }
    if (this.#ws.readyState !== this.#ws.OPEN) return;
    if (!this.#principal) {
      if (Date.now() - this.connectedAtMs >= IDENTIFY_MS) this.refuse('no token');
      return;
    }
    if (this.#principal.expiresAtMs !== undefined && this.#principal.expiresAtMs <= Date.now()) {
      this.refuse('the token has expired');
      return;
    }
    if (now < this.#pingAt) return;
    this.#pingAt = now + heartbeatMs;
    this.#ws.ping();
  }

  stats(): ClientStats {
    const lags = [...this.#readers].map((reader) => reader.lag);
    const unsentBytes = this.#socket.writableLength;
    return {
      id: this.id,
      ...(this.#principal ? { sub: this.#principal.sub } : {}),
      connectedAt: new Date(this.connectedAtMs).toISOString(),
      subscriptions: this.#readers.size,
      lag: lags.length === 0 ? 0 : Math.max(...lags),
      unsentBytes,
      sentBytes: this.#socket.bytesWritten - unsentBytes,
    };
  }
}

export class Connections {
  readonly #options: { heartbeatMs: number; isDirect: boolean };
  readonly #byWebSocket = new Map<WebSocket, Connection>();
  readonly #byRequest = new WeakMap<IncomingMessage, Connection>();
  readonly #wheel: NodeJS.Timeout;
  #lastId = 0;

  /** One wheel for all: no timer of its own for any client. `isDirect`: whether frames may be written to the sockets. */
  constructor(options: { heartbeatMs: number; isDirect: boolean }) {
    this.#options = options;
    this.#wheel = setInterval(() => this.#turn(), Math.min(1_000, options.heartbeatMs / 4));
    this.#wheel.unref();
  }

  get count(): number {
    return this.#byWebSocket.size;
  }

  add(ws: WebSocket, request: IncomingMessage): Connection {
    const connection = new Connection(++this.#lastId, ws, request.socket, this.#options);
    this.#byWebSocket.set(ws, connection);
    this.#byRequest.set(request, connection);
    ws.once('close', () => this.#byWebSocket.delete(ws));
    return connection;
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

  #turn(): void {
    const now = performance.now();
    for (const connection of this.#byWebSocket.values()) connection.check(now, this.#options.heartbeatMs);
  }
}
