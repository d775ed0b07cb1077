import type { StoredEvent } from '../event-log/contract/log.ts';

export type StageEvent = { stageId: string; timestamp: string; attempt?: number; total?: number };
const progressFields = ['progress', 'message', 'done', 'total'] as const;
/**
 * Leaves out each `stage.progress` event that a later event of the same stage supersedes. The later event has all fields of
 * the earlier one, no lower attempt, and a later time, so the client computes the same run. The earliest event of an
 * attempt stays: it can be the only event with the start time of the stage.
 */
export function conflated(records: StoredEvent[]): StoredEvent[] {
  const firsts = firstsOf(records);
  const latest = new Map<string, StageEvent>();
  const kept: StoredEvent[] = [];
  for (let index = records.length - 1; index >= 0; index--) {
    const record = records[index] as StoredEvent;
    if (record.type === 'stage.progress') {
      const event = record.event as StageEvent;
      const key = stageKey(record, event);
      const later = latest.get(key);
      if (later && supersedes(later, event) && !firsts.has(event)) continue;
      latest.set(key, event);
    }
    kept.push(record);
  }
  return kept.reverse();
}

const stageKey = ({ projectId, runId }: StoredEvent, { stageId }: StageEvent) => `${projectId} ${runId} ${stageId}`;
/** Returns the earliest `stage.started` or `stage.progress` event of each attempt of a stage. */
export function firstsOf(records: StoredEvent[]): ReadonlySet<StageEvent> {
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
    later.total !== 0 && // With a `total` of 0 the fold computes no share, and may keep the earlier progress.
    progressFields.every((field) => !(field in earlier) || field in later)
  );
}
