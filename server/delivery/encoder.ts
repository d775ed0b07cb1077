import { type Encoder, jsonEncoder } from '@trpc/server/adapters/ws';
import { WebSocket } from 'ws';
import { DirectSubscription } from './direct.ts';

/**
 * Where a {@link DirectSubscription} gets out of tRPC's handler, by two of its public extension points: the encoder, which
 * is given the subscription's first item together with the id of the request, and the class of the sockets.
 */

/** Stands for a message that is not to be sent. */
const nothing = new Uint8Array(0);

export const directEncoder: Encoder = {
  encode: (message) => {
    const { id, jsonrpc, result } = message as { id?: unknown; jsonrpc?: unknown; result?: { data?: unknown } };
    if (!(result?.data instanceof DirectSubscription)) return jsonEncoder.encode(message);
    result.data.begin({ id, jsonrpc });
    return nothing;
  },
  decode: jsonEncoder.decode,
};

export class DirectWebSocket extends WebSocket {
  #limitBytes = Number.POSITIVE_INFINITY;
  #onExcess = () => {};

  /** Calls back when there is something to be sent while more than so many bytes are unsent. */
  bound(limitBytes: number, onExcess: () => void): void {
    this.#limitBytes = limitBytes;
    this.#onExcess = onExcess;
  }

  override send(data: unknown, ...rest: unknown[]): void {
    if (data === nothing) return;
    if (this.bufferedAmount > this.#limitBytes) this.#onExcess();
    super.send(...([data, ...rest] as Parameters<WebSocket['send']>));
  }
}
