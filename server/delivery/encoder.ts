import { type Encoder, jsonEncoder } from '@trpc/server/adapters/ws';
import { RunwireError } from '../../shared/errors.ts';
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

/** Maximum number of values in a message, which is parsed in one turn of the event loop. */
const MAX_VALUES = 50_000;

export function createDirectEncoder(): Encoder {
  // tRPC answers a message that `decode` refuses at once, with the id null. The client would wait for its call.
  let refusedId: unknown;
  return {
    encode: (message) => {
      const { id, jsonrpc, result } = message as { id?: unknown; jsonrpc?: unknown; result?: { data?: unknown } };
      if (result?.data instanceof DirectSubscription) {
        result.data.begin({ id, jsonrpc });
        return nothing;
      }
      if (id !== null || refusedId === undefined) return jsonEncoder.encode(message);
      const answer = { ...(message as object), id: refusedId };
      refusedId = undefined;
      return jsonEncoder.encode(answer);
    },
    decode: (data) => {
      refusedId = undefined;
      if (typeof data === 'string' && valuesIn(data) > MAX_VALUES) {
        refusedId = idAtStart(data);
        throw new RunwireError('TOO_LARGE', `the message has more than ${MAX_VALUES} values`);
      }
      return decodeMessage(data);
    },
  };
}

function decodeMessage(data: Parameters<Encoder['decode']>[0]): unknown {
  const message = jsonEncoder.decode(data);
  for (const request of Array.isArray(message) ? message : [message]) {
    const { id } = (request ?? {}) as { id?: unknown };
    if (typeof id === 'string' && id.length > MAX_ID_LENGTH) throw new Error('the id is too long');
  }
  return message;
}

/** Returns the id of a message that begins with it, as tRPC's client writes messages. */
function idAtStart(json: string): unknown {
  const [, id] = /^\s*\{\s*"id"\s*:\s*(\d{1,15}|"[^"\\]{0,200}")\s*,/.exec(json.slice(0, 300)) ?? [];
  return id === undefined ? undefined : JSON.parse(id);
}

/** Returns the number of commas and opening brackets outside of strings: about the number of values. */
function valuesIn(json: string): number {
  if (json.length <= MAX_VALUES) return 0;
  let values = 0;
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === 0x2c || code === 0x5b || code === 0x7b) values++;
    else if (code === 0x22) {
      at++;
      while (at < json.length && json.charCodeAt(at) !== 0x22) at += json.charCodeAt(at) === 0x5c ? 2 : 1;
    }
  }
  return values;
}
