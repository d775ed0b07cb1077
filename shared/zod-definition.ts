import { z } from 'zod';
import type { FieldRole } from './fields.ts';

/** The parts of a zod schema that Runwire reads. `_zod.def` is public API of zod: https://zod.dev/packages/core */
export type Definition = {
  type: string;
  innerType?: z.core.$ZodType;
  in?: z.core.$ZodType;
  out?: z.core.$ZodType;
  getter?: () => z.core.$ZodType;
  element?: z.core.$ZodType;
  items?: z.core.$ZodType[];
  options?: z.core.$ZodType[];
  left?: z.core.$ZodType;
  right?: z.core.$ZodType;
  shape?: Record<string, z.core.$ZodType>;
};

export const definitionOf = (schema: z.core.$ZodType): Definition => schema._zod.def as unknown as Definition;

/** Returns the schema inside a wrapper (optional, default, pipe or lazy); undefined for a schema that is no wrapper. */
export function unwrapped({ type, innerType, in: before, out, getter }: Definition): z.core.$ZodType | undefined {
  if (type === 'pipe') return out && definitionOf(out).type === 'transform' ? before : out;
  if (type === 'lazy') return getter?.();
  return innerType;
}

/** Returns the role that a field builder (`fields.ts`) gave to a schema; undefined for free text and for other types. */
export const roleOf = (schema: z.core.$ZodType): FieldRole | undefined =>
  z.globalRegistry.get(schema)?.role as FieldRole | undefined;
