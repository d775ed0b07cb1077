import type { Socket } from 'node:net';
import type { FrameSink } from '../delivery/transport.ts';

/**
 * Writes ready WebSocket frames to the TCP socket. With `send`, `ws` would build a frame for each socket. It is a small
 * object of its own: for each delivery the processor then loads this object and the TCP socket from memory, and not the
 * WebSocket and its connection too.
 */
export class SocketSink implements FrameSink {
  groups = 0;
  /** False from the close frame on: a WebSocket must not send anything after it. */
  isOpen = true;
  readonly #tcp: Socket;
  readonly #limitBytes: number;

  /** `limitBytes`: with this many unsent bytes or more, the sink is not drained. */
  constructor(tcp: Socket, limitBytes: number) {
    this.#tcp = tcp;
    this.#limitBytes = limitBytes;
  }

  get isDrained(): boolean {
    return this.isOpen && this.#tcp.writableLength < this.#limitBytes && this.#tcp.writable;
  }

  write(frames: Buffer): void {
    if (this.isOpen) this.#tcp.write(frames);
  }

  cork(): void {
    this.#tcp.cork();
  }

  uncork(): void {
    this.#tcp.uncork();
  }
}
