import { z } from 'zod';

/**
 * The field types that events are built of. Every string is bounded, and free of NUL and of lone surrogates, which
 * neither SQLite nor PostgreSQL would give back unchanged.
 */

const isStorable = (text: string) => !text.includes('\0') && text.isWellFormed();

/** One check for all of it: each that zod has to run on a text costs as much as what it finds out. */
const bounded = (min: number, max: number, isAllowed: (text: string) => boolean, message: string) =>
  z.string().check(({ value, issues }) => {
    const bounds = { origin: 'string', inclusive: true, input: value } as const;
    if (value.length < min) issues.push({ code: 'too_small', minimum: min, ...bounds });
    else if (value.length > max) issues.push({ code: 'too_big', maximum: max, ...bounds });
    else if (!isAllowed(value)) issues.push({ code: 'custom', message, input: value });
  });

/**
 * Says what becomes of a field when its event is erased (`tombstone.ts`): `kept` is for what other events and the rules go
 * by, `blanked` for an optional text whose being there makes a difference to the fold. Any other text goes.
 */
export const onErase = <S extends z.ZodType>(what: 'kept' | 'blanked', schema: S): S =>
  schema.meta({ onErase: what }) as S;

/** Text of `min` (default 1) to `max` UTF-16 code units. */
export const text = (max: number, min = 1) => bounded(min, max, isStorable, 'must have no NUL and no lone surrogate');

/** `projectId` and `runId`: 1–200 printable ASCII characters without blanks. */
export const scopeId = () =>
  onErase(
    'kept',
    z.string().regex(/^[\x21-\x7e]{1,200}$/, { error: 'must be 1 to 200 printable ASCII characters without blanks' }),
  );

/** Ids that producers choose inside a run, and user ids: text of 1–200 characters without control characters. */
export const id = () =>
  onErase(
    'kept',
    bounded(1, 200, (value) => isStorable(value) && !/\p{Cc}/u.test(value), 'must have no control characters'),
  );

export const name = () => text(200);
export const message = () => text(2_000);

/** Milliseconds, 0 or more. */
export const durationMs = () => z.number().nonnegative();

const INSTANT =
  /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,12}))?)?\s?([Zz]|[+-]\d{2}(?::?\d{2})?)$/;

/**
 * Normalises an ISO 8601 / RFC 3339 instant with a zone to UTC with milliseconds; further digits are cut off.
 * Returns undefined for anything else: no zone, no such day, a year outside 0001–9999.
 */
export function normalizeInstant(value: string): string | undefined {
  if (NORMALIZED.test(value)) return value; // As most are, and a tenth of the cost.
  const match = INSTANT.exec(value);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second = '00', fraction = '', zone] = match as unknown as string[];
  const utc = Date.UTC(2000, Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second));
  const date = new Date(utc);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  // Date rolls 30 February over into March, and 25:00 into the next day; an instant has to say what it means.
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

/** The days that every month has. */
const NORMALIZED = /^(?!0000)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/;

/** Any instant with a zone; parsed to ISO 8601 UTC with milliseconds, so that text order is time order. */
export const instant = () =>
  onErase(
    'kept',
    z.string().check((payload) => {
      const normalized = payload.value.length > 64 ? undefined : normalizeInstant(payload.value);
      if (normalized !== undefined) payload.value = normalized;
      else {
        const message = 'must be an ISO 8601 instant with a time zone';
        payload.issues.push({ code: 'custom', message, input: payload.value });
      }
    }),
  );
