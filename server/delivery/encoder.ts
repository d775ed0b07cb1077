import { type Encoder, jsonEncoder } from '@trpc/server/adapters/ws';
import { DirectSubscription } from './direct.ts';

/**
 * The encoder of tRPC's WebSocket handler. A {@link DirectSubscription} sends its own frames, and needs the id of the
 * client's request for them. So the subscription yields itself as its first item: the handler passes this item with the
 * request id to the encoder, and the encoder starts the subscription. The encoder returns {@link nothing}, which
 * `DirectWebSocket` does not send. Encoder and socket class are public extension points of tRPC and `ws`.
 */

/** A message that the socket must not send. */
export const nothing = new Uint8Array(0);

/** Maximum length of a request id. The server keeps the id as long as the subscription, and repeats it in each frame. */
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
