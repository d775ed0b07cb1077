import { RunwireError } from '../../shared/errors.ts';
import type { Log } from './contract/log.ts';

/** A position in the log, with the hash prefix of its row. Without one where the log does not have the row. */
export type Position = { seq: number; hashPrefix?: string | undefined };

/**
 * A position in one log. Clients must not interpret it. It grants no access. The hash prefix shows whether the log still has
 * the row that the client saw: a restored backup has the same epoch, and other events at the same positions. Cursors of
 * earlier releases have no hash prefix.
 */
export type Cursor = Position & { epoch: string };

/** Returns the first 8 hexadecimal digits of a hash. */
export const hashPrefixOf = (hash: Buffer): string => hash.toString('hex', 0, 4);

export const encodeCursor = (epoch: string, { seq, hashPrefix }: Position): string =>
  hashPrefix === undefined ? `${epoch}.${seq}` : `${epoch}.${seq}.${hashPrefix}`;

/** Throws `CURSOR_INVALID`, with the name of the input field as `path`. */
export function decodeCursor(text: string, path = 'lastEventId'): Cursor {
  const match = /^([0-9a-f]{1,64})\.(\d{1,15})(?:\.([0-9a-f]{8}))?$/.exec(text);
  if (!match) throw new RunwireError('CURSOR_INVALID', 'not a cursor of this server', { path });
  return { epoch: match[1] as string, seq: Number(match[2]), hashPrefix: match[3] };
}

export type History = Pick<Log, 'epoch' | 'head' | 'headHashPrefix' | 'oldest' | 'hashPrefixesAt'>;

/** Returns the cursor of a position. Reads the log only for a position before the head. */
export async function cursorAt(log: History, seq: number): Promise<string> {
  const hashPrefix = seq === log.head ? log.headHashPrefix : (await log.hashPrefixesAt([seq]))[0];
  return encodeCursor(log.epoch, { seq, hashPrefix });
}

/**
 * Whether the log has the row of a position that is not beyond its head. True for a trimmed row, and for a position without
 * a hash prefix: there is nothing to compare. Returns a promise only if the log must be read.
 */
export function hasPosition(log: History, { seq, hashPrefix }: Position): boolean | Promise<boolean> {
  if (hashPrefix === undefined) return true;
  if (seq === log.head) return hashPrefix === log.headHashPrefix;
  return log.hashPrefixesAt([seq]).then(([known]) => (known === undefined ? seq < log.oldest : known === hashPrefix));
}
