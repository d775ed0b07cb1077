import type { Turns } from '../slices.ts';

/**
 * Finds the first `NaN` or `Infinity` in a text that is not JSON: encoders of other languages write them, Python's among
 * them. Returns the path of its draft and field, such as `3.progress`. Returns undefined if the text has another fault.
 * A name that is no identifier is left out of the path: it may be data.
 */
export async function notANumberIn(bytes: Buffer, turns: Turns): Promise<string | undefined> {
  const open: { isArray: boolean; index: number; keyFrom: number }[] = [];
  let textFrom = -1;
  for (let at = 0; at < bytes.length; at++) {
    if (at % TURN_BYTES === TURN_BYTES - 1) await turns.next();
    const byte = bytes[at];
    const frame = open.at(-1);
    if (byte === 0x22) {
      if (textFrom < 0) textFrom = at + 1;
      else {
        if (frame && !frame.isArray && frame.keyFrom < 0) frame.keyFrom = textFrom;
        textFrom = -1;
      }
    } else if (textFrom >= 0) at += byte === 0x5c ? 1 : 0;
    else if (byte === 0x5b || byte === 0x7b) {
      if (open.push({ isArray: byte === 0x5b, index: 0, keyFrom: -1 }) > MAX_DEPTH) return undefined;
    } else if (byte === 0x5d || byte === 0x7d) open.pop();
    else if (byte === 0x2c && frame) {
      frame.index++;
      frame.keyFrom = -1;
    } else if (byte === 0x4e || byte === 0x49) {
      const word = bytes.toString('latin1', at, at + 8);
      return word.startsWith('NaN') || word === 'Infinity' ? pathOf(bytes, open) : undefined;
    }
  }
  return undefined;
}

/** Replaces each `NaN`, `Infinity` and `-Infinity` outside of strings with `null`. */
export async function withNulls(bytes: Buffer, turns: Turns): Promise<Buffer> {
  const parts: Buffer[] = [];
  let from = 0;
  let isText = false;
  for (let at = 0; at < bytes.length; at++) {
    if (at % TURN_BYTES === 0) await turns.next();
    const byte = bytes[at];
    if (byte === 0x22) isText = !isText;
    else if (isText) at += byte === 0x5c ? 1 : 0;
    else if (byte === 0x4e || byte === 0x49) {
      const word = bytes.toString('latin1', at, at + 8);
      const length = word === 'Infinity' ? 8 : word.startsWith('NaN') ? 3 : 0;
      if (length === 0) continue;
      parts.push(bytes.subarray(from, bytes[at - 1] === 0x2d ? at - 1 : at), NULL);
      from = at + length;
      at = from - 1;
    }
  }
  return Buffer.concat([...parts, bytes.subarray(from)]);
}

const NULL = Buffer.from('null');
const TURN_BYTES = 64 * 1024;
const MAX_DEPTH = 500;

function pathOf(bytes: Buffer, open: readonly { isArray: boolean; index: number; keyFrom: number }[]): string {
  const names = open.map(({ isArray, index, keyFrom }) => {
    if (isArray) return String(index);
    const name = keyFrom < 0 ? '' : bytes.toString('latin1', keyFrom, bytes.indexOf(0x22, keyFrom));
    return /^[A-Za-z_]\w{0,63}$/.test(name) ? name : undefined;
  });
  const unnamed = names.indexOf(undefined);
  return (unnamed < 0 ? names : names.slice(0, unnamed)).join('.');
}
