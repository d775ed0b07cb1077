import { RunwireError } from '../../shared/errors.ts';
import type { Caller } from '../slices.ts';
import type { Log } from './contract/log.ts';

/** How long a call waits for a position that is in the store, and that this node does not have yet. */
const MAX_WAIT_MS = 5_000;

export const notCurrentError = (): RunwireError =>
  new RunwireError('UNAVAILABLE', 'this server does not reach the event log at the moment');

export const behindError = (): RunwireError => new RunwireError('UNAVAILABLE', 'this server is behind the event log');

/** Throws `UNAVAILABLE` while a revocation or an erasure may be unknown to this node (`Log.isCurrent`). */
export function requireCurrent({ isCurrent }: Pick<Log, 'isCurrent'>): void {
  if (!isCurrent) throw notCurrentError();
}

/** Waits until this node has a position. Returns false if the log does not have it, or the wait takes too long. */
export const hasReached = (log: Pick<Log, 'head' | 'reached'>, seq: number): boolean | Promise<boolean> =>
  seq <= log.head || log.reached(seq, MAX_WAIT_MS);

/**
 * Waits until this node has every event that any node has acknowledged before the call. Returns the position of the last
 * one. Throws `UNAVAILABLE` if this takes too long.
 */
export async function acknowledgedHead(
  log: Pick<Log, 'head' | 'reached' | 'durableHead'>,
  caller: Caller,
): Promise<number> {
  const { seq } = await log.durableHead(caller);
  await requireReached(log, seq);
  return seq;
}

/** Waits until this node has a position that the store has. Throws `UNAVAILABLE` if this takes too long. */
export async function requireReached(log: Pick<Log, 'head' | 'reached'>, seq: number): Promise<void> {
  if (!(await hasReached(log, seq))) throw behindError();
}
