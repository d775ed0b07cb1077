/** What the folds share: the fields of every event, and registers (`run-fold.ts`): fields that the greatest key sets. */

export type Envelope = {
  type: string;
  projectId: string;
  runId: string;
  timestamp: string;
  eventId: string;
  actor: string;
  seq: number;
  runSeq: number;
  erased?: true | undefined;
};

/** Returns true for equal keys too: a tombstone has its event's key and must overwrite the text that the event set. */
export const later = (candidate: string, current: string | undefined) => current === undefined || candidate >= current;
export const earliest = (a: string, b: string | undefined) => (b === undefined || a < b ? a : b);
export const timeKey = (event: Envelope) => `${event.timestamp} ${event.eventId}`;
/** Returns a copy without undefined values. JSON drops them, and rows in memory must equal rows stored as JSON. */
export function compact<T extends object>(value: { [K in keyof T]: T[K] | undefined }): T {
  const copy: Partial<T> = {};
  for (const key of Object.keys(value) as (keyof T)[])
    if (value[key] !== undefined) copy[key] = value[key] as T[keyof T];
  return copy as T;
}

/** Sets a field of a row. An undefined value deletes the field. */
export function setField<T extends object, K extends keyof T>(row: T, key: K, value: T[K] | undefined): void {
  if (value !== undefined) row[key] = value;
  else if (key in row) delete row[key];
}
