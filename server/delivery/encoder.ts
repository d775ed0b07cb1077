import { type Encoder, jsonEncoder } from '@trpc/server/adapters/ws';
import { DirectSubscription } from './direct.ts';

/**
 * The encoder of tRPC's WebSocket handler. A {@link DirectSubscription} yields itself as its first item: the encoder gets
 * it together with the id of the request, and starts it. The handler then sends {@link nothing}, which the class of the
 * sockets drops. Encoder and socket class are public extension points of tRPC and `ws`.
 */

/** A message that the socket must not send. */
export const nothing = new Uint8Array(0);

/** A request id is kept as long as its subscription, and is part of each of its frames. */
const MAX_ID_LENGTH = 200;

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
      if (typeof id === 'string' && id.length > MAX_ID_LENGTH) throw new Error('the id is too long');
    }
    return message;
  },
};
