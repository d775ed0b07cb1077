import { parseTRPCMessage, type TRPCClientOutgoingMessage } from '@trpc/server/rpc';

/** Reads the messages of a client: one request, or a batch of them. */

/** Maximum length of a request id. The server keeps the id as long as the subscription, and repeats it in each frame. */
const MAX_ID_LENGTH = 200;

/** Maximum number of values in a message. */
export const MAX_VALUES = 50_000;

type Transformer = Parameters<typeof parseTRPCMessage>[1];

/** Throws if a request is malformed. */
export function requestsOf(message: unknown, transformer: Transformer): TRPCClientOutgoingMessage[] {
  return (Array.isArray(message) ? message : [message]).map((raw: unknown) => {
    const request = parseTRPCMessage(raw, transformer);
    if (typeof request.id === 'string' && request.id.length > MAX_ID_LENGTH) throw new Error('the id is too long');
    return request;
  });
}

/** Returns the id of a message that begins with it, as tRPC's client writes messages. Otherwise null. Never throws. */
export function idAtStart(json: Buffer): string | number | null {
  const [, digits, text] =
    /^\s*\{\s*"id"\s*:\s*(?:(\d{1,15})|"([^"\\]{0,200})")\s*,/.exec(json.toString('utf8', 0, 300)) ?? [];
  return text ?? (digits === undefined ? null : Number(digits));
}
