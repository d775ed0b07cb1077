import { z } from 'zod';
import { envelopeSchema, type Registry } from './registry.ts';
import { type Definition, definitionOf, roleOf, unwrapped } from './zod-definition.ts';

/**
 * The tombstone of an erased event: a logged event of the same type, without its text, that readers, folds and handlers
 * can process.
 *
 * The schemas decide what is text, so own event types are covered too. Every string is text, except the roles in
 * {@link keptRoles} and fields marked with `onErase`. Numbers, booleans and enumerations stay, because folds use them.
 */

/** Replaces text that the schema requires. */
export const ERASED = '[erased]';

/**
 * Returns the function that makes tombstones of a registry's events. It replaces required text by {@link ERASED}, removes
 * optional text, `audience` and records such as `labels`, and sets `erased`. Where the schema refuses the result, optional
 * text becomes {@link ERASED} as well. Text with a format, such as a URL, becomes {@link ERASED} even if that breaks it.
 */
export function tombstoneOf<R extends Registry>(registry: R): (event: object) => object {
  return (event) => {
    const { type } = event as { type: string };
    const definition = registry[type];
    // Only the envelope is known of a type that the registry no longer has.
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

/** `isBlank`: the value holds no more than {@link ERASED}. */
type Rest = { value: unknown; isBlank: boolean };

function erase(schema: z.core.$ZodType, value: unknown, keepsBlanks: boolean): Rest {
  const definition = definitionOf(schema);
  const { onErase } = z.globalRegistry.get(schema) ?? {};
  if (value === null || onErase === 'kept') return { value, isBlank: false };
  if (onErase === 'blanked') return { value: ERASED, isBlank: false };
  if (keptRoles.has(roleOf(schema))) return { value, isBlank: false };
  const inner = innerOf(definition, value);
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
      return { value: {}, isBlank: true };
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

/** The schema that applies to a value inside a wrapper or a union. */
function innerOf(definition: Definition, value: unknown) {
  if (definition.type === 'array') return undefined;
  if (definition.type === 'union') return definition.options?.find((option) => z.safeParse(option, value).success);
  return unwrapped(definition);
}
