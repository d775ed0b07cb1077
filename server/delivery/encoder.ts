import { type Encoder, jsonEncoder } from '@trpc/server/adapters/ws';
import { DirectSubscription } from './direct.ts';

/**
 * Where a {@link DirectSubscription} gets out of tRPC's handler, by two of its public extension points: the encoder, which
 * is given the subscription's first item together with the id of the request, and the class of the sockets.
 */

/** Stands for a message that is not to be sent. */
export const nothing = new Uint8Array(0);

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
