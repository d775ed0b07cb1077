import type { ClockRepair } from '../../../shared/audit.ts';
import { isAttested } from './attestation.ts';
import type { AuditKeys } from './keys.ts';

/**
 * The repairs of the log's clock. An event that was logged before a repair, with a later `recordedAt`, counts as recorded at
 * the time of the repair: so the times by which events are searched and trimmed never decrease along `seq`.
 */
export class ClockRepairs {
  readonly #repairs: { seq: number; atMs: number }[];

  constructor(repairs: readonly { seq: number; atMs: number }[]) {
    this.#repairs = [...repairs];
  }

  add(repair: { seq: number; atMs: number }): void {
    this.#repairs.push(repair);
  }

  /** Returns the time (Unix ms) at which the event at `seq` counts as recorded. */
  timeOf(seq: number, recordedAtMs: number): number {
    let time = recordedAtMs;
    for (const repair of this.#repairs) if (repair.seq >= seq) time = Math.min(time, repair.atMs);
    return time;
  }

  /** Returns the position up to which all events count as recorded before an instant, whatever their `recordedAt`. */
  positionBefore(ms: number): number {
    return Math.max(0, ...this.#repairs.filter(({ atMs }) => atMs < ms).map(({ seq }) => seq));
  }
}

/** Whether a stored text is the signed repair of this position. */
export function isRepair(text: string | undefined, seq: number, epoch: string, keys: AuditKeys): boolean {
  if (text === undefined) return false;
  try {
    const repair = JSON.parse(text) as ClockRepair;
    return repair.epoch === epoch && repair.seq === seq && isAttested(keys, 'clock', repair);
  } catch {
    return false;
  }
}
