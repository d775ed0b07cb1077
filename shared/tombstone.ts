import { z } from 'zod';
import type { Registry } from './registry.ts';

/**
 * What is left of an event whose text is erased: a logged event of its type that readers, folds and handlers can live with.
 *
 * What is text is told by the schemas, so that it is also known of the types that users define: every string is, but what
 * says by `onErase` that it is an id, an instant or the like. Numbers, booleans and enumerations stay: folds go by them.
 */

/** Stands where there has to be text. */
export const ERASED = '[erased]';

/**
 * Makes tombstones for the types of a registry: required text becomes {@link ERASED}, optional text goes, so do `audience`
 * and records such as `labels`, and `erased` is set. Where the schema of a type does not allow that, optional text becomes
 * {@link ERASED} too; text with a form of its own, such as a URL, does so whatever its schema says.
 */
export function tombstoneOf<R extends Registry>(registry: R): (event: object) => object {
  return (event) => {
    const { type } = event as { type: string };
    // Of a type that is no longer known, the rest is what all have in common.
    const known = registry[type];
    const schema = known?.event ?? envelopeOf(registry);
    for (const keepsBlanks of [false, true]) {
      const tombstone = Object.assign(erase(schema, event, keepsBlanks).value as object, { erased: true });
      delete (tombstone as { audience?: unknown }).audience;
      if (keepsBlanks || !known || schema.safeParse(tombstone).success) return tombstone;
    }
    throw new Error('one of the two has returned');
  };
}

/** The fields that every type of a registry has. */
function envelopeOf(registry: Registry): z.ZodObject {
  const shapes = Object.values(registry).map(({ event }) => (event as z.ZodObject).shape);
  const [first = {}, ...others] = shapes;
  const common = Object.keys(first).filter((key) => key !== 'type' && others.every((shape) => key in shape));
  return z.object({ type: keptText, ...Object.fromEntries(common.map((key) => [key, first[key] as z.ZodType])) });
}

const keptText = z.string().meta({ onErase: 'kept' });

/** `isBlank`: nothing but {@link ERASED} is left of the value. */
type Rest = { value: unknown; isBlank: boolean };

// Of zod's schemas, what is looked at; https://zod.dev/packages/core says that `_zod.def` is theirs to be walked by.
type Definition = {
  type: string;
  innerType?: z.core.$ZodType;
  in?: z.core.$ZodType;
  out?: z.core.$ZodType;
  getter?: () => z.core.$ZodType;
  element?: z.core.$ZodType;
  items?: z.core.$ZodType[];
  options?: z.core.$ZodType[];
  shape?: Record<string, z.core.$ZodType>;
};

function erase(schema: z.core.$ZodType, value: unknown, keepsBlanks: boolean): Rest {
  const definition = schema._zod.def as unknown as Definition;
  const { onErase } = z.globalRegistry.get(schema) ?? {};
  if (onErase === 'kept' || value === null) return { value, isBlank: false };
  if (onErase === 'blanked') return { value: ERASED, isBlank: false };
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

/** The schema that a value is really of, where one is wrapped in another. */
function innerOf({ type, innerType, in: before, out, getter, options }: Definition, value: unknown) {
  if (type === 'pipe') return out?._zod.def.type === 'transform' ? before : out;
  if (type === 'union') return options?.find((option) => z.safeParse(option, value).success);
  if (type === 'lazy') return getter?.();
  return type === 'array' ? undefined : innerType;
}
