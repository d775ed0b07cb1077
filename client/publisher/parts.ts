import { RunwireError } from '../../shared/errors.ts';
import { newEventId } from '../../shared/event-id.ts';
import type { RunwireEvents } from '../../shared/events.ts';
import { REQUEST_LIMIT_DRAFTS, REQUEST_LIMIT_ROWS, ROW_FIELDS, rowsIn } from '../../shared/protocol.ts';
import type { DraftOf, Registry } from '../../shared/registry.ts';

/** Maximum size of a request, unless a single draft is larger. The server accepts requests of up to 8 MiB. */
const REQUEST_LIMIT_BYTES = 1_000_000;

const encoder = new TextEncoder();

type WithoutProject<Draft> = Draft extends unknown ? Omit<Draft, 'projectId'> & { projectId?: string } : never;
/** A draft (an event before the server stores it). The publisher adds its own `projectId` to a draft without one. */
export type PublisherDraft<R extends Registry = RunwireEvents> = WithoutProject<DraftOf<R>>;

/** The drafts of one call of `publish`, or some of them if one request cannot hold them all. */
export type Part<Call> = {
  call: Call;
  /** Index of the first draft in the call. */
  offset: number;
  count: number;
  /** The drafts as JSON, separated by commas. */
  json: string;
  /**
   * Indices of the drafts with an id of the caller. For the other drafts the publisher made the id. If the server then
   * reports a duplicate, an earlier attempt of the same request has stored the draft.
   */
  ownIds: Set<number> | undefined;
  bytes: number;
  /** Planned stages, users of audiences and approvers. */
  rows: number;
  /** Whether a draft is the end of a run, or an event of an approval. */
  isVital: boolean;
  /** Whether a request that outlives the page carries the part. */
  isSentLast: boolean;
};

/** Types that are lost last: without them, a run would stay open. */
const VITAL_TYPES = new Set([
  'run.completed',
  'run.failed',
  'governance.required',
  'approval.granted',
  'approval.denied',
] satisfies PublisherDraft['type'][] as string[]);

const isVital = (draft: unknown) => VITAL_TYPES.has((draft as { type?: string } | null)?.type ?? '');

/**
 * Splits the drafts of a call into parts that each fit into a request. Adds `projectId`, `timestamp` and `eventId` to
 * drafts without these fields. Throws `INVALID_EVENT` if a draft cannot be converted to JSON.
 */
export function partsOf<Call>(
  call: Call,
  drafts: readonly PublisherDraft[],
  projectId: string | undefined,
): Part<Call>[] {
  const timestamp = new Date().toISOString();
  const parts: Part<Call>[] = [];
  let texts: string[] = [];
  drafts.forEach((draft, index) => {
    const text = jsonOf({ projectId, timestamp, eventId: newEventId() }, draft, index);
    const size = sizeOf(draft, text);
    let part = parts.at(-1);
    if (!part || !fits(sumOf(part, size))) {
      if (part) part.json = texts.join(',');
      texts = [];
      part = emptyPart(call, index);
      parts.push(part);
    }
    if ((draft as { eventId?: unknown } | null)?.eventId !== undefined) {
      part.ownIds ??= new Set();
      part.ownIds.add(part.count);
    }
    texts.push(text);
    Object.assign(part, sumOf(part, size));
    part.isVital ||= isVital(draft);
  });
  const last = parts.at(-1);
  if (last) last.json = texts.join(',');
  return parts;
}

/** Returns a part of drafts that were taken from a part before. */
export function partOf<Call>(call: Call, drafts: readonly object[]): Part<Call> {
  const texts = drafts.map((draft) => JSON.stringify(draft));
  const size = drafts.map((draft, index) => sizeOf(draft, texts[index] as string)).reduce(sumOf);
  return { ...emptyPart(call, 0), json: texts.join(','), ...size, isVital: drafts.some(isVital) };
}

type Size = { count: number; bytes: number; rows: number };

const emptyPart = <Call>(call: Call, offset: number): Part<Call> => ({
  call,
  offset,
  count: 0,
  json: '',
  ownIds: undefined,
  bytes: 0,
  rows: 0,
  isVital: false,
  isSentLast: false,
});

const sizeOf = (draft: unknown, text: string): Size => ({
  count: 1,
  bytes: encoder.encode(text).length + 1,
  rows: ROW_FIELDS.reduce((sum, field) => sum + rowsIn(draft, field), 0),
});

const sumOf = (a: Size, b: Size): Size => ({
  count: a.count + b.count,
  bytes: a.bytes + b.bytes,
  rows: a.rows + b.rows,
});

const fits = ({ count, bytes, rows }: Size) =>
  count <= REQUEST_LIMIT_DRAFTS && bytes <= REQUEST_LIMIT_BYTES && rows <= REQUEST_LIMIT_ROWS;

/** Returns how many parts from the front of the queue fit into one request, at least 1. */
export function countThatFit(queue: readonly Part<unknown>[]): number {
  let sum: Size = { count: 0, bytes: 0, rows: 0 };
  const end = queue.findIndex((part, index) => {
    sum = sumOf(sum, part);
    return index > 0 && !fits(sum);
  });
  return end < 0 ? queue.length : end;
}

/** Returns the parts that fit into `limitBytes`, in order: first the vital ones, then the oldest others. */
export function lastOf<Call>(parts: readonly Part<Call>[], limitBytes: number): Part<Call>[] {
  const chosen = new Set<Part<Call>>();
  let bytes = 2; // The brackets.
  for (const part of [...parts.filter((each) => each.isVital), ...parts.filter((each) => !each.isVital)]) {
    if (bytes + part.bytes > limitBytes) continue;
    bytes += part.bytes;
    chosen.add(part);
  }
  return parts.filter((part) => chosen.has(part));
}

/** Returns a draft as JSON, with defaults for missing fields. A value that is no object is sent unchanged and refused. */
function jsonOf(defaults: Record<string, string | undefined>, draft: unknown, index: number): string {
  try {
    if (typeof draft !== 'object' || draft === null || Array.isArray(draft)) return JSON.stringify(draft) ?? 'null';
    const own = Object.fromEntries(Object.entries(draft).filter(([, value]) => value !== undefined));
    return JSON.stringify({ ...defaults, ...own });
  } catch (cause) {
    const issues = [{ index, path: '', message: 'cannot be converted to JSON' }];
    throw new RunwireError('INVALID_EVENT', `events.${index}: cannot be converted to JSON`, { issues, cause });
  }
}
