import { randomUUID } from 'node:crypto';
import { newEventId } from '../../shared/event-id.ts';
import { DRAFT_LIMIT_BYTES } from '../../shared/protocol.ts';
import { sizeOf } from './draft-size.ts';

/**
 * Divides a `run.created` that its plan makes larger than an event may be. Each part is a `run.created` with some of the
 * stages; all but the first have `stagesFrom`, the place of their first stage in the plan. A part is small, because it is
 * checked, folded and hashed in one turn of the event loop.
 */

const PART_BYTES = 24 * 1024;
/** A stage with longer texts is left to the check of the draft, which refuses it. */
const MAX_STAGE_LENGTH = 2_048;
const YIELD_STAGES = 200;
const MAX_ID_LENGTH = 200;

/** A draft to check. `stagesFrom`: number of stages in the parts before. */
export type DraftPart = { draft: unknown; stagesFrom: number };

/** A plan of fewer stages is not larger than a draft may be, unless the check of the draft refuses it. */
const MIN_STAGES = 50;

/** Whether {@link partsOfPlan} may divide a draft. */
export const mayBeLargePlan = (draft: unknown): draft is { stages: unknown[] } => {
  const { type, stages } = (draft ?? {}) as { type?: unknown; stages?: unknown };
  return type === 'run.created' && Array.isArray(stages) && stages.length >= MIN_STAGES;
};

/** Yields now and then; returns the draft itself, or its parts. */
export function* partsOfPlan(draft: { stages: unknown[] }): Generator<undefined, DraftPart[]> {
  const whole = [{ draft, stagesFrom: 0 }];
  const { stages } = draft;
  const starts: number[] = [];
  let bytes = 0;
  let total = 0;
  for (const [index, stage] of stages.entries()) {
    if (!isSmall(stage)) return whole;
    const size = Buffer.byteLength(JSON.stringify(stage)) + 1;
    total += size;
    bytes += size;
    if (starts.length === 0 || bytes > PART_BYTES) {
      starts.push(index);
      bytes = size;
    }
    if (index % YIELD_STAGES === 0) yield;
  }
  if (total + sizeOf({ ...draft, stages: [] }) <= DRAFT_LIMIT_BYTES) return whole;
  const { labels: _, createdBy: _by, parentRunId: _parent, ...rest } = draft as { [name: string]: unknown };
  const eventId = (draft as { eventId?: unknown }).eventId ?? newEventId(randomUUID());
  return starts.map((start, part) => {
    const some = stages.slice(start, starts[part + 1]);
    if (part === 0) return { draft: { ...draft, stages: some, eventId }, stagesFrom: 0 };
    return { draft: { ...rest, stages: some, stagesFrom: start, eventId: idOfPart(eventId, part) }, stagesFrom: start };
  });
}

function isSmall(stage: unknown): boolean {
  if (typeof stage !== 'object' || stage === null || 'toJSON' in stage) return false;
  let length = 0;
  for (const key in stage) {
    const value: unknown = stage[key as never];
    if (typeof value !== 'string') return false;
    length += key.length + value.length;
    if (length > MAX_STAGE_LENGTH) return false;
  }
  return true;
}

/** The same for each attempt to publish the draft, so that the parts are stored once. */
function idOfPart(eventId: unknown, part: number): unknown {
  if (typeof eventId !== 'string') return eventId;
  const suffix = `+${part}`;
  return eventId.slice(0, MAX_ID_LENGTH - suffix.length) + suffix;
}

/** Returns the path of an issue of a part, as a path of the whole draft. */
export const pathInPlan = (path: string, stagesFrom: number): string =>
  stagesFrom === 0
    ? path
    : path.replace(/^stages\.(\d+)/, (_all, index: string) => `stages.${Number(index) + stagesFrom}`);
