import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import type { RunKey } from '../event-log/contract/runs.ts';
import { decodeCursor, encodeCursor } from '../event-log/cursor.ts';

/** Cursors of queries: a page starts after the last item of the page before it. Decoding throws `CURSOR_INVALID`. */

/** A position in this log; undefined for the first page. */
export function positionOf(text: string | null | undefined, epoch: string): number | undefined {
  if (text == null) return undefined;
  const cursor = decodeCursor(text, 'cursor');
  if (cursor.epoch !== epoch) throw new RunwireError('CURSOR_INVALID', 'a cursor of another log', { path: 'cursor' });
  return cursor.seq;
}

/** The `nextCursor` of a result; absent on the last page. */
export const nextCursor = (epoch: string, next: number | undefined): { nextCursor?: string } =>
  next === undefined ? {} : { nextCursor: encodeCursor(epoch, next) };

const runKey = z.tuple([z.string(), z.int()]);

/** The last run of the page before. A position would not do: `run.list` orders runs by their creation. */
export function runKeyOf(text: string | null | undefined): RunKey | undefined {
  if (text == null) return undefined;
  try {
    const [createdAt, rowId] = runKey.parse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')));
    return { createdAt, rowId };
  } catch {
    throw new RunwireError('CURSOR_INVALID', 'not a cursor of run.list', { path: 'cursor' });
  }
}

export const cursorOfRun = ({ createdAt, rowId }: RunKey): string =>
  Buffer.from(JSON.stringify([createdAt, rowId])).toString('base64url');
