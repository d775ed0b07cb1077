import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import type { RunKey } from '../event-log/contract/runs.ts';
import { decodeCursor, encodeCursor } from '../event-log/cursor.ts';

/** The cursors of queries, by which a page goes on where the one before it ended. Each throws `CURSOR_INVALID`. */

/** A position in this log; undefined where a query begins. */
export function positionOf(text: string | null | undefined, epoch: string): number | undefined {
  if (text == null) return undefined;
  const cursor = decodeCursor(text, 'cursor');
  if (cursor.epoch !== epoch) throw new RunwireError('CURSOR_INVALID', 'a cursor of another log', { path: 'cursor' });
  return cursor.seq;
}

/** As a part of an answer: absent where there is no more. */
export const nextCursor = (epoch: string, next: number | undefined): { nextCursor?: string } =>
  next === undefined ? {} : { nextCursor: encodeCursor(epoch, next) };

const runKey = z.tuple([z.string(), z.int()]);

/** Where `run.list` goes on; it does not go by position, for runs are in order of their creation. */
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
