import { RunwireError } from '../../shared/errors.ts';
import type { Log } from './contract/log.ts';

export const notCurrentError = (): RunwireError =>
  new RunwireError('UNAVAILABLE', 'this server does not reach the event log at the moment');

/** Throws `UNAVAILABLE` while a revocation or an erasure may be unknown to this node (`Log.isCurrent`). */
export function requireCurrent({ isCurrent }: Pick<Log, 'isCurrent'>): void {
  if (!isCurrent) throw notCurrentError();
}
