import { z } from 'zod';
import { isStorable, UNSTORABLE } from './issues.ts';
import { type FieldRole, marked } from './zod-definition.ts';

/**
 * Builders for the schemas of event fields. Every string has a maximum length. Strings with NUL or lone surrogates are
 * refused, because neither SQLite nor PostgreSQL returns them unchanged.
 *
 * A builder notes a role on its schema (`zod-definition.ts`). Two modules derive their rules from the roles, so a new event
 * type needs no list of field names:
 * - The PHI guard (`server/phi/`) checks events for protected health information before the server logs them. It
 *   refuses an event, or redacts the text that it found.
 * - `tombstone.ts` makes the tombstone of an erased event: the event without its text.
 */

const withRole = <S extends z.ZodType>(role: FieldRole, schema: S): S => marked(schema, { role });

/**
 * Changes what a tombstone does with a text field. By default a tombstone removes the text.
 * - `kept`: the text stays, for text that rules depend on.
 * - `blanked`: a placeholder replaces the text, for optional text that a fold or a check requires to be present.
 */
export const onErase = <S extends z.ZodType>(action: 'kept' | 'blanked', schema: S): S =>
  marked(schema, { onErase: action });

/** Combines three comparisons in one check, because each further check of zod would cost as much as a comparison. */
const bounded = (min: number, max: number, isAllowed: (text: string) => boolean, message: string) =>
  z.string().check(({ value, issues }) => {
    const bounds = { origin: 'string', inclusive: true, input: value } as const;
    if (value.length < min) issues.push({ code: 'too_small', minimum: min, ...bounds });
    else if (value.length > max) issues.push({ code: 'too_big', maximum: max, ...bounds });
    else if (!isAllowed(value)) issues.push({ code: 'custom', message, input: value });
  });

/** Text of `min` (default 1) to `max` UTF-16 code units. */
export const text = (max: number, min = 1) => bounded(min, max, isStorable, UNSTORABLE);

const shortId = () =>
  bounded(1, 200, (value) => isStorable(value) && !/\p{Cc}/u.test(value), 'must have no control characters');

/**
 * `projectId` and `runId`: 1–200 printable ASCII characters without blanks. URLs resolve `.` and `..` as paths, and `*` means
 * all projects in a token.
 */
export const SCOPE_ID = /^(?!(?:\.{1,2}|\*)$)[\x21-\x7e]{1,200}$/;
export const scopeId = () =>
  withRole(
    'id',
    z.string().regex(SCOPE_ID, {
      error: 'must be 1 to 200 printable ASCII characters without blanks, and not ".", ".." or "*"',
    }),
  );

/** An id that a producer chooses inside a run: 1–200 characters without control characters. */
export const id = () => withRole('id', shortId());

/** A user id: 1–200 characters without control characters. It may be an e-mail address. */
export const userId = () => withRole('userId', shortId());

/** A URI or a path: text of 1–2,000 characters. */
export const uri = () => withRole('uri', text(2_000));

/** A SHA-256 digest in lower-case hexadecimal. */
export const sha256 = () =>
  withRole('digest', z.string().regex(/^[0-9a-f]{64}$/, { error: 'must be 64 lower-case hexadecimal digits' }));

/** A name of at most 200 characters. */
export const name = () => text(200);
/** A message of at most 2,000 characters. */
export const message = () => text(2_000);

/** A number from 0 to 2^53 - 1. JSON cannot carry a larger integer: a parser rounds it. */
export const amount = () => z.number().nonnegative().max(Number.MAX_SAFE_INTEGER);

/** Milliseconds, 0 or more. */
export const durationMs = amount;

const INSTANT =
  /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,12}))?)?\s?([Zz]|[+-]\d{2}(?::?\d{2})?)$/;

/**
 * Converts an ISO 8601 or RFC 3339 instant with a time zone to UTC with milliseconds. Further digits are cut off.
 * Returns undefined for any other text, for a day or time that does not exist, and for a year outside 0001–9999.
 */
export function normalizeInstant(value: string): string | undefined {
  if (NORMALIZED.test(value)) return value; // The common case costs a tenth of the code below.
  const match = INSTANT.exec(value);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second = '00', fraction = '', zone] = match as unknown as string[];
  const utc = Date.UTC(2000, Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second));
  const date = new Date(utc);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  // `Date` turns 30 February into a day of March, and 25:00 into the next day. Such input is refused here.
  const isReal =
    date.getUTCMonth() === Number(month) - 1 &&
    date.getUTCDate() === Number(day) &&
    Number(hour) < 24 &&
    Number(minute) < 60 &&
    Number(second) < 60;
  if (!isReal) return undefined;
  let offsetMinutes = 0;
  if (zone && zone.toUpperCase() !== 'Z') {
    const hours = Number(zone.slice(1, 3));
    const minutes = Number(zone.slice(3).replace(':', '') || '0');
    if (hours > 23 || minutes > 59) return undefined;
    offsetMinutes = (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes);
  }
  const at = new Date(date.getTime() - offsetMinutes * 60_000 + Number(fraction.slice(0, 3).padEnd(3, '0')));
  const normalized = at.toISOString();
  return /^\d{4}-/.test(normalized) && !normalized.startsWith('0000') ? normalized : undefined;
}

/** Matches normalized instants on days 1–28, which every month has. Days 29–31 need the calendar of `Date`. */
const NORMALIZED = /^(?!0000)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/;

/** Any instant with a time zone. The schema converts it to UTC with milliseconds, so that text order is time order. */
export const instant = () =>
  withRole(
    'instant',
    z.string().check((payload) => {
      const normalized = payload.value.length > 64 ? undefined : normalizeInstant(payload.value);
      if (normalized !== undefined) payload.value = normalized;
      else {
        const message = 'must be an ISO 8601 instant with a time zone';
        payload.issues.push({ code: 'custom', message, input: payload.value });
      }
    }),
  );
