import { RunwireError } from '../../shared/errors.ts';
import type { RunEventDraft } from '../../shared/events.ts';
import { REQUEST_LIMIT_DRAFTS, REQUEST_LIMIT_ROWS, ROW_FIELDS, rowsIn } from '../../shared/protocol.ts';

/** Maximum size of a request, unless a single draft is larger. The server accepts requests of up to 8 MiB. */
const REQUEST_LIMIT_BYTES = 1_000_000;

type WithoutProject<Draft> = Draft extends unknown ? Omit<Draft, 'projectId'> & { projectId?: string } : never;
/** A draft (an event before the server stores it). The publisher adds its own `projectId` to a draft without one. */
export type PublisherDraft = WithoutProject<RunEventDraft>;

/** The drafts of one call of `publish` as JSON, or some of them if one request cannot hold them all. */
export type Part<Call> = {
  call: Call;
  /** Index of the first draft in the call. */
  offset: number;
  drafts: string[];
  /**
   * For each draft, true if the publisher made its id. If the server then reports a duplicate, an earlier attempt of the
   * same request has stored the draft.
   */
  hasGeneratedId: boolean[];
  bytes: number;
  /** Planned stages, users of audiences and approvers. */
  rows: number;
};

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
  const encoder = new TextEncoder();
  const parts: Part<Call>[] = [];
  drafts.forEach((draft, index) => {
    const json = jsonOf({ projectId, timestamp, eventId: randomId() }, draft, index);
    const bytes = encoder.encode(json).length + 1;
    const rows = ROW_FIELDS.reduce((sum, field) => sum + rowsIn(draft, field), 0);
    let part = parts.at(-1);
    if (!part || !fits({ drafts: part.drafts.length + 1, bytes: part.bytes + bytes, rows: part.rows + rows })) {
      part = { call, offset: index, drafts: [], hasGeneratedId: [], bytes: 0, rows: 0 };
      parts.push(part);
    }
    part.drafts.push(json);
    part.hasGeneratedId.push((draft as { eventId?: unknown } | null)?.eventId === undefined);
    part.bytes += bytes;
    part.rows += rows;
  });
  return parts;
}

/** Returns how many parts from the front of the queue fit into one request, at least 1. */
export function countThatFit(queue: readonly Part<unknown>[]): number {
  const sum = { drafts: 0, bytes: 0, rows: 0 };
  const end = queue.findIndex((part, index) => {
    sum.drafts += part.drafts.length;
    sum.bytes += part.bytes;
    sum.rows += part.rows;
    return index > 0 && !fits(sum);
  });
  return end < 0 ? queue.length : end;
}

const fits = ({ drafts, bytes, rows }: { drafts: number; bytes: number; rows: number }) =>
  drafts <= REQUEST_LIMIT_DRAFTS && bytes <= REQUEST_LIMIT_BYTES && rows <= REQUEST_LIMIT_ROWS;

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

/** Returns a random UUID. `crypto.randomUUID` does not exist on pages without HTTPS. */
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
