import { z } from 'zod';
import { RunwireError } from '../../shared/errors.ts';
import * as field from '../../shared/fields.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { RunKey, ViewKey } from '../event-log/contract/runs.ts';
import { hasReached } from '../event-log/current.ts';
import { cursorAt, decodeCursor, encodeCursor, hasPosition } from '../event-log/cursor.ts';

/**
 * Cursors for the pages of queries. A cursor names the last item of a page, and the next page starts after that item.
 * An invalid cursor throws `CURSOR_INVALID`.
 */

const otherLog = () => new RunwireError('CURSOR_INVALID', 'a cursor of another log', { path: 'cursor' });

/**
 * Decodes a cursor to a position in the log, and waits until this node has it. A cursor of another log, or of another history of this log, is refused.
 * Returns undefined without a cursor, for the first page.
 */
export async function positionOf(text: string | null | undefined, log: Log): Promise<number | undefined> {
  if (text == null) return undefined;
  const cursor = decodeCursor(text, 'cursor');
  const isKnown = cursor.epoch === log.epoch && (await hasReached(log, cursor.seq)) && (await hasPosition(log, cursor));
  if (!isKnown) throw otherLog();
  return cursor.seq;
}

/** The field `nextCursor` of a result. The last page has no such field. */
export const nextCursor = async (log: Log, next: number | undefined): Promise<{ nextCursor?: string }> =>
  next === undefined ? {} : { nextCursor: await cursorAt(log, next) };

/** Cursors of the access record name an entry, which is not in the hash chain: they have an epoch and no hash prefix. */
export const entryOf = (text: string | null | undefined, { epoch }: Pick<Log, 'epoch'>): number | undefined => {
  if (text == null) return undefined;
  const cursor = decodeCursor(text, 'cursor');
  if (cursor.epoch !== epoch) throw otherLog();
  return cursor.seq;
};
export const cursorOfEntry = (id: number, { epoch }: Pick<Log, 'epoch'>): string => encodeCursor(epoch, { seq: id });

const runKey = z.tuple([field.instant(), field.scopeId(), field.scopeId()]);
const viewKey = z.tuple([z.enum(['stages', 'artifacts', 'approvals']), z.string(), z.int(), z.int(), z.int()]);

/**
 * Decodes a cursor of `run.list` to the last run of the previous page. `run.list` orders runs by their creation, so
 * this cursor is not a position in the log.
 */
export function runKeyOf(text: string | null | undefined): RunKey | undefined {
  if (text == null) return undefined;
  const [createdAt, projectId, runId] = parsed(text, runKey);
  return { createdAt, projectId, runId };
}

export const cursorOfRun = ({ createdAt, projectId, runId }: RunKey): string =>
  textOf([createdAt, projectId, runId] satisfies z.infer<typeof runKey>);

/** Decodes a cursor of `run.get` to the last row of the previous page. */
export function viewKeyOf(text: string | null | undefined): ViewKey | undefined {
  if (text == null) return undefined;
  const [list, id, since, seen, erasures] = parsed(text, viewKey);
  return { list, id, since, seen, erasures };
}

export const cursorOfView = ({ list, id, since, seen, erasures }: ViewKey): string =>
  textOf([list, id, since, seen, erasures] satisfies z.infer<typeof viewKey>);

/** Decodes a cursor of `run.at` to the index of the next row. */
export const rowOf = (text: string | null | undefined): number =>
  text == null ? 0 : parsed(text, z.int().nonnegative());
export const cursorOfRow = (index: number): string => textOf(index);

function parsed<Key>(text: string, schema: z.ZodType<Key>): Key {
  try {
    return schema.parse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')));
  } catch {
    throw new RunwireError('CURSOR_INVALID', 'not a cursor of this procedure', { path: 'cursor' });
  }
}

const textOf = (key: number | readonly unknown[]): string => Buffer.from(JSON.stringify(key)).toString('base64url');
