/**
 * Builds the WebSocket frames of messages: the same bytes that tRPC's handler and `ws` would send. A message is a prefix
 * and a suffix. The prefix contains the request id and is the same for all messages of a subscription. The suffix contains
 * the item and its cursor, and is the same for all subscribers.
 */

/** Returns the start of all messages of a subscription. */
export const messagePrefix = ({ id, jsonrpc }: { id: unknown; jsonrpc?: unknown }): string =>
  `${JSON.stringify({ id, jsonrpc }).slice(0, -1)},`;

/** Returns the rest of a message: an item as JSON, with its cursor. */
export const messageSuffix = (cursor: string, json: string): string =>
  `"result":{"type":"data","data":{"id":"${cursor}","data":${json}},"id":"${cursor}"}}`;

const FIN_TEXT = 0x81;
const headerBytes = (payloadBytes: number) => (payloadBytes < 126 ? 2 : payloadBytes < 65_536 ? 4 : 10);

/** Returns one unmasked text frame for each message, concatenated (RFC 6455, section 5.2). */
export function framesOf(prefix: string, suffixes: readonly string[]): Buffer {
  const prefixBytes = Buffer.byteLength(prefix);
  const sizes = suffixes.map((suffix) => prefixBytes + Buffer.byteLength(suffix));
  const frames = Buffer.allocUnsafe(sizes.reduce((sum, size) => sum + headerBytes(size) + size, 0));
  let at = 0;
  for (const [index, suffix] of suffixes.entries()) {
    at = writeHeader(frames, at, sizes[index] as number);
    at += frames.write(prefix, at);
    at += frames.write(suffix, at);
  }
  return frames;
}

function writeHeader(frames: Buffer, start: number, payloadBytes: number): number {
  let at = frames.writeUInt8(FIN_TEXT, start);
  if (payloadBytes < 126) return frames.writeUInt8(payloadBytes, at);
  if (payloadBytes < 65_536) {
    at = frames.writeUInt8(126, at);
    return frames.writeUInt16BE(payloadBytes, at);
  }
  at = frames.writeUInt8(127, at);
  return frames.writeBigUInt64BE(BigInt(payloadBytes), at);
}
