/**
 * Ready WebSocket frames: byte for byte what tRPC's handler and `ws` would send, made once for all who are sent the same.
 * What differs between subscribers is the id that the client chose for its request, and it comes first.
 */

/** The beginning of every message of a subscription. */
export const messagePrefix = ({ id, jsonrpc }: { id: unknown; jsonrpc?: unknown }): string =>
  `${JSON.stringify({ id, jsonrpc }).slice(0, -1)},`;

/** The rest of a message that carries an item, given as JSON, under its cursor. */
export const messageSuffix = (cursor: string, json: string): string =>
  `"result":{"type":"data","data":{"id":"${cursor}","data":${json}},"id":"${cursor}"}}`;

const FIN_TEXT = 0x81;
const headerBytes = (payloadBytes: number) => (payloadBytes < 126 ? 2 : payloadBytes < 65_536 ? 4 : 10);

/** A text frame for each message, one after the other, as a server sends them: unmasked. RFC 6455, section 5.2. */
export function framesOf(head: string, rests: readonly string[]): Buffer {
  const headBytes = Buffer.byteLength(head);
  const sizes = rests.map((rest) => headBytes + Buffer.byteLength(rest));
  const frames = Buffer.allocUnsafe(sizes.reduce((sum, size) => sum + headerBytes(size) + size, 0));
  let at = 0;
  for (const [index, rest] of rests.entries()) {
    at = writeHeader(frames, at, sizes[index] as number);
    at += frames.write(head, at);
    at += frames.write(rest, at);
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
