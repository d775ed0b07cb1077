import { WebSocket } from 'ws';
import { nothing } from '../delivery/encoder.ts';

/** Whose a socket is. */
export interface SocketOwner {
  /** Something came: a message, or a sign of life. */
  heard(isMessage: boolean): void;
  /** Something is about to be sent. */
  sending(): void;
  closed(): void;
}

export class DirectWebSocket extends WebSocket {
  /** Told before any listener. Listeners of its own would cost every idle socket a few hundred bytes. */
  owner: SocketOwner | undefined;
  /** Messages that came while the handler could not take them. */
  #held: unknown[][] | undefined;

  /** Keeps messages back until {@link release}: the handler would lose a stop that comes before it has a context. */
  hold(): void {
    this.#held ??= [];
  }

  /** Hands on what was kept, each in a turn of its own: a stop must find that its subscription has begun. */
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
    if (event === 'message' || event === 'ping' || event === 'pong') this.owner?.heard(event === 'message');
    else if (event === 'close') this.owner?.closed();
    if (event === 'message' && this.#held) {
      this.#held.push(values);
      return true;
    }
    return super.emit(event, ...values);
  }

  override send(data: unknown, ...rest: unknown[]): void {
    if (data === nothing) return;
    this.owner?.sending();
    super.send(...([data, ...rest] as Parameters<WebSocket['send']>));
  }
}
