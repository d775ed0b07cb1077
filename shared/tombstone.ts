import { z } from 'zod';
import { envelopeSchema, type Registry } from './registry.ts';
import { type Definition, definitionOf, marksOf, unwrapped } from './zod-definition.ts';

/**
 * Makes tombstones. A tombstone takes the place of an erased event in the log. It keeps the event's type and ids, but not
 * the event's text. So subscribers and the fold (`run-fold.ts`) process a tombstone like any other event.
 *
 * The event type's schema decides which fields are text, so a user's own event types are covered too. Every string is
 * text, except fields with one of the {@link keptRoles} and fields marked with `onErase` (`fields.ts`). Numbers,
 * booleans and enumerations stay, because the fold uses them.
 */

/** The placeholder for erased text. */
export const ERASED = '[erased]';

/**
 * Returns a function that makes the tombstone of an event:
 * - required text becomes {@link ERASED};
 * - optional text, optional maps such as `labels`, and `audience` are removed;
 * - `erased` is set.
 *
 * If the schema refuses the result, a second attempt replaces optional text with {@link ERASED} instead of removing it.
 * The result of the second attempt is not checked: a field with a format, such as a URL, may then hold {@link ERASED}.
 */
export function tombstoneOf<R extends Registry>(registry: R): (event: object) => object {
  return (event) => {
    const { type } = event as { type: string };
    const definition = registry[type];
    // The registry may no longer have the event's type. Then only the fields that all events share are kept.
    const schema = definition?.event ?? envelopeSchema;
    for (const keepsBlanks of [false, true]) {
      const tombstone = Object.assign(erase(schema, event, keepsBlanks).value as object, { erased: true });
      delete (tombstone as { audience?: unknown }).audience;
      if (keepsBlanks || !definition || schema.safeParse(tombstone).success) return tombstone;
    }
    throw new Error('the second pass always returns');
  };
}

const keptRoles: ReadonlySet<unknown> = new Set(['id', 'userId', 'instant']);

/** The rest of a value after erasure. `isBlank`: the rest contains nothing except {@link ERASED}. */
type Rest = { value: unknown; isBlank: boolean };

function erase(schema: z.core.$ZodType, value: unknown, keepsBlanks: boolean): Rest {
  const definition = definitionOf(schema);
  const { onErase, role } = marksOf(schema);
  if (value === null || onErase === 'kept') return { value, isBlank: false };
  if (onErase === 'blanked') return { value: ERASED, isBlank: false };
  if (keptRoles.has(role)) return { value, isBlank: false };
  const inner = innerOf(schema, value);
  if (inner) return erase(inner, value, keepsBlanks);
  switch (definition.type) {
    case 'number':
    case 'int':
    case 'bigint':
    case 'boolean':
    case 'enum':
    case 'literal':
    case 'date':
      return { value, isBlank: false };
    case 'record':
      return eraseEntries(definition, value as object, keepsBlanks);
    case 'intersection':
      return eraseBoth([definition.left, definition.right], value, keepsBlanks);
    case 'array':
    case 'tuple': {
      if (!Array.isArray(value)) break;
      const rests = value.map((item, index) => {
        const element = definition.element ?? definition.items?.[index];
        return element ? erase(element, item, keepsBlanks) : BLANK;
      });
      return {
        value: rests.map((rest) => rest.value),
        isBlank: rests.length > 0 && rests.every((rest) => rest.isBlank),
      };
    }
    case 'object':
      if (typeof value === 'object') return eraseFields(definition.shape ?? {}, value as object, keepsBlanks);
  }
  return BLANK;
}

const BLANK: Rest = { value: ERASED, isBlank: true };

function eraseFields(shape: Record<string, z.core.$ZodType>, value: object, keepsBlanks: boolean): Rest {
  const left: Record<string, unknown> = {};
  let isBlank = true;
  for (const [key, field] of Object.entries(shape)) {
    const part: unknown = Object.hasOwn(value, key) ? value[key as never] : undefined;
    if (part === undefined) continue;
    const rest = erase(field, part, keepsBlanks);
    if (rest.isBlank && !keepsBlanks && field._zod.optout === 'optional') continue;
    left[key] = rest.value;
    isBlank &&= rest.isBlank;
  }
  return { value: left, isBlank };
}

/** Keeps the entries of a map with keys and values that are no text. */
function eraseEntries({ keyType, valueType }: Definition, value: object, keepsBlanks: boolean): Rest {
  const left: Record<string, unknown> = {};
  for (const [key, part] of Object.entries(value)) {
    if (!keyType || !valueType || erase(keyType, key, keepsBlanks).isBlank) continue;
    const rest = erase(valueType, part, keepsBlanks);
    if (!rest.isBlank || keepsBlanks) left[key] = rest.value;
  }
  return { value: left, isBlank: Object.keys(left).length === 0 };
}

/** Erases by both schemas of an intersection. Each keeps the fields of an object that it declares. */
function eraseBoth(schemas: (z.core.$ZodType | undefined)[], value: unknown, keepsBlanks: boolean): Rest {
  const rests = schemas.filter((schema) => schema !== undefined).map((schema) => erase(schema, value, keepsBlanks));
  const kept = rests.filter(({ isBlank }) => !isBlank);
  if (typeof value !== 'object' || Array.isArray(value)) return kept[0] ?? BLANK;
  return { value: Object.assign({}, ...rests.map((rest) => rest.value)), isBlank: kept.length === 0 };
}

/** Returns the schema inside a wrapper, or the option of a union that accepts the value; undefined for other schemas. */
function innerOf(schema: z.core.$ZodType, value: unknown) {
  const definition = definitionOf(schema);
  if (definition.type === 'array') return undefined;
  if (definition.type === 'union') return definition.options?.find((option) => z.safeParse(option, value).success);
  return unwrapped(schema);
}
