import { Socket } from 'node:net';
import { WebSocket } from 'ws';
import { Dice } from './random.ts';

/**
 * Breaks the server on purpose, to prove that the checker detects it: one event in a thousand that leaves over a
 * WebSocket is skipped, repeated, or swapped with the next one. It patches the written bytes, so it works for every
 * delivery.
 */

export const sabotages = ['skip', 'repeat', 'swap'] as const;
export type Sabotage = (typeof sabotages)[number];

const SHARE = 1 / 1_000;

export function sabotage(kind: Sabotage, seed: number): void {
  const dice = new Dice(seed);
  const held = new WeakMap<object, unknown[]>();

  /** The messages to send instead of one. */
  const instead = <T>(receiver: object, message: T, isEvent: boolean): T[] => {
    const before = (held.get(receiver) ?? []) as T[];
    held.delete(receiver);
    if (!isEvent || !dice.chance(SHARE)) return [message, ...before];
    if (kind === 'skip') return before;
    if (kind === 'repeat') return [message, message, ...before];
    held.set(receiver, [message]);
    return before;
  };

  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (this: WebSocket, data: unknown, ...rest: unknown[]) {
    if (typeof data !== 'string') return send.apply(this, [data, ...rest] as Parameters<typeof send>);
    for (const message of instead(this, data, isEvent(data))) {
      send.apply(this, [message, ...rest] as Parameters<typeof send>);
    }
  } as typeof send;

  const { write } = Socket.prototype;
  Socket.prototype.write = function (this: Socket, data: unknown, ...rest: unknown[]) {
    const frames = Buffer.isBuffer(data) ? framesIn(data) : undefined;
    if (!frames) return write.apply(this, [data, ...rest] as unknown as Parameters<typeof write>);
    const sent = frames.flatMap((frame) => instead(this, frame, isEvent(frame.toString())));
    return write.apply(this, [Buffer.concat(sent), ...rest] as unknown as Parameters<typeof write>);
  } as typeof write;
}

const isEvent = (text: string): boolean => text.includes('"runSeq":') && text.includes('"result":');

/** The text frames in a buffer; undefined for any other content. */
function framesIn(bytes: Buffer): Buffer[] | undefined {
  const frames: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] !== 0x81 || at + 10 > bytes.length) return undefined;
    const short = bytes[at + 1] as number;
    const [header, payload] =
      short < 126
        ? [2, short]
        : short === 126
          ? [4, bytes.readUInt16BE(at + 2)]
          : [10, Number(bytes.readBigUInt64BE(at + 2))];
    const end = at + header + payload;
    if (end > bytes.length) return undefined;
    frames.push(bytes.subarray(at, end));
    at = end;
  }
  return frames;
}
