import type { z } from 'zod';

/** The role of a string field. A string without a role is free text. */
export type FieldRole =
  /** An id that other events refer to. The guard may refuse the event, but never redacts the id; a tombstone keeps it. */
  | 'id'
  /** As `id`, but the guard accepts e-mail addresses. */
  | 'userId'
  /** Free text in which the guard accepts IP addresses and dates. */
  | 'uri'
  /** A point in time with a fixed form. The guard does not check it; a tombstone keeps it. */
  | 'instant'
  /** A hash with a fixed form. The guard does not check it; a tombstone removes it. */
  | 'digest';

/** What the builders of `fields.ts` note on a schema. */
export type Marks = { role?: FieldRole; onErase?: 'kept' | 'blanked' };

/** The parts of a zod schema that Runwire reads. `_zod.def` is public API of zod: https://zod.dev/packages/core */
export type Definition = {
  type: string;
  innerType?: z.core.$ZodType;
  in?: z.core.$ZodType;
  out?: z.core.$ZodType;
  /** The conversion of a codec. */
  transform?: unknown;
  element?: z.core.$ZodType;
  items?: z.core.$ZodType[];
  rest?: z.core.$ZodType | null;
  options?: z.core.$ZodType[];
  left?: z.core.$ZodType;
  right?: z.core.$ZodType;
  shape?: Record<string, z.core.$ZodType>;
  catchall?: z.core.$ZodType;
  keyType?: z.core.$ZodType;
  valueType?: z.core.$ZodType;
  /** The values of a literal. */
  values?: unknown[];
  runwire?: Marks;
};

export const definitionOf = (schema: z.core.$ZodType): Definition => schema._zod.def as unknown as Definition;

/**
 * Returns a copy of a schema with marks. They are in its definition, which zod copies into each schema that `min`, `refine`
 * and other methods derive from it; metadata (`meta`) are lost there before zod 4.3, and other code may use the same names.
 */
export function marked<S extends z.ZodType>(schema: S, marks: Marks): S {
  const definition = definitionOf(schema);
  return schema.clone({ ...definition, runwire: { ...definition.runwire, ...marks } } as never) as S;
}

export const marksOf = (schema: z.core.$ZodType): Marks => definitionOf(schema).runwire ?? {};

/** Returns the role that a field builder (`fields.ts`) gave to a schema; undefined for free text and for other types. */
export const roleOf = (schema: z.core.$ZodType): FieldRole | undefined => marksOf(schema).role;

/**
 * Returns the schema inside a wrapper (optional, default, pipe or lazy); undefined for a schema that is no wrapper. Of a pipe,
 * this is the side with a role, or else the output.
 */
export function unwrapped(schema: z.core.$ZodType): z.core.$ZodType | undefined {
  const { type, innerType, in: before, out } = definitionOf(schema);
  if (type === 'pipe') return before && hasRole(before) ? before : out;
  // zod calls the getter of a lazy schema once: some getters make a new schema at each call.
  return type === 'lazy' ? (schema as z.core.$ZodLazy)._zod.innerType : innerType;
}

function hasRole(schema: z.core.$ZodType): boolean {
  const { innerType } = definitionOf(schema);
  return roleOf(schema) !== undefined || (innerType !== undefined && hasRole(innerType));
}

/** Returns the schemas that a schema is made of. */
export function partsOf(schema: z.core.$ZodType): z.core.$ZodType[] {
  const { in: before, out, element, items, rest, options, left, right, ...others } = definitionOf(schema);
  const { shape, catchall, keyType, valueType } = others;
  return [before, out, unwrapped(schema), element, ...(items ?? []), rest, ...(options ?? []), left, right]
    .concat(Object.values(shape ?? {}), catchall, keyType, valueType)
    .filter((part) => part !== undefined && part !== null);
}
