import { type Encoder, jsonEncoder } from '@trpc/server/adapters/ws';
import { WebSocket } from 'ws';
import { DirectSubscription } from './direct.ts';

/**
 * Where a {@link DirectSubscription} gets out of tRPC's handler, by two of its public extension points: the encoder, which
 * is given the subscription's first item together with the id of the request, and the class of the sockets.
 */

/** Stands for a message that is not to be sent. */
const nothing = new Uint8Array(0);

/** Of an id of a request, which is kept as long as its subscription and comes back in each of its frames. */
const ID_LIMIT_LENGTH = 200;

export const directEncoder: Encoder = {
  encode: (message) => {
    const { id, jsonrpc, result } = message as { id?: unknown; jsonrpc?: unknown; result?: { data?: unknown } };
    if (!(result?.data instanceof DirectSubscription)) return jsonEncoder.encode(message);
    result.data.begin({ id, jsonrpc });
    return nothing;
  },
  decode: (data) => {
    const message = jsonEncoder.decode(data);
    for (const request of Array.isArray(message) ? message : [message]) {
      const { id } = (request ?? {}) as { id?: unknown };
      if (typeof id === 'string' && id.length > ID_LIMIT_LENGTH) throw new Error('the id is too long');
    }
    return message;
  },
};

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
