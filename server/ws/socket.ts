import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import { nothing } from '../delivery/encoder.ts';
import type { FrameSink } from '../delivery/transport.ts';

/**
 * The server's class of WebSocket. It adds three things to `ws`:
 *
 * - It reports its traffic to one observer.
 * - It holds messages back while tRPC's handler cannot take them.
 * - It takes ready frames, and reports when they have left ({@link FrameSink}).
 */

/** Unsent bytes at which a reader pauses. */
const DRAIN_BYTES = 128 * 1024;
/** Poll interval of a compressed socket: `ws` has no event for the end of its compression queue. */
const DRAIN_POLL_MS = 20;

/** One object for all events: a listener for each would cost every idle socket a few hundred bytes. */
export interface SocketObserver {
  /** A message, ping or pong arrived. */
  onReceive(isMessage: boolean): void;
  /** A message is about to be sent. */
  onSend(): void;
  /** A reader begins to wait for the socket. */
  onStall(): void;
  onClose(): void;
}

export class DirectWebSocket extends WebSocket implements FrameSink {
  /** Called before any listener. */
  observer: SocketObserver | undefined;
  /** The TCP or TLS socket under this one. */
  tcp!: Socket;
  isCompressed = false;
  /** Messages that arrived while the handler could not take them. */
  #held: unknown[][] | undefined;
  /** Shared by all readers that wait. */
  #drained: Promise<void> | undefined;

  /** Called once, after the upgrade. */
  open(tcp: Socket, observer: SocketObserver): void {
    this.tcp = tcp;
    this.isCompressed = this.extensions !== '';
    this.observer = observer;
  }

  /** Holds messages back until {@link release}: without a context, the handler would lose a stop. */
  hold(): void {
    this.#held ??= [];
  }

  /** Emits the held messages, each in a turn of its own: a stop must find its subscription started. */
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
      this.#held.push(values);
      return true;
    }
    return super.emit(event, ...values);
  }

  override send(data: unknown, ...rest: unknown[]): void {
    if (data === nothing) return;
    this.observer?.onSend();
    super.send(...([data, ...rest] as Parameters<WebSocket['send']>));
  }

  get isOpen(): boolean {
    return this.readyState === this.OPEN;
  }

  /** False for a closing socket: it takes nothing more. */
  get isDrained(): boolean {
    // Below its high-water mark, which the owner of an attached HTTP server may have raised, a socket emits no `drain`.
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

  /** Writes to the TCP socket: `ws` would build a frame for each message. */
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
    // Only compression queues messages in `ws`. Each delivery reads this: without it, one object less is touched.
    return this.isCompressed ? this.bufferedAmount : this.tcp.writableLength;
  }

  /** Bytes that the kernel has taken. */
  get sentBytes(): number {
    return this.tcp.bytesWritten - this.tcp.writableLength;
  }
}
