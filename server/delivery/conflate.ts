import type { StoredEvent } from '../event-log/contract/log.ts';

export type StageEvent = { stageId: string; timestamp: string; attempt?: number; total?: number };
export const progressFields = ['progress', 'message', 'done', 'total'] as const;
/**
 * Leaves out each stage.progress that a later one of its stage supersedes: that says all the same fields anew, of the
 * same or a later attempt, and of no earlier a time, so that the fold comes out the same. The earliest of an attempt
 * stays, for it may be all that tells when the stage began.
 */
export function conflated(records: StoredEvent[]): StoredEvent[] {
  const beginnings = beginningsOf(records);
  const latest = new Map<string, StageEvent>();
  const kept: StoredEvent[] = [];
  for (let index = records.length - 1; index >= 0; index--) {
    const record = records[index] as StoredEvent;
    if (record.type === 'stage.progress') {
      const event = record.event as StageEvent;
      const key = stageKey(record, event);
      const later = latest.get(key);
      if (later && supersedes(later, event) && !beginnings.has(event)) continue;
      latest.set(key, event);
    }
    kept.push(record);
  }
  return kept.reverse();
}

export const stageKey = ({ projectId, runId }: StoredEvent, { stageId }: StageEvent) =>
  `${projectId} ${runId} ${stageId}`;
/** The events that say first that an attempt of a stage is on. */
export function beginningsOf(records: StoredEvent[]): ReadonlySet<StageEvent> {
  const earliest = new Map<string, StageEvent>();
  for (const record of records) {
    if (record.type !== 'stage.started' && record.type !== 'stage.progress') continue;
    const event = record.event as StageEvent;
    const key = `${event.attempt ?? 1} ${stageKey(record, event)}`;
    const known = earliest.get(key);
    if (!known || event.timestamp < known.timestamp) earliest.set(key, event);
  }
  return new Set(earliest.values());
}

export function supersedes(later: StageEvent, earlier: StageEvent): boolean {
  return (
    (later.attempt ?? 1) >= (earlier.attempt ?? 1) &&
    later.timestamp > earlier.timestamp &&
    later.total !== 0 && // No share of nothing: the earlier one may stand.
    progressFields.every((field) => !(field in earlier) || field in later)
  );
}
