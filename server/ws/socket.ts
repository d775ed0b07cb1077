import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import { framesOf } from '../delivery/frames.ts';
import { afterPromises } from '../slices.ts';
import { SocketSink } from './socket-sink.ts';

/**
 * The server's WebSocket class. It adds three features to the class of `ws`:
 *
 * - It reports received and sent messages to one observer, and gives messages to one receiver.
 * - It keeps received messages back while the token is verified, while the calls of a message begin, and while it waits for
 *   its turn, and reads few of them.
 * - It writes ready WebSocket frames ({@link SocketSink}), and reports when its unsent bytes have drained.
 */

/** A reader pauses while the socket has this many unsent bytes or more. */
const DRAIN_BYTES = 128 * 1024;
/**
 * Interval at which a compressed socket checks its unsent bytes: `ws` has no event for the end of its compression queue.
 */
const DRAIN_POLL_MS = 20;

/** Until the token is verified, a socket reads this many bytes. Then TCP holds the client back. */
const MAX_UNVERIFIED_BYTES = 64 * 1024;
/** A chunk of fewer bytes counts as this many: each chunk and each buffer has a cost of its own. */
const MIN_CHUNK_BYTES = 256;
/** What a socket keeps back until the token is verified. A compressed message counts its bytes after decompression. */
const MAX_HELD_MESSAGES = 2_048;
const MAX_HELD_BYTES = 1024 * 1024;
/**
 * What a socket keeps back afterwards, besides the last message. It is paused then, but one chunk of a compressed socket may have
 * hundreds of messages of the maximum size.
 */
const MAX_HELD_VERIFIED_BYTES = 4 * 1024 * 1024;

/**
 * Gets all events of a socket. One object, because a listener for each event would cost every idle socket a few hundred
 * bytes.
 */
export interface SocketObserver {
  /** A message, ping or pong arrived. */
  onReceive(isMessage: boolean): void;
  /** A message was sent. */
  onSend(): void;
  /** The client has sent more than the socket may keep back. */
  onOverflow(): void;
  /** A reader begins to wait until the socket has drained. */
  onStall(): void;
  onClose(): void;
  /** Whether the token is verified. Before that, messages are not answered. */
  readonly isAuthenticated: boolean;
  /** Returns a promise to wait for before a message is passed on, or undefined if it may be passed on now. */
  turnToAnswer(): Promise<void> | undefined;
  /** Returns a promise to wait for before {@link onClose}, or undefined if it may be called now. */
  turnToClose(): Promise<void> | undefined;
}

/** Gets the messages of a socket. */
export interface MessageReceiver {
  /** Returns what is left of a message for the next turn of the event loop. Later messages wait for it. */
  onMessage(data: Buffer, isBinary: boolean): Rest | undefined;
  onError(error: Error): void;
  onClose(): void;
}

/**
 * A socket emits `drain` only if its unsent bytes had reached its high-water mark. The owner of an attached HTTP server may
 * have raised that mark above `DRAIN_BYTES`.
 */
const drainBytesOf = (tcp: Socket): number => Math.max(DRAIN_BYTES, tcp.writableHighWaterMark);

type Message = { data: Buffer; isBinary: boolean };
/** Goes on with a message. Returns what is left of it after one turn of the event loop. */
export type Rest = () => Rest | undefined;

export class DirectWebSocket extends WebSocket {
  /** Called before the receiver. */
  observer: SocketObserver | undefined;
  receiver: MessageReceiver | undefined;
  /** The TCP or TLS socket that carries this WebSocket. */
  tcp!: Socket;
  /** Writes ready frames. With compression, `ws` must build them. */
  sink!: SocketSink;
  isCompressed = false;
  /** Received messages that are kept back; undefined unless {@link hold} was called. The first may be a rest. */
  #held: (Message | Rest)[] | undefined;
  #heldBytes = 0;
  #stopMeter: (() => void) | undefined;
  /** Bytes of the largest message since the socket was last drained. */
  #largestBytes = 0;
  /** One promise for all readers that wait until the socket has drained. */
  #drained: Promise<void> | undefined;

  /** Called once, after the upgrade. */
  open(tcp: Socket, observer: SocketObserver): void {
    this.tcp = tcp;
    this.sink = new SocketSink(tcp, drainBytesOf(tcp));
    this.isCompressed = this.extensions !== '';
    this.observer = observer;
    let bytes = 0;
    const meter = (chunk: Buffer) => {
      bytes += Math.max(chunk.length, MIN_CHUNK_BYTES);
      if (bytes >= MAX_UNVERIFIED_BYTES) this.pause();
    };
    tcp.on('data', meter);
    this.#stopMeter = () => tcp.off('data', meter);
  }

  /**
   * Keeps received messages back until {@link release}: before the token is verified, no call has a principal, and before all
   * calls of a message have begun, a later message could stop one in vain.
   */
  hold(): void {
    this.#held ??= [];
  }

  /**
   * Reads on without a limit. Before that, passes on the kept messages, each in its own turn of the event loop, as `ws` does
   * later.
   */
  release(): void {
    if (!this.#held) {
      this.#readOn();
      return;
    }
    setImmediate(() => this.#awaitTurn());
  }

  #awaitTurn(): void {
    const turn = this.observer?.turnToAnswer();
    if (turn) void turn.then(() => this.#passNext());
    else this.#passNext();
  }

  #passNext(): void {
    const next = this.#held?.shift();
    if (next) {
      if (typeof next !== 'function') this.#heldBytes -= next.data.length;
      this.#pass(next);
      if (this.#held && this.#held.length > 0) {
        this.release();
        return;
      }
    }
    this.#held = undefined;
    this.#readOn();
  }

  /** `ws` reports all events here. Messages and errors have one receiver, so they need no listeners. */
  override emit(event: string | symbol, ...values: unknown[]): boolean {
    switch (event) {
      case 'message': {
        const [data, isBinary] = values as [Buffer, boolean];
        this.#onMessage({ data, isBinary });
        return true;
      }
      case 'error':
        this.receiver?.onError(values[0] as Error);
        return true;
      case 'close':
        return this.#emitClose(values);
      default:
        if (event === 'ping' || event === 'pong') this.observer?.onReceive(false);
        return super.emit(event, ...values);
    }
  }

  #onMessage(message: Message): void {
    this.observer?.onReceive(true);
    if (!this.isOpen) return;
    if (this.#held) {
      this.#keep(message);
      return;
    }
    // The first message has the token, and waits for its turn where that is verified.
    const turn = this.observer?.isAuthenticated ? this.observer.turnToAnswer() : undefined;
    if (turn) {
      this.hold();
      this.#keep(message);
      this.pause();
      void turn.then(() => this.#passNext());
    } else if (this.#pass(message)) this.release();
  }

  /** Thousands of sockets may close at once, and each ends a connection with its subscriptions. */
  #emitClose(values: unknown[]): boolean {
    const close = () => {
      this.observer?.onClose();
      this.receiver?.onClose();
      super.emit('close', ...values);
    };
    const turn = this.observer?.turnToClose();
    if (turn) void turn.then(close);
    else close();
    return true;
  }

  /**
   * What a message causes at once leaves in one write: the start of a subscription and its first messages, for example. Returns
   * whether a rest of it is kept back.
   */
  #pass(next: Message | Rest): boolean {
    if (!this.isOpen) return false;
    if (this.observer?.isAuthenticated) {
      this.sink.cork();
      afterPromises(() => this.sink.uncork());
    }
    const rest = typeof next === 'function' ? next() : this.receiver?.onMessage(next.data, next.isBinary);
    // The receiver may have closed the socket.
    if (!rest || !this.isOpen) return false;
    this.hold();
    this.#held?.unshift(rest);
    this.pause();
    return true;
  }

  override close(code?: number, reason?: string | Buffer): void {
    if (this.#held) this.#held = [];
    this.sink.isOpen = false;
    super.close(code, reason);
    // Unread data would make TCP reset the connection, and the client would not see the close code.
    this.#readOn();
  }

  override send(data: unknown, ...rest: unknown[]): void {
    const before = this.unsentBytes;
    if (this.isDrained) this.#largestBytes = 0;
    // On a socket without compression, `ws` keeps nothing back, and would write the head of the frame by itself.
    // The sink does not know that the client has ended its side of the TCP socket: a write would then destroy the socket.
    const isDirect = typeof data === 'string' && rest.length === 0 && !this.isCompressed && this.isOpen;
    if (isDirect) this.sink.write(framesOf('', [data]));
    else super.send(...([data, ...rest] as Parameters<WebSocket['send']>));
    this.#largestBytes = Math.max(this.#largestBytes, this.unsentBytes - before);
    this.observer?.onSend();
  }

  #keep(message: Message): void {
    const held = this.#held as (Message | Rest)[];
    const before = this.#heldBytes;
    held.push(message);
    this.#heldBytes += message.data.length;
    const isOverflow = this.observer?.isAuthenticated
      ? before > MAX_HELD_VERIFIED_BYTES
      : held.length > MAX_HELD_MESSAGES || this.#heldBytes > MAX_HELD_BYTES;
    if (isOverflow) this.observer?.onOverflow();
  }

  #readOn(): void {
    this.#stopMeter?.();
    this.#stopMeter = undefined;
    if (this.isPaused) this.resume();
  }

  get isOpen(): boolean {
    return this.readyState === this.OPEN;
  }

  /** Whether a reader may write: the socket is open, and has few unsent bytes. */
  get isDrained(): boolean {
    return this.isOpen && this.unsentBytes < drainBytesOf(this.tcp);
  }

  /** Resolves once the socket has drained or closed. */
  drained(): Promise<void> {
    if (this.isDrained) return Promise.resolve();
    this.#drained ??= new Promise((resolve) => {
      this.observer?.onStall();
      const poll = this.isCompressed ? setInterval(() => done(), DRAIN_POLL_MS) : undefined;
      const done = () => {
        if (this.readyState !== this.CLOSED && !this.isDrained) return;
        clearInterval(poll);
        this.tcp.off('drain', done);
        this.off('close', done);
        this.#drained = undefined;
        resolve();
      };
      this.tcp.on('drain', done);
      this.on('close', done);
    });
    return this.#drained;
  }

  get unsentBytes(): number {
    // `ws` queues messages only for compression. Each delivery reads this getter, so it reads the TCP socket alone if
    // possible.
    return this.isCompressed ? this.bufferedAmount : this.tcp.writableLength;
  }

  /** Unsent bytes without one message, the largest: over a slow line, a large answer takes as long as it needs. */
  get backlogBytes(): number {
    return this.unsentBytes - this.#largestBytes;
  }

  /** Bytes that the kernel has accepted. */
  get sentBytes(): number {
    return this.tcp.bytesWritten - this.tcp.writableLength;
  }
}
