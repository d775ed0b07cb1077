import { parseTRPCMessage, type TRPCClientOutgoingMessage } from '@trpc/server/rpc';

/** Reads the messages of a client: one request, or a batch of them. */

/** Maximum length of a request id. The server keeps the id as long as the subscription, and repeats it in each frame. */
const MAX_ID_LENGTH = 200;

/** Maximum number of values in a message, which is parsed in one turn of the event loop. */
export const MAX_VALUES = 50_000;

type Transformer = Parameters<typeof parseTRPCMessage>[1];

/** Throws if a request is malformed. */
export function requestsOf(json: string, transformer: Transformer): TRPCClientOutgoingMessage[] {
  const message: unknown = JSON.parse(json);
  return (Array.isArray(message) ? message : [message]).map((raw: unknown) => {
    const request = parseTRPCMessage(raw, transformer);
    if (typeof request.id === 'string' && request.id.length > MAX_ID_LENGTH) throw new Error('the id is too long');
    return request;
  });
}

/** Returns the id of a message that begins with it, as tRPC's client writes messages. Otherwise null. Never throws. */
export function idAtStart(json: string): string | number | null {
  const [, digits, text] = /^\s*\{\s*"id"\s*:\s*(?:(\d{1,15})|"([^"\\]{0,200})")\s*,/.exec(json.slice(0, 300)) ?? [];
  return text ?? (digits === undefined ? null : Number(digits));
}

/** Returns the number of commas and opening brackets outside of strings: about the number of values. */
export function valuesIn(json: string): number {
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
