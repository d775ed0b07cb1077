import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import { nothing } from '../delivery/encoder.ts';
import type { FrameSink } from '../delivery/transport.ts';

/**
 * The server's WebSocket class. It adds three features to the class of `ws`:
 *
 * - It reports received and sent messages to one observer.
 * - It keeps received messages back while tRPC's handler is not ready for them.
 * - It writes ready WebSocket frames, and reports when its unsent bytes have drained ({@link FrameSink}).
 */

/** A reader pauses while the socket has this many unsent bytes or more. */
const DRAIN_BYTES = 128 * 1024;
/**
 * Interval at which a compressed socket checks its unsent bytes: `ws` has no event for the end of its compression queue.
 */
const DRAIN_POLL_MS = 20;

/**
 * Gets all events of a socket. One object, because a listener for each event would cost every idle socket a few hundred
 * bytes.
 */
export interface SocketObserver {
  /** A message, ping or pong arrived. */
  onReceive(isMessage: boolean): void;
  /** A message is about to be sent. */
  onSend(): void;
  /** A reader begins to wait until the socket has drained. */
  onStall(): void;
  onClose(): void;
}

export class DirectWebSocket extends WebSocket implements FrameSink {
  /** Called before the listeners of an event. */
  observer: SocketObserver | undefined;
  /** The TCP or TLS socket that carries this WebSocket. */
  tcp!: Socket;
  isCompressed = false;
  /** Received messages that are kept back; undefined unless {@link hold} was called. */
  #held: unknown[][] | undefined;
  /** One promise for all readers that wait until the socket has drained. */
  #drained: Promise<void> | undefined;

  /** Called once, after the upgrade. */
  open(tcp: Socket, observer: SocketObserver): void {
    this.tcp = tcp;
    this.isCompressed = this.extensions !== '';
    this.observer = observer;
  }

  /**
   * Keeps received messages back until {@link release}. Before tRPC's handler has a context, it would lose a message that
   * stops a subscription.
   */
  hold(): void {
    this.#held ??= [];
  }

  /**
   * Emits the kept messages, each in its own turn of the event loop: a subscription must have started before a message can
   * stop it.
   */
  release(): void {
    setImmediate(() => {
      const values = this.#held?.shift();
      if (values) {
        super.emit('message', ...values);
        this.release();
      } else this.#held = undefined;
    });
  }

  override emit(event: string | symbol, ...values: unknown[]): boolean {
    if (event === 'message' || event === 'ping' || event === 'pong') this.observer?.onReceive(event === 'message');
    else if (event === 'close') this.observer?.onClose();
    if (event === 'message' && this.#held) {
      // A closing socket may receive messages for another 30 s. Nothing would read them.
      if (this.isOpen) this.#held.push(values);
      return true;
    }
    return super.emit(event, ...values);
  }

  override close(code?: number, reason?: string | Buffer): void {
    if (this.#held) this.#held = [];
    super.close(code, reason);
  }

  override send(data: unknown, ...rest: unknown[]): void {
    if (data === nothing) return;
    this.observer?.onSend();
    super.send(...([data, ...rest] as Parameters<WebSocket['send']>));
  }

  get isOpen(): boolean {
    return this.readyState === this.OPEN;
  }

  /** Whether a reader may write: the socket is open, and has few unsent bytes. */
  get isDrained(): boolean {
    // A socket emits `drain` only if its unsent bytes had reached its high-water mark. The owner of an attached HTTP server
    // may have raised that mark above `DRAIN_BYTES`.
    const limit = Math.max(DRAIN_BYTES, this.tcp.writableHighWaterMark);
    return this.isOpen && this.unsentBytes < limit;
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

  /** Writes ready frames to the TCP socket. With `send`, `ws` would build a frame for each socket. */
  write(frames: Buffer): void {
    // A WebSocket must not send anything after its close frame.
    if (this.isOpen) this.tcp.write(frames);
  }

  cork(): void {
    this.tcp.cork();
  }

  uncork(): void {
    this.tcp.uncork();
  }

  get unsentBytes(): number {
    // `ws` queues messages only for compression. Each delivery reads this getter, so it reads the TCP socket alone if
    // possible.
    return this.isCompressed ? this.bufferedAmount : this.tcp.writableLength;
  }

  /** Bytes that the kernel has accepted. */
  get sentBytes(): number {
    return this.tcp.bytesWritten - this.tcp.writableLength;
  }
}
