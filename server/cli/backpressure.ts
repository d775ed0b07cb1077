import type { WebSocket } from 'ws';
import type { WebSocketClass } from '../../client/index.ts';

/**
 * Writes to a stream, such as stdout. While the stream is full, all sockets of the class {@link WebSocket}, which a
 * client uses, are paused. The server then stops reading the log for these sockets, so no backlog grows on either side.
 */
export class BackpressureSocket {
  readonly WebSocket: WebSocketClass;
  readonly #stream: NodeJS.WriteStream;
  readonly #sockets = new Set<WebSocket>();
  #isFull = false;

  constructor(stream: NodeJS.WriteStream, Base: typeof WebSocket) {
    this.#stream = stream;
    const sockets = this.#sockets;
    const pauseWhenFull = (socket: WebSocket) => {
      if (this.#isFull) socket.pause();
    };
    class PausableWebSocket extends Base {
      constructor(url: string | URL) {
        super(url);
        sockets.add(this);
        this.once('open', () => pauseWhenFull(this));
        this.once('close', () => sockets.delete(this));
      }
    }
    this.WebSocket = PausableWebSocket;
  }

  write(text: string): void {
    if (this.#stream.write(text) || this.#isFull) return;
    this.#isFull = true;
    for (const socket of this.#sockets) socket.pause();
    this.#stream.once('drain', () => {
      this.#isFull = false;
      for (const socket of this.#sockets) socket.resume();
    });
  }

  flushed(): Promise<void> {
    return new Promise((resolve) => this.#stream.write('', () => resolve()));
  }
}
